"""Held runs and the people who answer: approving, refusing, and what an approver is shown.

Whether somebody may approve is decided by Cedar; this file only asks, records and folds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from ..errors import ConflictError, CustodyError, Exit, UsageError
from ..ledger import Entry, events
from ..policies import approval_state
from ..policies.types import ApprovalEvent, ApprovalEventKind, ApprovalStage, Denied, Principal
from . import entries
from .access import subject_of
from .house import House, new_id
from .ownership import Ownership
from .record import MACHINERY, Batch, clean, record

__all__ = [
    "STALE_APPROVAL",
    "Held",
    "approval_events",
    "approve",
    "held_for",
    "held_for_all",
    "held_run",
    "held_runs",
    "refuse",
    "stale_approvals",
]

STALE_APPROVAL = "approval-binding"
"""Stands among deciding rules for the one that approvals themselves keep: once, in time, and for exactly what was shown."""

_CLOCKS_DIFFER = timedelta(minutes=10)
"""The ledger takes entries that are so much older or younger than their neighbours."""

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


def approval_events(run_entries: Iterable[Entry], *, now: datetime) -> list[ApprovalEvent]:
    """A run's entries about approval, as the plain records that policies fold.

    An approval that was given later than now counts for nothing: the clock was set back since, and it would last until it comes there again.
    """
    given = [(entry, event) for entry in run_entries if (event := _folded(entry)) is not None]
    return [e for entry, e in given if e.kind is not ApprovalEventKind.GRANTED or entry.time <= now + _CLOCKS_DIFFER]


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


def held_for(house: House, run: str, caller: Principal) -> Held | None:
    """What an approver is shown, on record before it is given; None for whoever may not read the run, who gets the same answer as ever.

    Raises:
        UsageError: there is no such run, or it does not wait for anybody; the attempt is on record.
    """
    held = _waiting(house, run, caller, "approve")
    now = house.clock()
    subject = subject_of(run, list(house.ledger.entries(run=run)))
    decision = house.gate.act(caller, "readRun", now=now, decision=new_id("dec", now), subject=subject)
    if isinstance(decision, Denied):
        return None
    batch = Batch(house, caller.id)
    batch.add(entries.decided(batch, decision.basis, stage="readRun", result="allowed", subject=run))
    batch.add(
        events.LedgerRead(
            what=f"held run {run}"[:120], decision=decision.basis.decision, first=None, last=None, entries=1
        )
    )
    batch.write()
    return held


def held_for_all(house: House, caller: Principal) -> list[Held]:
    """The held runs that this principal may read, oldest first; the reading is on record."""
    now = house.clock()
    found = []
    for held in held_runs(house):
        subject = subject_of(held.run, list(house.ledger.entries(run=held.run)))
        decision = house.gate.act(caller, "readRun", now=now, decision=new_id("dec", now), subject=subject)
        if not isinstance(decision, Denied):
            found.append(held)
    read = events.LedgerRead(what="held runs", decision="", first=None, last=None, entries=len(found))
    record(house, read, actor=caller.id)
    return found


def approve(house: House, run: str, approver: Principal, *, comment: str) -> int:
    """Record that this person agrees to exactly what the run's binding covers; the entry's index.

    Raises:
        UsageError: the run does not wait for an approval; the attempt is on record.
        CustodyError: Cedar does not let this person approve it, or what waits is not what would be decided now (exit 3); the attempt
            is on record.
    """
    answer = _answer(house, run, approver, "approve")
    # read before it is looked at whether there is one: of two at the same moment both then count the same, and one is written
    earlier = sum(1 for _ in house.ledger.entries(run=run, kinds=("approval:granted",)))
    _require_current(house, answer)
    now = house.clock()
    batch = answer.batch
    batch.add(
        events.ApprovalGranted(
            role=answer.role,
            approver=approver.id,
            authentication=approver.authentication,
            binding=answer.held.held.binding,
            decision=answer.decision,
            comment=clean(house.redactor, comment, 300),
            expires=entries.timestamp(now + timedelta(hours=house.settings.approvals.valid_hours)),
        ),
        # INVARIANT: named after those before it, so that of two at the same moment only one can be written
        id=f"{run}/granted/{answer.role}/{earlier}",
    )
    try:
        return batch.write()[-1].index
    except ConflictError as error:
        reason = "somebody else approved it at the same moment, and an approval counts once"
        denied = events.AccessDenied(
            action="approve", source=approver.id, rules=(STALE_APPROVAL,), reason=reason, count=1
        )
        record(house, denied, actor=approver.id, run=run)
        raise CustodyError(
            f"run `{run}` was approved by somebody else at the same moment",
            hint=f"the requester runs `custody runs continue {run}`",
            exit_code=Exit.DENIED,
        ) from error


def refuse(house: House, run: str, person: Principal, *, comment: str) -> int:
    """Record that this person says no, which ends the run; the index of its end.

    Raises:
        UsageError: the run does not wait for anybody, or another process is working on it.
        CustodyError: Cedar does not let this person refuse it (exit 3); the attempt is on record.
    """
    answer = _answer(house, run, person, "refuse")
    ownership = Ownership.take(house.places.owners, run)
    if ownership is None:
        raise UsageError(
            f"run `{run}` is being worked on by another process",
            hint="wait for it; `custody runs show` says where it is",
        )
    said = clean(house.redactor, comment, 300)
    answer.batch.add(
        events.ApprovalRefused(
            role=answer.role,
            approver=person.id,
            authentication=person.authentication,
            binding=answer.held.held.binding,
            decision=answer.decision,
            comment=said,
        )
    )
    explanation = f"refused by {person.id}{': ' if said else ''}{said}"
    ended = events.RunFinished(end="refused", started=False, outcome=None, explanation=explanation[:600], rules=())
    answer.batch.add(ended, id=f"{run}/finished")
    try:
        return answer.batch.write()[-1].index
    except ConflictError as error:
        raise UsageError(f"run `{run}` got its end in the meantime", hint="`custody runs show` says which") from error
    finally:
        ownership.release()


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that this person may give; nothing of it is written yet."""

    held: Held
    role: str
    decision: str
    batch: Batch


def _answer(house: House, run: str, person: Principal, action: str) -> _Answer:
    """Let Cedar decide whether this person may answer; a no is on record."""
    held = _waiting(house, run, person, action)
    now = house.clock()
    # one answer is one role: the first asked-for one that this person has; if there is none, Cedar says no
    role = next((role for role in held.held.roles if role in person.roles), held.held.roles[0])
    subject = subject_of(run, list(house.ledger.entries(run=run)))
    decision = house.gate.act(person, action, now=now, decision=new_id("dec", now), subject=subject, role=role)
    batch = Batch(house, person.id, run)
    if not isinstance(decision, Denied):
        batch.add(entries.decided(batch, decision.basis, stage=action, result="allowed", subject=run))
        return _Answer(held, role, decision.basis.decision, batch)
    batch.add(
        entries.decided(batch, decision.basis, stage=action, result="denied", reasons=decision.reasons, subject=run)
    )
    reason = "; ".join(r.text for r in decision.reasons)
    batch.add(
        events.AccessDenied(action=action, source=person.id, rules=decision.basis.rules, reason=reason[:300], count=1)
    )
    batch.write()
    raise CustodyError(
        f"`{person.id}` may not {action} run `{run}`: {reason}",
        hint=f"ask another person with the role {' or '.join(held.held.roles)}",
        exit_code=Exit.DENIED,
    )


def _require_current(house: House, answer: _Answer) -> None:
    """Refuse an approval that could not count: of what was held under other policies, too late, or given before."""
    held = answer.held
    known = house.ledger.entries(run=held.run)
    now = house.clock()
    stage = approval_state(approval_events(known, now=now), binding=held.held.binding, now=now).stage
    if held.decision.policy_sha256 != house.policies.digest:
        reason = "the policies were changed since it was held, and it has not been judged by them"
        hint = f"the requester runs `custody runs continue {held.run}`, and what is held then can be approved"
    elif stage is ApprovalStage.EXPIRED:
        reason, hint = f"nobody answered before {held.held.expires}", "the requester submits it again"
    elif stage is ApprovalStage.APPROVED:
        reason = "it is approved already, and an approval counts once"
        hint = f"the requester runs `custody runs continue {held.run}`"
    else:
        return
    batch = answer.batch
    batch.add(
        events.AccessDenied(action="approve", source=batch.actor, rules=(STALE_APPROVAL,), reason=reason[:300], count=1)
    )
    batch.write()
    raise CustodyError(f"run `{held.run}` cannot be approved: {reason}", hint=hint, exit_code=Exit.DENIED)


def _waiting(house: House, run: str, person: Principal, action: str) -> Held:
    """A held run; an answer to one that waits for nobody is on record, if there is such a run at all."""
    try:
        return held_run(house, run)
    except UsageError as error:
        if next(house.ledger.entries(run=run), None) is not None:
            event = events.AccessDenied(
                action=action, source=person.id, rules=(STALE_APPROVAL,), reason=error.message[:300], count=1
            )
            record(house, event, actor=person.id, run=run)
        raise


def stale_approvals(house: House, run: str, binding: str) -> tuple[int, ...]:
    """Approvals of a run that are bound to something else than what would be granted now; each is put on record once."""
    found = []
    for entry in house.ledger.entries(run=run, kinds=("approval:granted",)):
        if not isinstance(entry.event, events.ApprovalGranted) or entry.event.binding == binding:
            continue
        found.append(entry.index)
        event_id = f"{run}/stale/{entry.index}/{binding[:16]}"
        if house.ledger.entry(event_id) is None:
            reason = (
                f"the approval in entry {entry.index} was given before the policies, the limits or the lock changed"
            )
            event = events.AccessDenied(
                action="execute", source=entry.event.approver, rules=(STALE_APPROVAL,), reason=reason, count=1
            )
            record(house, event, actor=MACHINERY, run=run, id=event_id)
    return tuple(found)


def _last(known: Sequence[Entry], kind: type[_E], *, stage: str = "") -> _E | None:
    for entry in reversed(known):
        event = entry.event
        if isinstance(event, kind) and (not stage or getattr(event, "stage", "") == stage):
            return event
    return None
