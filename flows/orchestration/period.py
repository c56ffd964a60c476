"""The window of a scheduled review, from its *scheduled* start: a late, repeated or doubled run judges the same day.

It must never derive anything from the time at which it happens to run.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ...errors import UsageError

__all__ = ["Period", "period_of"]


class Period(NamedTuple):
    """The window of one review."""

    since: datetime
    until: datetime


def period_of(since: str, until: str, *, scheduled: datetime, timezone: str) -> Period:
    """The window that was asked for; without one, the day by the wall clock of the time zone that ends with the scheduled start.

    Raises:
        UsageError: half a window, not a time, or no time zone.
    """
    if bool(since) != bool(until):
        raise UsageError("a window needs both its ends", hint="give `since` and `until`, or neither")
    try:
        if since:
            return Period(_aware(since), _aware(until))
        # made anew: Prefect's own kind of time counts differently
        end = datetime.fromtimestamp(scheduled.timestamp(), ZoneInfo(timezone))
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            "the window cannot be understood", hint="give RFC 3339 times with an offset, and an IANA time zone"
        ) from error
    # wall-clock arithmetic: where clocks change the day has 23 or 25 hours, and no hour is left out or judged twice
    return Period(end - timedelta(days=1), end)


def _aware(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("without an offset")
    return time
