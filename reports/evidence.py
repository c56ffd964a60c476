"""Evidence: one row for every entry that anything on the page refers to.

It must never list an entry that was not read, nor say more of it than the entry says.
"""

from collections.abc import Iterable

from ..ledger.events import (
    AccessDenied,
    ApprovalGranted,
    ApprovalRefused,
    ArtefactCollected,
    CommandObserved,
    DependenciesAudited,
    DependenciesFreshness,
    DependenciesResolved,
    EgressAttempted,
    Event,
    FileObserved,
    PolicyDecided,
    RunFinished,
    RunHeld,
    RunStarted,
    RunSubmitted,
    SyscallDenied,
)
from ..ledger.types import Entry
from .types import Claim, EvidenceRow, Review
from .words import clip, count_of, joined, number, place, shorten

__all__ = ["evidence_of", "references"]


def references(review: Review) -> frozenset[int]:
    """Every entry that something on the page refers to."""
    claims: tuple[Claim, ...] = (
        *review.decisions, *review.attempts, *review.refusals, *review.exposure, *review.granted_limits, *review.packages,
        *review.audits, *review.anomalies, *review.approvals, *review.runs, *review.limits,
    )  # fmt: skip
    return frozenset(index for claim in claims for index in claim.entries)


def evidence_of(entries: Iterable[Entry], referred: frozenset[int]) -> tuple[EvidenceRow, ...]:
    """The rows, by index."""
    return tuple(_row(entry) for entry in entries if entry.index in referred)


def _row(entry: Entry) -> EvidenceRow:
    return EvidenceRow(
        index=entry.index,
        kind=clip(entry.kind, 60),
        time=entry.time,
        actor=clip(entry.actor, 120),
        run=clip(entry.run or "", 80),
        says=clip(_says(entry.event), 160),
        leaf_hash=entry.leaf_hash.hex(),
    )


def _says(event: Event | None) -> str:  # noqa: C901, PLR0911, PLR0912 - because it is a table: one short answer for each kind
    match event:
        case None:
            return "of a kind that this release does not know"
        case RunSubmitted():
            return f"{event.file_name}, profile {event.profile}, {count_of(event.code_bytes, 'byte')}"
        case PolicyDecided():
            return f"{event.stage}: {event.result.replace('_', ' ')}{_by(event.rules)}"
        case RunHeld():
            return f"waits for {joined(shorten(event.roles, 3))}"
        case RunStarted():
            return f"started with {count_of(len(event.layers), 'layer')} of the jail"
        case RunFinished():
            return _end(event)
        case ApprovalGranted() | ApprovalRefused():
            return f"{event.approver} as {event.role}"
        case DependenciesResolved():
            return f"{count_of(event.total, 'pin')}"
        case DependenciesAudited():
            data = event.data.data_class if event.data else "no"
            return f"{data} data: {number(event.clean)} clean, {number(event.vulnerable)} vulnerable"
        case DependenciesFreshness():
            return f"{number(event.known)} known, {number(event.unknown)} unknown"
        case EgressAttempted():
            return f"{place(event.host, event.port)} {'connected' if event.allowed else 'refused'}, {count_of(event.count, 'attempt')}"
        case CommandObserved() | FileObserved():
            return event.path
        case SyscallDenied():
            return f"{event.name} {event.action}"
        case ArtefactCollected():
            return f"{event.name}, {count_of(event.bytes, 'byte')}"
        case AccessDenied():
            return f"{event.action}{_by(event.rules)}"
        case _:
            return ""


def _end(event: RunFinished) -> str:
    """Rules allowed what was executed, and refused what was not: never does a rule make a program fail."""
    if not event.outcome:
        return f"{event.end}{_by(event.rules)}"
    return f"{event.end}: {event.outcome.replace('_', ' ')}{_by(event.rules, 'allowed by')}"


def _by(rules: tuple[str, ...], word: str = "by") -> str:
    return f" ({word} {joined(shorten(rules, 3))})" if rules else ""
