"""What the ledger says about a principal's past, as plain numbers for the policies.

It must never take a figure from a caller, and counts by authenticated principal only: nobody can lock out somebody else.
"""

from datetime import datetime, timedelta

from ..ledger import Ledger, events
from ..policies import Directory
from ..policies.types import History, Principal
from .past import past_of
from .spending import budgets_of

__all__ = ["history_of"]


def history_of(ledger: Ledger, directory: Directory, who: Principal, *, now: datetime) -> History:
    """Counts and known things of one principal up to now."""
    principal = who.id
    hour = now - timedelta(hours=1)

    def ended(outcome: str) -> int:
        return ledger.count(kinds=("run:finished",), actor=principal, outcome=outcome, since=hour)

    past = past_of(ledger, principal, now=now)
    return History(
        denied_10m=_denials(ledger, principal, since=now - timedelta(minutes=10)),
        failed_1h=ended("failed") + ended("violated_policy"),
        runs_1h=ledger.count(kinds=("run:submitted",), actor=principal, since=hour),
        runs_total=past.runs,
        known_packages=past.granted("package"),
        known_hosts=past.granted("host"),
        known_paths=(
            *(f"read {path}" for path in past.granted("read")),
            *(f"write {path}" for path in past.granted("write")),
        ),
        spent=budgets_of(ledger, directory, who, past=past, now=now),
    )


def _denials(ledger: Ledger, principal: str, *, since: datetime) -> int:
    """Attempts that rules denied or blocked; those that the lockout denied do not count, or it would never end.

    What is blocked without a rule, as by an index that does not answer, is nobody's attempt at anything.
    """
    ends = ledger.entries(kinds=("run:finished",), actor=principal, since=since)
    finished = (entry.event for entry in ends if isinstance(entry.event, events.RunFinished))
    return sum(
        event.end in {"denied", "blocked"} and bool(event.rules) and "lockout" not in event.rules for event in finished
    )
