"""What was used of which budget, counted from the ledger only.

It must never take a figure from a caller or from the machine: what is not on record was not used, and what is on record cannot be taken back.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..ledger import Entry, Ledger, events
from ..policies import Directory
from ..policies.types import Budgets, Principal, Spent, Usage

__all__ = ["budgets_of"]

_KINDS = ("run:submitted", "run:finished", "egress:attempted", "artefact:collected")
_WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=30))


@dataclass(slots=True)
class _Sum:
    """A usage that grows; milliseconds until the end, so that many short runs are not rounded away."""

    runs: int = 0
    cpu_ms: int = 0
    bytes_out: int = 0
    artefact_bytes: int = 0

    def add(self, event: events.Event | None) -> None:
        """Count one entry."""
        match event:
            case events.RunSubmitted():
                self.runs += 1
            case events.RunFinished(usage=usage, stdout=stdout, stderr=stderr):
                self.cpu_ms += _cpu_ms(usage)
                self.bytes_out += sum(output.seen for output in (stdout, stderr) if output is not None)
            case events.EgressAttempted(bytes_up=sent):
                self.bytes_out += sent or 0
            case events.ArtefactCollected(bytes=size):
                self.artefact_bytes += size
            case _:
                pass

    def usage(self) -> Usage:
        """As policies take it; a started second counts whole."""
        return Usage(
            runs=self.runs,
            cpu_seconds=-(-self.cpu_ms // 1000),
            bytes_out=self.bytes_out,
            artefact_bytes=self.artefact_bytes,
        )


def _cpu_ms(usage: events.UsageRecord | None) -> int:
    """CPU time; where it could not be measured the wall time stands for it, so that nothing is free for being unseen."""
    if usage is None:
        return 0
    return usage.wall_ms if usage.cpu_ms is None else usage.cpu_ms


def budgets_of(ledger: Ledger, directory: Directory, principal: Principal, *, now: datetime) -> Budgets:
    """What counts against the budgets of a principal, its accountable human, and its teams."""
    owner = principal.owner or principal.id
    members = _members(directory, principal)
    groups: dict[str, frozenset[str]] = {
        "principal": frozenset({principal.id}),
        "owner": frozenset({owner}),
        **{f"team {team}": names for team, names in members.items()},
    }
    sums: dict[str, list[_Sum]] = {name: [_Sum() for _ in _WINDOWS] for name in groups}
    owners = _Owners(directory)
    for entry in _since(ledger, principal, alone=not members and _is_alone(directory, owner), now=now):
        answers_for = owners.of(entry)
        for name, names in groups.items():
            if (answers_for if name == "owner" else entry.actor) in names:
                for total, window in zip(sums[name], _WINDOWS, strict=True):
                    if entry.time > now - window:
                        total.add(entry.event)
    teams = [sums[f"team {team}"] for team in members]
    return Budgets(principal=_spent(sums["principal"]), owner=_spent(sums["owner"]), team=_most(teams))


def _since(ledger: Ledger, principal: Principal, *, alone: bool, now: datetime) -> Iterable[Entry]:
    """Everything that can count; of one principal only where nobody shares a budget with it."""
    return ledger.entries(kinds=_KINDS, actor=principal.id if alone else None, since=now - _WINDOWS[-1])


def _is_alone(directory: Directory, owner: str) -> bool:
    """Whether nobody in the directory shares the owner's budget."""
    return not any(known.owner == owner for known in directory.principals.values())


def _members(directory: Directory, principal: Principal) -> Mapping[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for team in principal.teams:
        found[team].update(name for name, known in directory.principals.items() if team in known.teams)
    return {team: frozenset(names) for team, names in found.items()}


class _Owners:
    """Who answers for whom: as the submission said it, else as the directory says."""

    def __init__(self, directory: Directory) -> None:
        self._known = {name: known.owner or name for name, known in directory.principals.items()}

    def of(self, entry: Entry) -> str:
        """The accountable human behind an entry."""
        if isinstance(entry.event, events.RunSubmitted):
            self._known[entry.actor] = entry.event.owner or entry.actor
        return self._known.get(entry.actor, entry.actor)


def _spent(sums: Iterable[_Sum]) -> Spent:
    hour, day, month = (total.usage() for total in sums)
    return Spent(hour=hour, day=day, month=month)


def _most(teams: Iterable[Iterable[_Sum]]) -> Spent:
    """Each figure of the team that has most of it."""
    spent = [_spent(sums) for sums in teams]

    def most(usages: list[Usage]) -> Usage:
        return Usage(
            runs=max((usage.runs for usage in usages), default=0),
            cpu_seconds=max((usage.cpu_seconds for usage in usages), default=0),
            bytes_out=max((usage.bytes_out for usage in usages), default=0),
            artefact_bytes=max((usage.artefact_bytes for usage in usages), default=0),
        )

    return Spent(
        hour=most([each.hour for each in spent]),
        day=most([each.day for each in spent]),
        month=most([each.month for each in spent]),
    )
