"""Time in the log: it counts from the newest entry, or from where the machine's clock was last said to have been set back.

It must never make an entry older or younger than its writer said, and never believe a clock: only the order of the entries is certain.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from .database import rows
from .events import LedgerClockSetBack

__all__ = ["TOLERANCE_US", "Clock", "machine_clock", "newest_time"]

Clock = Callable[[], datetime]
"""Gives the time that the machine's clock shows, aware, UTC."""

_TOLERANCE = timedelta(minutes=10)
"""Writers prepare their drafts at the same time and are let in one after the other."""
TOLERANCE_US = _TOLERANCE // timedelta(microseconds=1)
"""By how many microseconds an entry may be older than one before it."""

_NEWEST = (
    "SELECT (SELECT max(time_us) FROM event_index), "  # noqa: S608 - because a constant is put in
    f"(SELECT max(idx) FROM event_index WHERE kind = '{LedgerClockSetBack.KIND.name}')"
)
_LAST = "SELECT time_us FROM event_index ORDER BY idx DESC LIMIT 1"
_NEWEST_SINCE = "SELECT time_us FROM event_index WHERE +idx >= ? AND time_us <= ? ORDER BY time_us DESC LIMIT 1"
"""By the index on time, not by that on numbers: few entries are of the minutes before the last one's, and all may follow a number."""


def machine_clock() -> datetime:
    """What this machine's clock shows."""
    return datetime.now(UTC)


def newest_time(connection: Connection) -> int | None:
    """Microseconds of the newest entry since the clock was last set back, None in an empty ledger."""
    newest, set_back = next(rows(connection, _NEWEST))
    if isinstance(set_back, int):
        last = next(rows(connection, _LAST), (None,))[0]
        bound = (
            last if isinstance(last, int) else 0
        ) + TOLERANCE_US  # the last entry is no older than the newest by more
        newest = next(rows(connection, _NEWEST_SINCE, (set_back, bound)), (None,))[0]
    return newest if isinstance(newest, int) else None
