"""The chart: one bar for each run while they are few, else one for each stretch of time.

It must never show a stretch of time without saying which part of the window it covers.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from .endings import end_in_words
from .stories import Known, Story
from .types import Bar, Chart, Fate
from .words import clip, count_of, span

__all__ = ["chart_of"]

MOST_RUN_BARS = 16
"""More single runs would not fit on the first printed page."""
_MOST_TIME_BARS = 42
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
"""A Monday: weeks begin there."""
_UNITS = (
    ("10 seconds", timedelta(seconds=10), "%H:%M:%S"),
    ("minute", timedelta(minutes=1), "%H:%M"),
    ("hour", timedelta(hours=1), "%d %b %H:00"),
    ("day", timedelta(days=1), "%d %b"),
    ("week", timedelta(days=7), "%d %b"),
)
_HISTORY = 14
"""Earlier stretches that are needed before anything is called usual."""
_USUAL_SHARE = 0.95


def chart_of(known: Known, judged: Iterable[Story]) -> Chart:
    """The runs that ended in the window, in order of their ends."""
    ended = sorted((story for story in judged if story.finished), key=_end_of)
    if not ended:
        return Chart(unit="run", bars=(), usual=None, note="No run ended in this window.")
    if len(ended) <= MOST_RUN_BARS:
        return _by_run(ended)
    return _by_time(known, ended)


def _end_of(story: Story) -> datetime:
    end = story.finished
    return end.entry.time if end else story.time


def _by_run(ended: Sequence[Story]) -> Chart:
    note = f"{count_of(len(ended), 'run')} in the order in which they ended, {span(_end_of(ended[0]), _end_of(ended[-1]))}."
    return Chart(unit="run", bars=tuple(_run_bar(story) for story in ended), usual=None, note=note)


def _run_bar(story: Story) -> Bar:
    end = story.finished
    usage = end.event.usage if end and story.executed else None
    return Bar(
        label=f"{clip(story.program, 60)}: {end_in_words(story)}",
        since=_end_of(story),
        succeeded=int(story.fate is Fate.SUCCEEDED),
        failed=int(story.fate is Fate.FAILED),
        not_run=int(story.fate is Fate.NOT_RUN),
        wall_ms=usage.wall_ms if usage else None,
        run=clip(story.run, 80),
    )


def _by_time(known: Known, ended: Sequence[Story]) -> Chart:
    first, last = _end_of(ended[0]), _end_of(ended[-1])
    name, step, form = next((u for u in _UNITS if (last - first) / u[1] < _MOST_TIME_BARS - 1), _UNITS[-1])
    start = _floor(first, step)
    slots = int((last - start) / step) + 1
    counts = [dict.fromkeys(Fate, 0) for _ in range(slots)]
    for story in ended:
        counts[int((_end_of(story) - start) / step)][story.fate] += 1
    bars = tuple(_time_bar(start + step * i, form, counted) for i, counted in enumerate(counts))
    usual = _usual(known.earlier, step)
    scale = f"One bar is {name if name[0].isdigit() else 'one ' + name}; {span(start, start + step * slots)} is shown, nothing ended outside it."
    habit = (
        "Usual range: what 95 of 100 earlier bars stay below."
        if usual is not None
        else "No usual range yet: too little history."
    )
    return Chart(unit=name, bars=bars, usual=usual, note=f"{scale} {habit}")


def _time_bar(since: datetime, form: str, counted: dict[Fate, int]) -> Bar:
    return Bar(
        label=f"{since:{form}}",
        since=since,
        succeeded=counted[Fate.SUCCEEDED],
        failed=counted[Fate.FAILED],
        not_run=counted[Fate.NOT_RUN],
    )


def _floor(time: datetime, step: timedelta) -> datetime:
    return _EPOCH + ((time - _EPOCH) // step) * step


def _usual(earlier: Sequence[Story], step: timedelta) -> int | None:
    """The 95th percentile of failed and not run in one earlier stretch, quiet stretches included."""
    if not earlier:
        return None
    times = [_end_of(story) for story in earlier]
    start = _floor(min(times), step)
    slots = [0] * ((max(times) - start) // step + 1)
    for story in earlier:
        slots[(_end_of(story) - start) // step] += story.fate in {Fate.FAILED, Fate.NOT_RUN}
    if len(slots) < _HISTORY:
        return None
    return sorted(slots)[min(len(slots) - 1, int(len(slots) * _USUAL_SHARE))]
