"""The gated run: receive, resolve, audit, decide, build, claim and start, run, ingest; each step calls one room.

Rules of the way, whoever conducts it:
- `run:submitted` is durable before anything else happens, and every run id gets exactly one `run:finished` (its event id is the run's, so a
  second one cannot be written).
- Cedar decides `submit` and `install` by name before anything is looked at further (intake.py), and the whole bundle before anything is built.
- Only the process whose claim was new executes; nothing here ever retries an execution.
- No durable start, no execution; no durable end, no result.
- A step does nothing once the passage has its result.
"""

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from ..dependencies import EnvironmentStore
from ..errors import ConflictError, DependencyError, SandboxError, UsageError
from ..ledger import events
from ..policies import approval_state
from ..policies.types import Allowed, Denied, Grant, NeedsApproval, Reason
from ..sandbox import Sandbox
from ..sandbox.types import JailSettings, Job, Language, LayerState, Live, Outcome, OutcomeClass, Output, Usage
from . import ending, entries
from .approvals import STALE_APPROVAL, approval_events, stale_approvals
from .auditing import audit_lock, facts_of
from .history import history_of
from .house import House, new_id
from .ownership import boot_id, process_started
from .passage import Passage, Result
from .record import Batch, record

__all__ = [
    "STEPS",
    "Listener",
    "Step",
    "audit",
    "build",
    "decide",
    "execute",
    "python_version",
    "refuse_second",
    "resolve",
    "sandbox_of",
]

Step = Callable[[House, Passage], None]
Listener = Callable[[str, bytes], None]
"""Hears `stdout` or `stderr` and bytes while the program runs; only where the grant allows live output."""

_EMPTY = Output(
    sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", seen=0, content=b"", truncated=False
)


def resolve(house: House, passage: Passage) -> None:
    """Put the lock on record: what is audited is what is installed. Input is pinned and hashed already."""
    if passage.result or not passage.lock.pins:
        return
    batch = Batch(house, passage.request.principal.id, passage.run)
    batch.add(entries.resolved(batch, passage.lock))
    batch.write()


def audit(house: House, passage: Passage) -> None:
    """Judge every pin by the advisory index, and let pip-audit judge the same pins by the same data."""
    if passage.result or not passage.lock.pins:
        return
    passage.findings = audit_lock(house, passage.lock)
    batch = Batch(house, passage.request.principal.id, passage.run)
    batch.add(entries.audited(batch, passage.findings))
    batch.write()


def decide(house: House, passage: Passage) -> None:
    """Put the whole bundle to the engine: execute, each host, each path, each package; hold or end the run if it is not allowed."""
    if passage.result:
        return
    now = house.clock()
    decision = _decide(house, passage)
    if isinstance(decision, NeedsApproval):
        decision = _with_approvals(house, passage, decision)
    passage.decision = decision
    match decision:
        case Denied():
            ending.deny(house, passage, decision, stage="run")
        case NeedsApproval():
            expires = now + timedelta(hours=house.settings.approvals.hold_hours)
            ending.hold(house, passage, decision, expires=entries.timestamp(expires))
        case Allowed():
            passage.grant = decision.grant
            batch = Batch(house, passage.request.principal.id, passage.run)
            batch.add(
                entries.decided(
                    batch,
                    decision.basis,
                    stage="run",
                    result="allowed",
                    profile=decision.grant.profile,
                    limits=decision.grant.limits,
                )
            )
            batch.write()


def _with_approvals(house: House, passage: Passage, held: NeedsApproval) -> Allowed | NeedsApproval | Denied:
    """Decide again with the approvals that are in force for exactly this binding; what they would not cover stays held."""
    passage.binding, now = held.basis.binding, house.clock()
    state = approval_state(
        approval_events(house.ledger.entries(run=passage.run), now=now), binding=passage.binding, now=now
    )
    if not state.approvals:
        return _held_again(held) if stale_approvals(house, passage.run, passage.binding) else held
    passage.approvals = state.approvals
    decision = _decide(house, passage)
    if isinstance(decision, Allowed) and decision.basis.binding != passage.binding:
        passage.approvals = ()
        return held
    return decision


def _held_again(held: NeedsApproval) -> NeedsApproval:
    """Held though somebody had approved it: said to whoever reads the decision."""
    said = Reason(
        STALE_APPROVAL,
        "An approval was given for something else than what would be granted now, and counts for nothing",
    )
    return replace(held, reasons=(*held.reasons, said))


def _decide(house: House, passage: Passage) -> Allowed | NeedsApproval | Denied:
    now = house.clock()
    return house.gate.run(
        passage.request,
        dependencies=facts_of(passage.findings),
        code=passage.code,
        history=history_of(house.ledger, house.directory, passage.request.principal, now=now),
        approvals=passage.approvals,
        lock_sha256=passage.lock.sha256 if passage.lock.pins else None,
        now=now,
        decision=new_id("dec", now),
    )


def build(house: House, passage: Passage) -> None:
    """Build the environment of exactly that lock, or check the stored one against its digest."""
    if passage.result or not passage.lock.pins:
        return
    store = EnvironmentStore(
        house.places.environments,
        uv=None,
        python=house.settings.sandbox.python or Path(sys.executable),
        index_url=house.settings.index_url,
        environment=house.settings.network_environment,
    )

    def rejected(key: str, reason: str) -> None:
        event = events.EnvironmentRejected(environment=key, lock_sha256=passage.lock.sha256, reason=reason[:300])
        record(house, event, actor=passage.request.principal.id, run=passage.run)

    began = time.monotonic()
    try:
        passage.environment = store.obtain(passage.lock, on_reject=rejected)
    except DependencyError as error:
        failed = events.EnvironmentRejected(environment="", lock_sha256=passage.lock.sha256, reason=error.message[:300])
        ending.end_without_execution(house, passage, "blocked", error.message, extra=[failed])
        passage.result = replace(_ended(passage), hint=error.hint)
        return
    wall_ms = round((time.monotonic() - began) * 1000)
    record(
        house,
        entries.built(passage.environment, passage.lock, wall_ms),
        actor=passage.request.principal.id,
        run=passage.run,
    )


def _ended(passage: Passage) -> Result:
    if passage.result is None:
        raise SandboxError("there is no result of this run", hint="give it its end before")
    return passage.result


def declared_languages(house: House) -> tuple[Language, ...]:
    """What the settings declare beside Python, bash and node."""
    return tuple(
        Language(name=name, binary=r.binary, arguments=r.arguments, binds=r.binds, suffix=r.suffix)
        for name, r in house.settings.sandbox.runtimes.items()
    )


def sandbox_of(house: House) -> Sandbox:
    """The jail of this home."""
    return Sandbox(
        JailSettings(
            state=house.places.jails,
            nsjail=house.settings.sandbox.nsjail,
            python=house.settings.sandbox.python,
            cgroups=house.settings.sandbox.cgroups,
            watch_commands=house.settings.sandbox.watch_commands,
            languages=declared_languages(house),
        )
    )


def python_version(house: House) -> str:
    """Version of the interpreter that programs get in the jail of this home."""
    return sandbox_of(house).python_version


def execute(
    house: House, passage: Passage, cancel: threading.Event | None = None, live: Listener | None = None
) -> None:
    """Claim, start, run and ingest, in one piece: between the claim and the end nothing may come in between."""
    if passage.result:
        return
    sandbox, job = sandbox_of(house), _job(passage)
    try:
        ready = _layers_present(house, passage, sandbox) and _can_run(house, passage, sandbox, job)
    except ConflictError:  # we would give it an end, and somebody else was quicker to take it on and did
        _give_way(house, passage)
        return
    if ready and claim(house, passage):
        ending.finish(house, passage, _run(passage, job, sandbox, house, cancel or threading.Event(), live))


def _layers_present(house: House, passage: Passage, sandbox: Sandbox) -> bool:
    """Whether the machine has every layer that the profile demands; if not the run is unavailable, never less contained."""
    grant = _granted(passage)
    states = {layer.name: layer for layer in sandbox.layers()}
    missing = [name for name in grant.layers if name not in states or states[name].state is not LayerState.PRESENT]
    if not missing:
        return True
    causes = tuple(states[name].cause if name in states else f"unknown layer {name}" for name in missing)
    refused = events.DoctorRefused(
        profile=grant.profile, layers=tuple(missing), causes=tuple(cause[:200] for cause in causes)
    )
    explanation = f"profile {grant.profile} demands {', '.join(missing)}, which this machine lacks: {'; '.join(dict.fromkeys(causes))}"
    ending.end_without_execution(house, passage, "unavailable", explanation, extra=[refused])
    return False


def _can_run(house: House, passage: Passage, sandbox: Sandbox, job: Job) -> bool:
    """Whether a jail can take this job under its grant; if not the run is unavailable, and was never started."""
    try:
        sandbox.check(job, _granted(passage))
    except (SandboxError, UsageError) as error:
        ending.end_without_execution(house, passage, "unavailable", f"{error.message}: {error.hint}")
        return False
    return True


def claim(house: House, passage: Passage) -> bool:
    """Claim, consume the approvals and start, in one atomic batch; True only for the one process whose claim was new."""
    grant = _granted(passage)
    batch = Batch(house, passage.request.principal.id, passage.run)
    batch.add(
        events.RunClaimed(
            nonce=secrets.token_hex(16),
            conductor=passage.conductor,
            pid=os.getpid(),
            boot_id=boot_id(),
            process_started=process_started(),
        ),
        id=f"{passage.run}/claimed",
    )
    for approval in passage.approvals:
        consumed = events.ApprovalConsumed(granted=approval.entry, binding=approval.binding, approver=approval.approver)
        batch.add(consumed, id=f"{passage.run}/consumed/{approval.entry}")
    environment = passage.environment
    batch.add(
        events.RunStarted(
            decision=grant.decision,
            grant_sha256=grant.digest(),
            profile=grant.profile,
            limits=entries.limits_record(grant.limits),
            hosts=tuple(events.HostRecord(name=h.name, port=h.port) for h in grant.hosts),
            mounts=tuple(events.MountRecord(path=m.path, access=m.access, target=m.target) for m in grant.mounts),
            layers=grant.layers,
            lock_sha256=passage.lock.sha256 if passage.lock.pins else None,
            environment=environment.key if environment else None,
            environment_sha256=environment.tree_sha256 if environment else None,
        ),
        id=f"{passage.run}/started",
    )
    try:
        batch.write()
    except ConflictError:
        _give_way(house, passage)
        return False
    passage.started = True
    return True


def _give_way(house: House, passage: Passage) -> None:
    """The other claimant owns the run now; only our lock on it, if we have one, is given up."""
    passage.result = refuse_second(house, passage.run, passage.request.principal.id)
    passage.ownership.release()


def refuse_second(house: House, run: str, actor: str) -> Result:
    """Put on record that somebody tried to execute a run again."""
    reason = "the run was claimed before, and nothing is ever executed twice"
    event = events.AccessDenied(action="execute", source=actor, rules=("claimed-once",), reason=reason, count=1)
    index = record(house, event, actor=actor, run=run).index
    return Result(run=run, end="already_claimed", entry=index, explanation=reason)


def _job(passage: Passage) -> Job:
    """What the jail gets: the bytes that were judged."""
    request = passage.request
    return Job(
        run=passage.run,
        code=request.code,
        file_name=request.file_name,
        language=request.language,
        arguments=request.arguments,
        files=tuple((file.name, file.content) for file in request.files),
        environment=passage.environment.path if passage.environment else None,
    )


def _run(
    passage: Passage, job: Job, sandbox: Sandbox, house: House, cancel: threading.Event, listener: Listener | None
) -> Outcome:
    """The jailed run. Whatever goes wrong on our side is an outcome: the run was started and must have its end."""
    longest = max((len(v.encode()) for v in house.settings.secret_values if "\n" in v), default=0)
    live = Live(write=listener, longest_secret=longest) if listener is not None else None
    began = time.monotonic()
    try:
        return sandbox.run(job, _granted(passage), cancel=cancel, redactor=house.redactor, live=live)
    except (SandboxError, UsageError) as error:
        return _our_failure(error.message, began)
    except OSError as error:
        return _our_failure(f"the jail could not be made: {error.strerror}", began)


def _our_failure(explanation: str, began: float) -> Outcome:
    return Outcome(
        outcome=OutcomeClass.INFRASTRUCTURE_ERROR,
        explanation=explanation,
        exit_code=None,
        signal=None,
        limits_hit=(),
        usage=Usage(wall_ms=round((time.monotonic() - began) * 1000)),
        stdout=_EMPTY,
        stderr=_EMPTY,
    )


def _granted(passage: Passage) -> Grant:
    if passage.grant is None:
        raise SandboxError("there is no grant for this run", hint="decide before building and executing")
    return passage.grant


STEPS: tuple[Step, ...] = (resolve, audit, decide, build, execute)
"""The way of a received run, in order."""
