"""The window of a scheduled review follows from its schedule alone."""

from datetime import UTC, datetime, timedelta

import pytest

from custody.errors import UsageError
from custody.flows.orchestration.period import period_of

SCHEDULED = datetime(2026, 11, 23, 6, tzinfo=UTC)


def test_without_a_window_it_is_the_day_before_the_scheduled_start() -> None:
    period = period_of("", "", scheduled=SCHEDULED, timezone="UTC")
    assert period == (SCHEDULED - timedelta(days=1), SCHEDULED)


def test_a_window_that_is_given_is_taken_as_it_is() -> None:
    period = period_of("2026-01-01T00:00:00Z", "2026-01-02T00:00:00+01:00", scheduled=SCHEDULED, timezone="UTC")
    assert [time.isoformat() for time in period] == ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+01:00"]


@pytest.mark.parametrize(
    ("scheduled", "hours"),
    [
        (datetime(2026, 10, 25, 5, tzinfo=UTC), 25),  # 06:00 in Berlin, hours after summer time ended
        (datetime(2026, 3, 29, 4, tzinfo=UTC), 23),  # 06:00 in Berlin, hours after it began
        (datetime(2026, 7, 1, 4, tzinfo=UTC), 24),
    ],
)
def test_no_hour_is_left_out_or_judged_twice_when_clocks_change(scheduled: datetime, hours: int) -> None:
    since, until = period_of("", "", scheduled=scheduled, timezone="Europe/Berlin")
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=hours)
    assert (since.hour, until.hour) == (6, 6)


@pytest.mark.parametrize(
    ("since", "until", "timezone"),
    [
        ("2026-01-01T00:00:00Z", "", "UTC"),
        ("", "2026-01-01T00:00:00Z", "UTC"),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00", "UTC"),
        ("yesterday", "today", "UTC"),
        ("", "", "Atlantis/Nowhere"),
        ("", "", "../etc/passwd"),
    ],
)
def test_half_a_window_or_nonsense_is_refused(since: str, until: str, timezone: str) -> None:
    with pytest.raises(UsageError):
        period_of(since, until, scheduled=SCHEDULED, timezone=timezone)
