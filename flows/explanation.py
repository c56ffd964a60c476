"""Why something was decided, or would be: in sentences, with the decision made again from what was kept of it.

It must never tell a reader more than the record may show him: whose runs he may read is decided, and thresholds are for auditors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ..errors import CustodyError, PolicyError, UsageError
from ..ledger import Entry, events
from ..policies import Gate
from ..policies.types import Basis, DecidedItem, Denied, Exposure, Principal, RunRequest
from .access import authorise, subject_of
from .checking import Checked, check
from .house import House, caller_policies, new_id, policies_by_digest, stored_policies
from .record import record

__all__ = ["Explained", "Hypothetical", "why_decided", "why_would"]

_EVALUATION_ERROR = "evaluation-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One decision of the past, explained and made again."""

    decision: str
    entry: int
    time: datetime
    actor: str
    run: str
    """Empty where it was not about a run."""
    stage: str
    subject: str
    result: str
    rules: tuple[str, ...]
    sentences: tuple[str, ...]
    policy_sha256: str
    in_force: bool
    """Whether the set that decided is the one in force now."""
    again: str
    """`same`, `different`, or why it could not be made again."""
    under: str = ""
    """What it would be under the policy folder that was named; empty without one."""
    under_rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hypothetical:
    """What would be decided, explained."""

    checked: Checked
    sentences: tuple[str, ...]


def why_decided(house: House, caller: Principal, name: str, *, candidate: Path | None = None) -> tuple[Explained, ...]:
    """Every decision of a run, or one decision by its id; the reading is on record before it is given.

    Args:
        house: the home.
        caller: who asks.
        name: a run or a decision.
        candidate: a policy folder to make the decisions again by, as if it had been in force.

    Raises:
        UsageError: there is no such run or decision.
        CustodyError: this caller may not read it (exit 3); the attempt is on record.
        PolicyError: the named folder cannot be used.
    """
    other = None if candidate is None else Gate(caller_policies(house.settings, candidate))
    found = _decisions(house, name)
    run = next((entry.run for entry in found if entry.run), None)
    details = _may_read_all(house, caller)
    if details or run is None:
        decision = authorise(house, caller, "readAudit", subject=name)
    else:
        subject = subject_of(run, list(house.ledger.entries(run=run)))
        decision = authorise(house, caller, "readRun", subject=run, about=subject)
    read = events.LedgerRead(
        what=f"why {name}"[:120], decision=decision, first=found[0].index, last=found[-1].index, entries=len(found)
    )
    record(house, read, actor=caller.id)
    gates: dict[str, Gate] = {house.gate.policies.digest: house.gate}
    return tuple(_explained(house, gates, entry, other, details=details) for entry in found)


def why_would(house: House, request: RunRequest, *, candidate: Path | None = None) -> Hypothetical:
    """What would be decided about a request, by the set in force or by another; nothing is run.

    Raises:
        UsageError: the request cannot be understood.
        PolicyError: the named folder cannot be used.
    """
    if candidate is not None:
        policies = caller_policies(house.settings, candidate)
        house = replace(house, policies=policies, gate=Gate(policies))
    checked = check(house, request)
    details = _may_read_all(house, request.principal)
    return Hypothetical(checked, house.gate.why(checked.basis, details=details))


def _decisions(house: House, name: str) -> list[Entry]:
    """The entries that are meant, in the order of the ledger."""
    if name.startswith("run-"):
        found = list(house.ledger.entries(run=name, kinds=("policy:decided",)))
    else:
        every = house.ledger.entries(kinds=("policy:decided",), newest_first=True)
        one = next((e for e in every if isinstance(e.event, events.PolicyDecided) and e.event.decision == name), None)
        found = [] if one is None else [one]
    if not found:
        raise UsageError(
            f"there is no run or decision `{name}`",
            hint="`custody runs list` shows the runs, `custody log show --kind policy:decided` the decisions",
        )
    return found


def _may_read_all(house: House, caller: Principal) -> bool:
    now = house.clock()
    return not isinstance(house.gate.act(caller, "readAudit", now=now, decision=new_id("dec", now)), Denied)


def _explained(house: House, gates: dict[str, Gate], entry: Entry, other: Gate | None, *, details: bool) -> Explained:
    event = entry.event
    if not isinstance(event, events.PolicyDecided):
        raise UsageError(f"entry {entry.index} is from a newer release", hint="use that release, or a newer one")
    gate: Gate | None = None
    try:
        gate = _gate_of(house, gates, event.policy_sha256)
        again = _again(house, gate, event)
    except CustodyError as error:
        again = error.message
    under, under_rules = ("", ()) if other is None else _under(house, other, event)
    return Explained(
        decision=event.decision,
        entry=entry.index,
        time=entry.time,
        actor=entry.actor,
        run=entry.run or "",
        stage=event.stage,
        subject=event.subject,
        result=event.result,
        rules=event.rules,
        sentences=(gate or house.gate).why(_basis(event), details=details),
        policy_sha256=event.policy_sha256,
        in_force=event.policy_sha256 == house.policies.digest,
        again=again,
        under=under,
        under_rules=under_rules,
    )


def _gate_of(house: House, gates: dict[str, Gate], digest: str) -> Gate:
    if digest not in gates:
        try:
            gates[digest] = Gate(policies_by_digest(house.ledger, digest))
        except PolicyError:
            gates[digest] = _closed_gate_of(house, digest)
    return gates[digest]


def _closed_gate_of(house: House, digest: str) -> Gate:
    """The gate by which a home whose set in force did not fit its release knew who could change it."""
    for entry in house.ledger.entries(kinds=("policy:changed",), newest_first=True):
        gate = Gate.in_force(stored_policies(house.ledger, entry.event))
        if gate.closed and gate.policies.digest == digest:
            return gate
    raise PolicyError(
        "the policies that decided cannot be read by this release", hint="use the release that made the decision"
    )


def _again(house: House, gate: Gate, event: events.PolicyDecided) -> str:
    """Whether the decision comes out the same when it is made again from what was kept."""
    if event.inputs.redactions:
        return "secrets were taken out of what was kept, so it cannot be made again exactly"
    verdict = gate.replay(house.ledger.read_payload(event.inputs))
    rules = verdict.rules or (_EVALUATION_ERROR,)
    # an action or submission goes on where a person could still approve a part of it later
    results = {verdict.result, "allowed"} if verdict.result == "needs_approval" else {verdict.result}
    return "same" if event.result in results and rules == event.rules else "different"


def _under(house: House, other: Gate, event: events.PolicyDecided) -> tuple[str, tuple[str, ...]]:
    verdict = other.replay(house.ledger.read_payload(event.inputs))
    return verdict.result, verdict.rules or (_EVALUATION_ERROR,)


def _basis(event: events.PolicyDecided) -> Basis:
    """As much of a decision as its entry says."""
    return Basis(
        decision=event.decision,
        rules=event.rules,
        items=_items(event.items),
        exposure=Exposure(
            hosts=event.exposure.hosts,
            readable=event.exposure.readable,
            writable=event.exposure.writable,
            packages_with_findings=event.exposure.packages_with_findings,
            new=event.exposure.new,
        ),
        policy_digest=event.policy_sha256,
        schema_digest=event.schema_sha256,
        inputs=b"",
        engine=event.engine,
        obligations=event.obligations,
        errors=event.errors,
    )


def _items(items: Sequence[events.ItemRecord]) -> tuple[DecidedItem, ...]:
    return tuple(
        DecidedItem(action=item.action, resource=item.resource, result=item.result, rules=item.rules) for item in items
    )
