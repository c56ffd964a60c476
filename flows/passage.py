"""One run on its way through the steps, and what is handed out at the end.

A passage lives in one process and is never stored: what matters of it is in the ledger, and `reload` makes it again from there.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..dependencies import parse_requirements
from ..dependencies.types import Environment, Findings, Lock
from ..errors import Exit, LedgerError, UsageError
from ..ledger import Entry, events
from ..policies.types import (
    Access,
    Approval,
    CodeFacts,
    Decision,
    Grant,
    HostRequest,
    InputFile,
    Limits,
    MountRequest,
    Principal,
    PrincipalKind,
    Reason,
    RunRequest,
)
from ..sandbox.types import Outcome, OutcomeClass
from .house import House
from .ownership import Ownership

__all__ = ["STATES", "Conductor", "Passage", "Result", "RunState", "reload", "state_of"]


class Conductor(StrEnum):
    """Who takes a run through the steps."""

    DIRECT = "direct"
    PREFECT = "prefect"


class RunState(StrEnum):
    """Where a run is, folded from its entries."""

    SUBMITTED = "submitted"
    HELD = "held"
    CLAIMED = "claimed"
    STARTED = "started"
    FINISHED = "finished"


STATES = (
    ("run:finished", RunState.FINISHED),
    ("run:started", RunState.STARTED),
    ("run:claimed", RunState.CLAIMED),
    ("run:held", RunState.HELD),
    ("run:submitted", RunState.SUBMITTED),
)
"""The kinds that a state is folded from, the furthest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a caller gets for a run: its end or hold, never more than is durable in the ledger."""

    run: str
    end: str
    """An end of `run:finished`, or `held`."""
    entry: int
    """Index of the entry that says so."""
    outcome: Outcome | None = None
    rules: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    roles: tuple[str, ...] = ()
    explanation: str = ""
    real_audit: bool = True
    packages: int = 0
    notes: tuple[str, ...] = ()
    """What the caller should hear though it decided nothing."""
    hint: str = ""
    """What to do about it, where that is known better than from the end alone."""

    @property
    def exit_code(self) -> Exit:
        """The exit code of a command that ran it."""
        if self.end == "executed" and self.outcome is not None:
            return _OUTCOME_EXITS[self.outcome.outcome]
        return _END_EXITS.get(self.end, Exit.FAILURE)


_END_EXITS = {
    "denied": Exit.DENIED,
    "refused": Exit.DENIED,
    "held": Exit.NEEDS_APPROVAL,
    "expired": Exit.NEEDS_APPROVAL,
    "blocked": Exit.BLOCKED,
    "cancelled": Exit.CANCELLED,
    "withdrawn": Exit.CANCELLED,
    "stopped": Exit.CANCELLED,
}

_OUTCOME_EXITS = {
    OutcomeClass.SUCCEEDED: Exit.DONE,
    OutcomeClass.FAILED: Exit.PROGRAM_FAILED,
    OutcomeClass.TIMED_OUT: Exit.LIMIT,
    OutcomeClass.KILLED_MEMORY: Exit.LIMIT,
    OutcomeClass.KILLED_CPU: Exit.LIMIT,
    OutcomeClass.KILLED_OUTPUT: Exit.LIMIT,
    OutcomeClass.VIOLATED_POLICY: Exit.LIMIT,
    OutcomeClass.CANCELLED: Exit.CANCELLED,
    OutcomeClass.INFRASTRUCTURE_ERROR: Exit.FAILURE,
    OutcomeClass.UNKNOWN: Exit.FAILURE,
}


@dataclass(slots=True, kw_only=True)
class Passage:
    """One run on its way."""

    run: str
    request: RunRequest
    request_sha256: str
    conductor: Conductor
    code: CodeFacts
    lock: Lock
    ownership: Ownership
    findings: Findings | None = None
    decision: Decision | None = None
    grant: Grant | None = None
    binding: str = ""
    approvals: tuple[Approval, ...] = ()
    environment: Environment | None = None
    outcome: Outcome | None = None
    started: bool = False
    result: Result | None = None
    """Set as soon as the run has its end or is held: no step does anything after that."""


def state_of(entries: Sequence[Entry]) -> RunState | None:
    """The state of a run, by those of its entries whose kinds stand in `STATES`; None if there is no such run."""
    kinds = {entry.kind for entry in entries}
    return next((state for kind, state in STATES if kind in kinds), None)


def reload(
    house: House, run: str, entries: Sequence[Entry], ownership: Ownership, *, code: CodeFacts | None = None
) -> Passage:
    """A passage made again from what was recorded of the run; the bytes must be those that were hashed.

    Raises:
        UsageError: secrets were taken out of the stored bytes, so they are not the bytes that were judged.
        LedgerError: the entries or payloads are not there.
    """
    first = next((entry.event for entry in entries if isinstance(entry.event, events.RunSubmitted)), None)
    if first is None:
        raise LedgerError(f"run `{run}` has no submission that this release can read", hint="run `custody verify`")
    content = house.ledger.read_payload(first.code)
    request = _read_request(house, first, content)
    if hashlib.sha256(content).hexdigest() != first.code_sha256 or request.digest() != first.request_sha256:
        raise UsageError(
            f"run `{run}` cannot go on: secrets were taken out of what was stored, so it is not what was judged",
            hint="submit it again, without secrets in code, arguments or files",
        )
    lock = parse_requirements(request.requirements, name="requirements")
    return Passage(
        run=run,
        request=request,
        request_sha256=first.request_sha256,
        conductor=Conductor(first.conductor),
        code=code or _facts(first),
        lock=lock,
        ownership=ownership,
    )


def _facts(first: events.RunSubmitted) -> CodeFacts:
    facts = first.facts
    return CodeFacts(
        language=facts.language,
        sha256=first.code_sha256,
        bytes=first.code_bytes,
        parsed=facts.parsed,
        error=facts.error,
        imports=facts.imports,
        flags=facts.flags,
        hosts=facts.hosts,
        paths=facts.paths,
        secrets=facts.secrets,
    )


def _principal(house: House, first: events.RunSubmitted) -> Principal:
    """The requester as the directory has him now: a role that was taken away since is gone."""
    known = house.directory.principal(first.principal)
    if known is None:
        return Principal(id=first.principal, kind=PrincipalKind(first.principal_kind), known=False)
    return replace(known, authentication=first.authentication)


def _read_request(house: House, first: events.RunSubmitted, code: bytes) -> RunRequest:
    value = json.loads(house.ledger.read_payload(first.request))
    return RunRequest(
        principal=_principal(house, first),
        code=code,
        file_name=value["file_name"],
        language=value["language"],
        arguments=tuple(value["arguments"]),
        files=tuple(
            InputFile(name, house.ledger.read_payload(stored.content))
            for name, stored in zip(value["files"], first.files, strict=True)
        ),
        requirements=value["requirements"].encode(),
        declared=tuple(value["declared"]),
        hosts=tuple(HostRequest(name, port) for name, port in value["hosts"]),
        mounts=tuple(MountRequest(path, Access(access), target) for path, access, target in value["mounts"]),
        limits=Limits(**value["limits"]),
        profile=value["profile"],
        purpose=value["purpose"],
        ticket=value["ticket"],
    )
