"""Decisions that people must take: what, why, who, by when, how, and the entries that prove the need.

It must never decide itself, and never leave out a need because another one is worse.
"""

from collections.abc import Iterable, Iterator, Sequence

from ..ledger.events import (
    ApprovalGranted,
    EnvironmentRejected,
    PolicyDecided,
    ReconciliationCompleted,
    RunClaimed,
    RunFinished,
    RunHeld,
    RunStarted,
)
from ..ledger.types import Verification
from .endings import end_in_words
from .stories import Known, Seen, Story
from .types import Anomaly, AuditData, DecisionNeeded, PackageRow, Severity
from .words import clip, count_of, joined, opening, shorten

__all__ = ["contradictions_of", "decisions_of"]

_MOST_ENTRIES = 12


def decisions_of(
    known: Known,
    *,
    judged: Sequence[Story],
    verification: Verification,
    packages: Sequence[PackageRow],
    audits: Sequence[AuditData],
    anomalies: Sequence[Anomaly],
) -> tuple[DecisionNeeded, ...]:
    """All of them, worst first; among equals tampering before data, data before packages, packages before runs."""
    needed = [
        *_tampering(known, verification),
        *contradictions_of(judged),
        *_anomalies(anomalies),
        *_demo_data(audits),
        *_bad_audits(audits),
        *_packages(packages),
        *_waiting(judged),
        *_unclear_ends(judged),
        *_machine(known),
    ]
    return tuple(sorted(needed, key=lambda decision: -decision.severity.rank))


def _tampering(known: Known, verification: Verification) -> Iterator[DecisionNeeded]:
    if verification.consistent:
        return
    problems = verification.problems
    read = {entry.index for entry in known.entries}
    named = joined(shorten((f"`{problem.code}`: {problem.message}" for problem in problems), 3))
    yield DecisionNeeded(
        what="Find out who changed the ledger; rely on nothing here until that is explained",
        why=f"{count_of(len(problems), 'problem')} found: {named}",
        who="security team and machine owner",
        severity=Severity.CRITICAL,
        entries=tuple(sorted({p.index for p in problems if p.index in read and p.index is not None}))[:_MOST_ENTRIES],
        command="custody verify --pin FILE",
        anchor="seal",
    )


def contradictions_of(stories: Iterable[Story]) -> Iterator[DecisionNeeded]:
    """Runs whose entries break a rule that custody itself keeps: the record or the machinery was interfered with."""
    for story in stories:
        for why, entries in _broken_rules(story):
            yield DecisionNeeded(
                what=f"Explain the record of run {clip(story.run, 80)}: it breaks a rule that custody never breaks",
                why=why,
                who="security team",
                severity=Severity.CRITICAL,
                entries=entries[:_MOST_ENTRIES],
                command=f"custody runs show {clip(story.run, 80)}",
                anchor="runs",
            )


def _broken_rules(story: Story) -> Iterator[tuple[str, tuple[int, ...]]]:
    ends, claims, starts = story.all(RunFinished), story.all(RunClaimed), story.all(RunStarted)
    if len(ends) > 1:
        yield "It has more than one end.", _indices(ends)
    if len(claims) > 1:
        yield "It was claimed for execution more than once.", _indices(claims)
    if starts and not _allowed_before(story, starts[0].entry.index):
        yield "It was started without a recorded decision that allowed it.", _indices(starts)
    self_approved = [seen for seen in story.all(ApprovalGranted) if seen.event.approver == story.principal]
    if self_approved:
        yield f"It was approved by its own requester, {clip(story.principal, 120)}.", _indices(self_approved)


def _allowed_before(story: Story, index: int) -> bool:
    """Whether the last decision before this entry that was not about submitting allowed the run."""
    decided = [d for d in story.all(PolicyDecided) if d.event.stage == "run" and d.entry.index < index]
    return bool(decided) and decided[-1].event.result == "allowed"


def _indices(
    seen: Sequence[Seen[RunFinished] | Seen[RunClaimed] | Seen[RunStarted] | Seen[ApprovalGranted]],
) -> tuple[int, ...]:
    return tuple(one.entry.index for one in seen)


def _anomalies(anomalies: Iterable[Anomaly]) -> Iterator[DecisionNeeded]:
    for anomaly in anomalies:
        yield DecisionNeeded(
            what=f"Find out why: {anomaly.title}",
            why=opening(anomaly.observed, 240),
            who=anomaly.owner or anomaly.principal,
            severity=anomaly.severity,
            entries=anomaly.entries[:_MOST_ENTRIES],
            anchor=anomaly.id,
        )


def _demo_data(audits: Iterable[AuditData]) -> Iterator[DecisionNeeded]:
    demo = [audit for audit in audits if not audit.real]
    if demo:
        yield DecisionNeeded(
            what="Import real advisory data before you rely on any verdict about packages",
            why=f"{count_of(sum(a.audits for a in demo), 'audit')} used demonstration data: not a real audit",
            who="security team",
            severity=Severity.UNKNOWN,
            entries=tuple(sorted(index for audit in demo for index in audit.entries))[:_MOST_ENTRIES],
            command="custody advisories import FILE",
            anchor="packages",
        )


def _bad_audits(audits: Iterable[AuditData]) -> Iterator[DecisionNeeded]:
    for audit in audits:
        reasons = [
            f"{count_of(count, 'audit')} {what}"
            for count, what in (
                (audit.incomplete, "did not cover every package"),
                (audit.disagreed, "got another answer from the second opinion"),
            )
            if count
        ]
        if reasons:
            yield DecisionNeeded(
                what="Repeat the audits that are not whole",
                why=f"{joined(reasons)}; what was not checked counts as unknown",
                who="security team",
                severity=Severity.UNKNOWN,
                entries=audit.entries,
                command="custody advisories status",
                anchor="packages",
            )


def _packages(packages: Iterable[PackageRow]) -> Iterator[DecisionNeeded]:
    for row in packages:
        if row.state in {"clean", "waived", "not audited"}:
            continue
        ran = f"{count_of(row.executed, 'run')} executed with it" if row.executed else "no run was executed with it"
        found = joined(shorten((clip(advisory, 60) for advisory in row.advisories), 4)) or row.state
        yield DecisionNeeded(
            what=_package_question(row),
            why=f"{found}; {count_of(row.runs, 'run')} asked for it, {ran}",
            who=joined([clip(principal, 80) for principal in row.principals]),
            severity=row.severity if row.executed else _one_down(row.severity),
            entries=row.entries,
            anchor="packages",
        )


def _one_down(severity: Severity) -> Severity:
    """A package that was kept out is less urgent than one that ran."""
    lower = {Severity.CRITICAL: Severity.HIGH, Severity.HIGH: Severity.MEDIUM, Severity.MEDIUM: Severity.LOW}
    return lower.get(severity, severity)


def _package_question(row: PackageRow) -> str:
    pin, fixes = f"{clip(row.name, 60)} {clip(row.version, 40)}", [clip(version, 40) for version in row.fixed_in]
    if row.state != "vulnerable":
        return f"Find out whether {pin} is safe: the audit could not"
    if not fixes:
        return f"Replace {pin}, or accept the risk in writing: no version with a fix is known"
    to = fixes[0] if len(fixes) == 1 else f"a fixed version (named are {', '.join(fixes)})"
    return f"Move from {pin} to {to}, or accept the risk in writing"


def _waiting(stories: Iterable[Story]) -> Iterator[DecisionNeeded]:
    for story in stories:
        held = story.waiting
        if held is not None:
            yield _held(story, held)


def _held(story: Story, held: Seen[RunHeld]) -> DecisionNeeded:
    granted = [seen for seen in story.all(ApprovalGranted) if seen.event.binding == held.event.binding]
    missing = [role for role in held.event.roles if role not in {seen.event.role for seen in granted}]
    run = clip(story.run, 80)
    program = f"{clip(story.program, 80)} by {clip(story.principal, 80)}"
    entries = (held.entry.index, *(seen.entry.index for seen in granted))
    if held.event.roles and not missing:
        return DecisionNeeded(
            what=f"Continue or withdraw {program}",
            why=f"It was approved by {joined(shorten(seen.event.approver for seen in granted))} and has not been continued",
            who=clip(story.principal, 120),
            severity=Severity.LOW,
            entries=entries,
            by=clip(granted[-1].event.expires, 40),
            command=f"custody runs continue {run}",
            anchor="runs",
        )
    return DecisionNeeded(
        what=f"Approve or refuse {program}",
        why=_why_held(story),
        who=f"{joined(shorten(missing)) or 'anybody who may approve'}, but not {clip(story.principal, 80)}",
        severity=Severity.MEDIUM,
        entries=entries,
        by=clip(held.event.expires, 40),
        command=f"custody approve {run}",
        anchor="runs",
    )


def _why_held(story: Story) -> str:
    decided = [d for d in story.all(PolicyDecided) if d.event.result == "needs_approval"]
    texts = [reason.text for seen in decided[-1:] for reason in seen.event.reasons]
    return "; ".join(shorten(texts, 3)) or "A rule asks for the consent of a person"


def _unclear_ends(stories: Iterable[Story]) -> Iterator[DecisionNeeded]:
    for story in stories:
        end = story.finished
        if end is not None and (end.event.end == "unknown" or end.event.outcome in {"unknown", "infrastructure_error"}):
            yield DecisionNeeded(
                what=f"Find out what {clip(story.program, 80)} by {clip(story.principal, 80)} did before it was lost",
                why=f"{end_in_words(story)}. {clip(end.event.explanation)}",
                who=clip(story.owner or story.principal, 120),
                severity=Severity.UNKNOWN,
                entries=(end.entry.index,),
                command=f"custody runs show {clip(story.run, 80)}",
                anchor="runs",
            )


def _machine(known: Known) -> Iterator[DecisionNeeded]:
    rejected: dict[tuple[bool, str], list[Seen[EnvironmentRejected]]] = {}
    for entry in known.inside:
        match entry.event:
            case ReconciliationCompleted(left=left) if left:
                yield DecisionNeeded(
                    what="Remove what a crash left behind on the machine",
                    why=joined(shorten(left, 3)),
                    who="whoever administers the machine",
                    severity=Severity.MEDIUM,
                    entries=(entry.index,),
                    command="custody doctor",
                )
            case EnvironmentRejected() as event:
                rejected.setdefault((bool(event.environment), event.reason), []).append(Seen(entry, event))
            case _:
                pass
    for same in rejected.values():
        yield _rejected(same)


def _rejected(same: Sequence[Seen[EnvironmentRejected]]) -> DecisionNeeded:
    """One decision for one cause, however often it struck; what was never built has no name but its lock's."""
    event, run = same[0].event, same[0].entry.run
    name = f"environment {clip(event.environment, 40)}" if event.environment else f"lock {event.lock_sha256[:12]}"
    if event.environment:
        what = f"{name} was" if len(same) == 1 else f"{count_of(len(same), 'environment')} were"
        what = f"Find out why {what} rejected"
    else:
        what = f"the environment of {name}" if len(same) == 1 else count_of(len(same), "environment")
        what = f"Find out why {what} could not be built"
    return DecisionNeeded(
        what=what,
        why=clip(event.reason),
        who="whoever administers the machine",
        severity=Severity.MEDIUM,
        entries=tuple(seen.entry.index for seen in same)[:_MOST_ENTRIES],
        command=f"custody runs show {clip(run, 80)}" if run and len(same) == 1 else "",
    )
