"""Reading and other guarded actions through a door: decide, put on record, then do.

Whoever reads the ledger leaves an entry before the first byte is shown; whoever may not leaves one too.
"""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from ..errors import CustodyError, Exit, UsageError
from ..ledger import Entry, events
from ..policies.action_words import in_words
from ..policies.types import Denied, Principal, PrincipalKind, RunSubject
from . import entries
from .house import House, new_id
from .passage import STATES, RunState, state_of
from .record import Batch, record

__all__ = ["RunSummary", "artefacts_of", "authorise", "identify", "list_runs", "read_log", "show_run", "subject_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run in a list."""

    run: str
    time: datetime
    principal: str
    program: str
    profile: str
    state: RunState
    end: str
    """The end, with the outcome class where it was executed; empty while the run is open."""


def identify(house: House, os_user: str, authentication: str) -> Principal:
    """The principal that the directory knows for an OS user; an unknown one if it knows none."""
    return house.directory.by_os_user(os_user, authentication=authentication)


def authorise(
    house: House,
    principal: Principal,
    action: str,
    *,
    subject: str = "",
    about: RunSubject | None = None,
    layers: Collection[str] | None = None,
) -> str:
    """Let Cedar decide an action that is not a run; the decision's id.

    Args:
        house: the home.
        principal: who.
        action: one of those in the schema.
        subject: what it is about, in words for the record.
        about: the run that it is about.
        layers: layers of the policy set that would change, for `changePolicy`; the locked one if not said.

    Raises:
        CustodyError: it is denied (exit 3); the attempt is on record.
    """
    now = house.clock()
    decision = house.gate.act(principal, action, now=now, decision=new_id("dec", now), subject=about, layers=layers)
    batch = Batch(house, principal.id)
    if not isinstance(decision, Denied):
        batch.add(entries.decided(batch, decision.basis, stage=action, result="allowed", subject=subject))
        batch.write()
        return decision.basis.decision
    reason = "; ".join(r.text for r in decision.reasons)
    batch.add(
        entries.decided(batch, decision.basis, stage=action, result="denied", reasons=decision.reasons, subject=subject)
    )
    batch.add(
        events.AccessDenied(
            action=action, source=principal.id, rules=decision.basis.rules, reason=reason[:300], count=1
        )
    )
    batch.write()
    raise CustodyError(
        f"`{principal.id}` may not {in_words(action, f'`{about.run}`' if about else '')}: {reason}",
        hint="the directory file says who has which role",
        exit_code=Exit.DENIED,
    )


def read_log(
    house: House, principal: Principal, *, run: str | None = None, kinds: Sequence[str] = (), limit: int = 100
) -> list[Entry]:
    """The newest entries, oldest first; the reading is on record before they are given."""
    _require_kinds(kinds)
    decision = authorise(house, principal, "readAudit", subject="ledger")
    if run is not None and next(house.ledger.entries(run=run), None) is None:
        raise UsageError(f"there is no run `{run[:80]}`", hint="`custody runs list` shows the runs")
    found = list(islice(house.ledger.entries(run=run, kinds=kinds, newest_first=True), limit))[::-1]
    _record_read(house, principal, decision, "log", found)
    return found


def _require_kinds(kinds: Sequence[str]) -> None:
    known = sorted({name for name, _ in events.CATALOGUE})
    unknown = next((kind for kind in kinds if kind not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, n=1, cutoff=0)[0]
        raise UsageError(
            f"there is no kind of entry `{unknown[:80]}`; the nearest is `{near}`",
            hint="docs/events.md lists every kind; leave --kind out to see entries of a newer release",
        )


def list_runs(house: House, principal: Principal, *, limit: int = 50) -> list[RunSummary]:
    """The newest runs that this principal may see: all for whoever may read the audit, else his own."""
    everything = _may_read_all(house, principal)
    submissions = house.ledger.entries(
        kinds=("run:submitted",), actor=None if everything else principal.id, newest_first=True
    )
    summaries = [_summary(house, entry) for entry in islice(submissions, limit)]
    event = events.LedgerRead(what="runs", decision="", first=None, last=None, entries=len(summaries))
    record(house, event, actor=principal.id)
    return summaries


def show_run(house: House, principal: Principal, run: str) -> list[Entry]:
    """Every entry of one run.

    Raises:
        UsageError: there is no such run.
        CustodyError: it is somebody else's, and this principal may not read the audit.
    """
    found = list(house.ledger.entries(run=run))
    if not found:
        raise UsageError(f"there is no run `{run}`", hint="`custody runs list` shows the runs")
    if not _may_read_all(house, principal):
        decision = authorise(house, principal, "readRun", subject=run, about=subject_of(run, found))
    else:
        decision = authorise(house, principal, "readAudit", subject=run)
    _record_read(house, principal, decision, f"run {run}", found)
    return found


def artefacts_of(house: House, found: Sequence[Entry]) -> dict[str, bytes]:
    """The artefacts of a run from its entries, whose reading is on record; checked against what was committed to."""
    collected = [entry.event for entry in found if isinstance(entry.event, events.ArtefactCollected)]
    return {artefact.name: house.ledger.read_payload(artefact.content) for artefact in collected}


def subject_of(run: str, found: Sequence[Entry]) -> RunSubject:
    """A run as the object of a decision, from its submission.

    Raises:
        UsageError: its submission cannot be read.
    """
    first = next((entry.event for entry in found if isinstance(entry.event, events.RunSubmitted)), None)
    if first is None:
        raise UsageError(f"run `{run}` has no submission that this release can read", hint="run `custody verify`")
    return RunSubject(
        run=run, requester=first.principal, requester_kind=PrincipalKind(first.principal_kind), owner=first.owner
    )


def _may_read_all(house: House, principal: Principal) -> bool:
    now = house.clock()
    decision = house.gate.act(principal, "readAudit", now=now, decision=new_id("dec", now))
    return not isinstance(decision, Denied)


def _record_read(house: House, principal: Principal, decision: str, what: str, found: Sequence[Entry]) -> None:
    first, last = (found[0].index, found[-1].index) if found else (None, None)
    event = events.LedgerRead(what=what[:120], decision=decision, first=first, last=last, entries=len(found))
    record(house, event, actor=principal.id)


def _summary(house: House, entry: Entry) -> RunSummary:
    run = entry.run or ""
    known: list[Entry] = list(house.ledger.entries(run=run, kinds=[kind for kind, _ in STATES]))
    submitted = entry.event
    finished = next((e.event for e in known if isinstance(e.event, events.RunFinished)), None)
    program, profile = (
        (submitted.file_name, submitted.profile) if isinstance(submitted, events.RunSubmitted) else ("", "")
    )
    return RunSummary(
        run=run,
        time=entry.time,
        principal=entry.actor,
        program=program,
        profile=profile,
        state=state_of(known) or RunState.SUBMITTED,
        end="" if finished is None else (finished.outcome or finished.end),
    )
