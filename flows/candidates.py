"""A policy set before it is in force: linted, tested, and looked at for what could not be taken back.

It must never change anything, and never let a set pass because something about it could not be looked at. `custody init` and `custody policy apply`
hold every set to it; the shipped one is held to it by the tests of policies/.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..errors import PolicyError
from ..ledger import events
from ..policies import Directory, Gate, PolicySet, run_rule_tests
from ..policies.types import Denied
from ..redaction import Redactor
from .house import new_id

__all__ = ["Examined", "examine", "file_records"]

_HINT = "run `custody policy lint FOLDER` and `custody policy test FOLDER`; what is in force stays in force"
_FILE_RECORDS_BYTES = 8 * 1024
"""Room for the list of files in an entry; the payload beside it holds all of them."""
_FILE_RECORD_BYTES = 120
"""Of one record, its name left out."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What speaks against a set; nothing, and then the gate that decides by it."""

    gate: Gate | None
    objections: tuple[str, ...] = ()

    @property
    def rejection(self) -> PolicyError:
        """The objections as an error."""
        more = f" (and {len(self.objections) - 1} more)" if len(self.objections) > 1 else ""
        return PolicyError(f"the policy set was rejected: {self.objections[0]}{more}", hint=_HINT)


def examine(policies: PolicySet, *, directory: Directory, redactor: Redactor, now: datetime) -> Examined:
    """Lint a set, play its tests, and ask who could change it again."""
    problems = Gate.lint(policies)
    objections = [str(problem) for problem in problems]
    if any(problem.blocking for problem in problems):
        return Examined(None, tuple(objections))
    try:
        objections += [
            f"{case.file}: rule `{case.rule}`: {case.name}: {'; '.join(case.problems)}"
            for case in run_rule_tests(policies)
            if case.problems
        ]
        gate = Gate(policies)
    except PolicyError as error:
        return Examined(None, (*objections, f"schema.cedarschema: {error.message}"))
    objections += _traps(gate, directory, redactor, now)
    return Examined(None, tuple(objections)) if objections else Examined(gate)


def _traps(gate: Gate, directory: Directory, redactor: Redactor, now: datetime) -> Iterator[str]:
    """What would make the set a one-way street: nobody who could change it again, or bytes that could not be stored as they are."""
    people, decision = directory.principals.values(), new_id("dec", now)
    if all(isinstance(gate.act(p, "changePolicy", now=now, decision=decision), Denied) for p in people):
        yield "under this set nobody in the directory could change policies again"
    if redactor.redact(gate.policies.to_bytes()).count:
        yield "something in it looks like a secret, or is one of this machine's; secrets are never stored"


def file_records(policies: PolicySet) -> tuple[events.FileRecord, ...]:
    """As many files of a set as an entry has room for, each with its digest."""
    records: list[events.FileRecord] = []
    room = _FILE_RECORDS_BYTES
    for name, text in policies.files.items():
        content = text.encode()
        room -= _FILE_RECORD_BYTES + len(name)
        if room < 0:
            break
        records.append(events.FileRecord(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)))
    return tuple(records)
