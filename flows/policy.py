"""Policies as a house has them: putting a set in force, seeing what was edited since, and explaining decisions.

It must never put a set in force that is not whole, tested and allowed, and never touch the one before: what is in force is always the last
`policy:changed`, so that a set that is refused changes nothing but the record, which gets a `policy:rejected`.
"""

import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConflictError, PolicyError
from ..ledger import Entry, events
from ..policies import Gate, PolicySet
from ..policies.types import Principal
from .access import authorise
from .candidates import examine, file_records
from .house import House, Places, caller_policies, stored_policies
from .record import Batch, clean, record

__all__ = ["Applied", "Edits", "apply_policies", "edits_of"]

_PROBLEMS = 30
_PROBLEM_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of putting a set in force."""

    changed: bool
    """False if the set was in force already, or nothing was to be changed."""
    policy_sha256: str
    previous_sha256: str
    rules: int
    layers: tuple[str, ...]
    """Layers that it changes: `locked`, `project`, `project/NAME`; empty if nothing changed."""
    difference: str
    """Unified diff from the set before; empty if nothing changed."""
    entry: int | None
    """Index of the `policy:changed`."""
    working_copy: str
    """What became of the home's own folder: `written`, `same`, or `edited` where it was left alone."""


@dataclass(frozen=True, slots=True)
class Edits:
    """How the home's policy folder differs from what is in force."""

    names: tuple[str, ...] = ()
    problem: str = ""
    """Why the folder could not be compared."""

    def __bool__(self) -> bool:
        return bool(self.names or self.problem)

    def __str__(self) -> str:
        if self.problem:
            return f"the policy folder cannot be compared with the set in force: {self.problem}"
        shown = ", ".join(self.names[:3]) + (f" and {len(self.names) - 3} more" if len(self.names) > 3 else "")  # noqa: PLR2004 - three names are enough to recognise it
        return f"files in the policy folder were edited and count for nothing until they are applied: {shown}"


def edits_of(house: House) -> Edits:
    """What was edited in the home's policy folder since the set in force was put there; nothing if there is no folder."""
    folder = house.places.policies
    if not folder.is_dir():
        return Edits()
    try:
        working = PolicySet.from_folder(folder).files
    except PolicyError as error:
        return Edits(problem=error.message)
    applied = house.policies.files
    names = sorted({*working, *applied})
    return Edits(tuple(name for name in names if working.get(name) != applied.get(name)))


def apply_policies(
    house: House, caller: Principal, folder: Path, *, comment: str = "", dry_run: bool = False
) -> Applied:
    """Put the set of a folder in force, or record why not.

    Raises:
        CustodyError: this caller may not change policies (exit 3); the attempt is on record.
        PolicyError: the set cannot be put in force; `policy:rejected` says why, and what is in force stays.
    """
    # read under this command's own eyes: another one may have changed it since the house was opened
    previous = _newest_change(house)
    before = stored_policies(house.ledger, previous.event)
    house = _judging_by(house, before)
    try:
        policies = caller_policies(house.settings, folder)
    except PolicyError as error:
        # nobody without a right to change anything learns what is wrong with the folder
        _authorise(house, caller, folder, frozenset())
        _reject(house, caller, "", [error.message])
        raise
    layers = policies.layers_changed_since(before)
    decision = _authorise(house, caller, folder, layers)
    if policies == before and not house.gate.closed:
        return _unchanged(policies, house.gate.rules)
    gate = _accepted(house, caller, policies)
    difference = policies.changes_since(before)
    if dry_run:
        return _result(policies, before, gate, difference, None, "same")
    entry = _put_in_force(house, caller, gate, _Change(before, previous, difference, decision, comment))
    return _result(policies, before, gate, difference, entry, _refresh(house.places, before, policies))


def _judging_by(house: House, policies: PolicySet) -> House:
    """The house with these policies in force: a right that was taken away a moment ago counts for nothing."""
    return house if policies == house.policies else replace(house, policies=policies, gate=Gate.in_force(policies))


def _authorise(house: House, caller: Principal, folder: Path, layers: frozenset[str]) -> str:
    said = f" ({', '.join(sorted(layers))})" if layers else ""
    return authorise(house, caller, "changePolicy", subject=f"{str(folder)[:80]}{said[:120]}", layers=layers)


@dataclass(frozen=True, slots=True)
class _Change:
    before: PolicySet
    previous: Entry
    difference: str
    decision: str
    comment: str


def _accepted(house: House, caller: Principal, policies: PolicySet) -> Gate:
    """The gate over a set that nothing speaks against; else it is rejected, on record."""
    found = examine(policies, directory=house.directory, redactor=house.redactor, now=house.clock())
    if found.gate is not None:
        return found.gate
    _reject(house, caller, policies.digest, found.objections)
    raise found.rejection


def _put_in_force(house: House, caller: Principal, gate: Gate, change: _Change) -> int:
    """One atomic batch; if another change came first nothing is written."""
    policies = gate.policies
    batch = Batch(house, caller.id)
    batch.add(
        events.PolicyReplaced(
            author=caller.id,
            decision=change.decision,
            policy_sha256=policies.digest,
            schema_sha256=policies.schema_digest,
            previous_sha256=change.before.digest,
            rules=gate.rules,
            profiles=tuple(sorted(gate.profiles)),
            comment=clean(house.redactor, change.comment, 300),
            policy_set=batch.seal(policies.to_bytes(), media="application/json"),
            difference=batch.seal(change.difference.encode(), media="text/x-diff"),
            files=file_records(policies),
        ),
        # INVARIANT: named after the change before, so that of two changes to the same set only one can be written
        id=f"policy/after/{change.previous.index}",
    )
    try:
        return batch.write()[0].index
    except ConflictError as error:
        raise PolicyError(
            "somebody else changed the policies at the same moment",
            hint="look at what is in force now, and apply again",
        ) from error


def _reject(house: House, caller: Principal, digest: str, sentences: Sequence[str]) -> None:
    shown = [clean(house.redactor, sentence, _PROBLEM_TEXT) for sentence in sentences[:_PROBLEMS]]
    if len(sentences) > _PROBLEMS:
        shown[-1] = f"and {len(sentences) - _PROBLEMS + 1} more"
    event = events.PolicyRejected(author=caller.id, policy_sha256=digest, problems=tuple(shown))
    record(house, event, actor=caller.id)


def _newest_change(house: House) -> Entry:
    # there is one: a house without does not open
    return next(house.ledger.entries(kinds=("policy:changed",), newest_first=True))


def _unchanged(policies: PolicySet, rules: int) -> Applied:
    return Applied(
        changed=False,
        policy_sha256=policies.digest,
        previous_sha256=policies.digest,
        rules=rules,
        layers=(),
        difference="",
        entry=None,
        working_copy="same",
    )


def _result(
    policies: PolicySet, before: PolicySet, gate: Gate, difference: str, entry: int | None, working_copy: str
) -> Applied:
    return Applied(
        changed=entry is not None,
        policy_sha256=policies.digest,
        previous_sha256=before.digest,
        rules=gate.rules,
        layers=tuple(sorted(policies.layers_changed_since(before))),
        difference=difference,
        entry=entry,
        working_copy=working_copy,
    )


def _refresh(places: Places, before: PolicySet, policies: PolicySet) -> str:
    """Bring the home's own folder to what is in force now, unless somebody edited it."""
    folder = places.policies
    try:
        working = PolicySet.from_folder(folder) if folder.is_dir() else before
    except PolicyError:
        return "edited"
    if working == policies and folder.is_dir():
        return "same"
    if working != before or folder.is_symlink():
        return "edited"
    beside = Path(tempfile.mkdtemp(prefix=".policies-", dir=places.home))
    old = places.home / f".policies-{secrets.token_hex(4)}.old"
    try:
        policies.write_to(beside)
        if folder.is_dir():
            folder.rename(old)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return "written"
