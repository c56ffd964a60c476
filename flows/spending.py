"""What was used of which budget, counted from the ledger only.

It must never take a figure from a caller or from the machine: what is not on record was not used, and what is on record cannot be taken back.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from ..ledger import Ledger
from ..policies import Directory
from ..policies.types import Budgets, Principal, Spent, Usage
from .owners import owned_by
from .past import WINDOWS, Past, Sum, past_of

__all__ = ["budgets_of"]


def budgets_of(ledger: Ledger, directory: Directory, principal: Principal, *, past: Past, now: datetime) -> Budgets:
    """What was used in the last hour, day and month: by the principal, by all that its human answers for, and by its busiest team.

    Args:
        ledger: where it is counted.
        directory: who answers for whom now, and who is in which team.
        principal: whose budgets.
        past: the principal's own past up to now.
        now: the time of the decision.
    """
    pasts = {principal.id: past}

    def of(name: str) -> Past:
        if name not in pasts:
            pasts[name] = past_of(ledger, name, now=now)
        return pasts[name]

    owner = principal.owner or principal.id
    listed = {name: known.owner or name for name, known in directory.principals.items()}
    # somebody who was taken out of the directory is still paid for by whoever answered for him
    charged = owned_by(ledger, owner) | {owner} | {name for name, known in listed.items() if known == owner}
    return Budgets(
        principal=_spent(past.spent(now)),
        owner=_spent(
            _total(
                of(name).spent(now, owned_by=owner, owner_by_default=listed.get(name, name)) for name in sorted(charged)
            )
        ),
        team=_most([_spent(_total(of(name).spent(now) for name in names)) for names in _teams(directory, principal)]),
    )


def _teams(directory: Directory, principal: Principal) -> Sequence[Sequence[str]]:
    """The members of each team that the principal is in."""
    return [[name for name, known in directory.principals.items() if team in known.teams] for team in principal.teams]


def _total(each: Iterable[tuple[Sum, ...]]) -> tuple[Sum, ...]:
    """Window by window, all of them together."""
    totals = tuple(Sum() for _ in WINDOWS)
    for sums in each:
        for total, used in zip(totals, sums, strict=True):
            total.add(used)
    return totals


def _spent(sums: tuple[Sum, ...]) -> Spent:
    hour, day, month = (
        Usage(
            runs=used.runs,
            # a started second counts whole
            cpu_seconds=-(-used.cpu_ms // 1000),
            bytes_out=used.bytes_out,
            artefact_bytes=used.artefact_bytes,
        )
        for used in sums
    )
    return Spent(hour=hour, day=day, month=month)


def _most(teams: Sequence[Spent]) -> Spent:
    """Each figure of the team that has most of it."""

    def most(usages: Sequence[Usage]) -> Usage:
        return Usage(
            runs=max((usage.runs for usage in usages), default=0),
            cpu_seconds=max((usage.cpu_seconds for usage in usages), default=0),
            bytes_out=max((usage.bytes_out for usage in usages), default=0),
            artefact_bytes=max((usage.artefact_bytes for usage in usages), default=0),
        )

    return Spent(
        hour=most([team.hour for team in teams]),
        day=most([team.day for team in teams]),
        month=most([team.month for team in teams]),
    )
