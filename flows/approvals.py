"""Held runs and the people who answer: approving, refusing, and what an approver is shown.

Whether somebody may approve is decided by Cedar; this file only asks, records and folds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from ..errors import CustodyError, Exit, UsageError
from ..ledger import Entry, events
from ..policies.types import ApprovalEvent, ApprovalEventKind, Denied, Principal
from . import entries
from .access import subject_of
from .house import House, new_id
from .record import Batch, clean

__all__ = ["Held", "approval_events", "approve", "held_run", "held_runs"]


_E = TypeVar("_E", bound=events.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A run that waits for people, as an approver sees it."""

    run: str
    held: events.RunHeld
    submission: events.RunSubmitted
    decision: events.PolicyDecided
    audit: events.DependenciesAudited | None
    code: bytes
    earlier_runs: int
    time: datetime


def approval_events(run_entries: Iterable[Entry]) -> list[ApprovalEvent]:
    """A run's entries about approval, as the plain records that policies fold."""
    return [event for entry in run_entries if (event := _folded(entry)) is not None]


def _folded(entry: Entry) -> ApprovalEvent | None:  # noqa: PLR0911 - one return for each kind
    index = entry.index
    match entry.event:
        case events.RunHeld(binding=binding, roles=roles, expires=expires):
            time = datetime.fromisoformat(expires)
            return ApprovalEvent(kind=ApprovalEventKind.HELD, entry=index, binding=binding, roles=roles, expires=time)
        case events.ApprovalGranted(binding=binding, role=role, approver=approver, expires=expires):
            time = datetime.fromisoformat(expires)
            return ApprovalEvent(
                kind=ApprovalEventKind.GRANTED, entry=index, binding=binding, role=role, approver=approver, expires=time
            )
        case events.ApprovalRefused(binding=binding, role=role, approver=approver):
            return ApprovalEvent(
                kind=ApprovalEventKind.REFUSED, entry=index, binding=binding, role=role, approver=approver
            )
        case events.ApprovalExpired(binding=binding):
            return ApprovalEvent(kind=ApprovalEventKind.EXPIRED, entry=index, binding=binding)
        case events.ApprovalConsumed(binding=binding, approver=approver, granted=granted):
            return ApprovalEvent(
                kind=ApprovalEventKind.CONSUMED, entry=index, binding=binding, approver=approver, granted=granted
            )
        case events.RunWithdrawn():
            return ApprovalEvent(kind=ApprovalEventKind.WITHDRAWN, entry=index)
        case _:
            return None


def held_runs(house: House) -> list[Held]:
    """Every run that waits for people, oldest first."""
    open_runs: dict[str, None] = {}
    for entry in house.ledger.entries(kinds=("run:held", "run:finished", "run:claimed")):
        if entry.run is None:
            continue
        if entry.kind == "run:held":
            open_runs[entry.run] = None
        else:
            open_runs.pop(entry.run, None)
    return [held_run(house, run) for run in open_runs]


def held_run(house: House, run: str) -> Held:
    """One held run, with everything that an approval would be bound to.

    Raises:
        UsageError: there is no such run, or it does not wait for anybody.
    """
    known = list(house.ledger.entries(run=run))
    if not known:
        raise UsageError(f"there is no run `{run}`", hint="`custody runs list` shows the runs")
    held = _last(known, events.RunHeld)
    submission = _last(known, events.RunSubmitted)
    decision = _last(known, events.PolicyDecided, stage="run")
    if (
        held is None
        or submission is None
        or decision is None
        or any(e.kind in {"run:finished", "run:claimed"} for e in known)
    ):
        raise UsageError(f"run `{run}` does not wait for an approval", hint="`custody runs show` says where it is")
    return Held(
        run=run,
        held=held,
        submission=submission,
        decision=decision,
        audit=_last(known, events.DependenciesAudited),
        code=house.ledger.read_payload(submission.code),
        earlier_runs=house.ledger.count(kinds=("run:submitted",), actor=submission.principal) - 1,
        time=known[0].time,
    )


def approve(house: House, run: str, approver: Principal, *, comment: str) -> int:
    """Record that this person agrees to exactly what the run's binding covers; the entry's index.

    Raises:
        UsageError: the run does not wait for an approval.
        CustodyError: Cedar does not let this person approve it (exit 3); the attempt is on record.
    """
    held = held_run(house, run)
    now = house.clock()
    # one answer is one role: the first asked-for one that this person has; if there is none, Cedar says no
    role = next((role for role in held.held.roles if role in approver.roles), held.held.roles[0])
    subject = subject_of(run, list(house.ledger.entries(run=run)))
    decision = house.gate.act(approver, "approve", now=now, decision=new_id("dec", now), subject=subject, role=role)
    batch = Batch(house, approver.id, run)
    if isinstance(decision, Denied):
        batch.add(
            entries.decided(
                batch, decision.basis, stage="approve", result="denied", reasons=decision.reasons, subject=run
            )
        )
        reason = "; ".join(r.text for r in decision.reasons)
        batch.add(
            events.AccessDenied(
                action="approve", source=approver.id, rules=decision.basis.rules, reason=reason[:300], count=1
            )
        )
        batch.write()
        raise CustodyError(
            f"`{approver.id}` may not approve run `{run}`: {reason}",
            hint=f"ask another person with the role {' or '.join(held.held.roles)}",
            exit_code=Exit.DENIED,
        )
    batch.add(entries.decided(batch, decision.basis, stage="approve", result="allowed", subject=run))
    batch.add(
        events.ApprovalGranted(
            role=role,
            approver=approver.id,
            authentication=approver.authentication,
            binding=held.held.binding,
            decision=decision.basis.decision,
            comment=clean(house.redactor, comment, 300),
            expires=entries.timestamp(now + timedelta(hours=house.settings.approvals.valid_hours)),
        )
    )
    return batch.write()[-1].index


def _last(known: Sequence[Entry], kind: type[_E], *, stage: str = "") -> _E | None:
    for entry in reversed(known):
        event = entry.event
        if isinstance(event, kind) and (not stage or getattr(event, "stage", "") == stage):
            return event
    return None
