"""What the ledger says about a principal's past, as plain numbers for the policies.

It must never take a figure from a caller, and counts by authenticated principal only: nobody can lock out somebody else.
"""

from datetime import datetime, timedelta
from itertools import islice

from ..ledger import Ledger, events
from ..policies import Directory
from ..policies.types import History, Principal
from .spending import budgets_of

__all__ = ["history_of"]

_RECENT_RUNS = 200
"""How many past runs are read for what is known; older ones count as new again."""


def history_of(ledger: Ledger, directory: Directory, who: Principal, *, now: datetime) -> History:
    """Counts and known things of one principal up to now."""
    principal = who.id
    ten_minutes, hour = now - timedelta(minutes=10), now - timedelta(hours=1)
    ends = ("run:finished",)

    def ended(outcome: str, since: datetime) -> int:
        return ledger.count(kinds=ends, actor=principal, outcome=outcome, since=since)

    packages: set[str] = set()
    hosts: set[str] = set()
    past = ledger.entries(kinds=("dependencies:resolved", "run:started"), actor=principal, newest_first=True)
    for entry in islice(past, _RECENT_RUNS):
        match entry.event:
            case events.DependenciesResolved(pins=pins):
                packages.update(f"{pin.name}=={pin.version}" for pin in pins)
            case events.RunStarted(hosts=granted):
                hosts.update(f"{host.name}:{host.port}" for host in granted)
            case _:
                pass
    return History(
        denied_10m=_denials(ledger, principal, since=ten_minutes),
        failed_1h=ended("failed", hour) + ended("violated_policy", hour),
        runs_1h=ledger.count(kinds=("run:submitted",), actor=principal, since=hour),
        runs_total=ledger.count(kinds=("run:submitted",), actor=principal),
        known_packages=tuple(sorted(packages)),
        known_hosts=tuple(sorted(hosts)),
        spent=budgets_of(ledger, directory, who, now=now),
    )


def _denials(ledger: Ledger, principal: str, *, since: datetime) -> int:
    """Denied and blocked attempts; those that the lockout itself denied do not count, or it would never end."""
    ends = ledger.entries(kinds=("run:finished",), actor=principal, since=since)
    finished = (entry.event for entry in ends if isinstance(entry.event, events.RunFinished))
    return sum(event.end in {"denied", "blocked"} and "lockout" not in event.rules for event in finished)
