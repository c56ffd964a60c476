"""What the page needs beside the review itself: what fits on it, scales of the chart, and who can be linked to.

It must never drop a row without its total staying on the page.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .exposure import in_words
from .types import Bar, Chart, DecisionNeeded, GrantedLimit, Review
from .words import duration, number, stamp

__all__ = ["Caps", "view_of"]

_PAGE_MM = 264
"""Height that an A4 sheet has between the margins of the style sheet, with a little left over."""
_FIXED_MM = 130
"""Head, verdict's frame, figures, three headings, seal."""
_LINE_MM = 3.9
_BANNER_MM = 15
_RUN_BAR_MM = 3.3
_TIME_CHART_MM = 38
_PROBLEM_MM = 4.2
_PROBLEMS = 4
"""Problems of the ledger that the seal lists; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of each kind a page holds; the JSON holds all."""

    cards: int = 500
    """Full cards of attempts, and of anomalies."""
    rows: int = 1000
    """Rows of each table."""


View = dict[str, object]


def view_of(review: Review, caps: Caps) -> View:
    """Presentation only; every fact is in the review."""
    evidence = review.evidence[: caps.rows]
    return {
        "linked": {row.index: True for row in evidence},
        "first_decisions": _that_fit(review),
        "period": f"{stamp(review.window.since)} to {stamp(review.window.until)}",
        "entries": sum(kind.entries for kind in review.kinds),
        "problems": _PROBLEMS,
        "cards": caps.cards,
        "rows": caps.rows,
        "with_findings": [i for i, row in enumerate(review.packages) if row.state != "clean"],
        "behind": [i for i, row in enumerate(review.packages) if row.freshness in {"outdated", "unknown"}],
        "package_summary": _summary(review),
        "exposure_summary": in_words(review.exposure),
        "limits_together": _together(review.granted_limits),
        "chart": _by_run(review.chart) if review.chart.unit == "run" else _by_time(review.chart),
        "badge": _badge(review),
    }


def _that_fit(review: Review) -> int:
    """How many decisions leave room for chart and seal on the first printed page; one at least."""
    chart = len(review.chart.bars) * _RUN_BAR_MM if review.chart.unit == "run" else _TIME_CHART_MM
    left = _PAGE_MM - _FIXED_MM - chart - _lines(review.verdict, 118) * _LINE_MM - _BANNER_MM * review.not_a_real_audit
    problems = min(_PROBLEMS + 1, len(review.seal.problems))
    left -= (problems + 2) * _PROBLEM_MM * bool(problems)
    for fits, decision in enumerate(review.decisions):
        left -= _height(decision)
        if left < 0:
            return max(1, fits)
    return len(review.decisions)


def _height(decision: DecisionNeeded) -> float:
    text = _lines(decision.what, 60) + _lines(decision.why, 70) + 1.2 * bool(decision.command)
    who = _lines(decision.who, 17) + 2 * bool(decision.by)
    return (max(text, who, 2) + 0.4) * _LINE_MM


def _lines(text: str, width: int) -> int:
    return -(-len(text) // width)


def _badge(review: Review) -> View:
    if not review.seal.consistent:
        return {"tone": "critical", "text": "Does not verify"}
    if review.seal.anchored_to is None:
        return {"tone": "low", "text": "Consistent, not anchored outside"}
    return {"tone": "okay", "text": f"Verified, anchored at {number(review.seal.anchored_to)}"}


def _summary(review: Review) -> str:
    """Counts by audit and by age, which both add up to all versions."""
    states = Counter(row.state for row in review.packages)
    ages = Counter(row.freshness for row in review.packages)
    total = len(review.packages)
    return f"{number(total)} package {'version' if total == 1 else 'versions'}. By audit: {_listed(states)}. By age: {_listed(ages)}."


def _together(limits: Sequence[GrantedLimit]) -> Sequence[View]:
    """Limits that the same runs had the most of share a row: most windows know one set of limits."""
    rows: dict[tuple[int, tuple[int, ...], tuple[str, ...]], list[GrantedLimit]] = {}
    for limit in limits:
        rows.setdefault((limit.runs, limit.entries, limit.principals), []).append(limit)
    return [
        {
            "limits": _sentence(f"{limit.limit} {limit.most}" for limit in same),
            "runs": runs,
            "entries": list(entries),
            "principals": list(principals),
        }
        for (runs, entries, principals), same in rows.items()
    ]


def _sentence(parts: Iterable[str]) -> str:
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number(count)} {word}" for word, count in sorted(counts.items()))


def _by_run(chart: Chart) -> View:
    longest = max((bar.wall_ms or 0 for bar in chart.bars), default=0)
    ticks = _ticks(longest)
    return {
        "ticks": [{"value": tick, "label": duration(tick) if tick else "0"} for tick in ticks],
        "top": ticks[-1],
        "bars": [_run_bar(bar) for bar in chart.bars],
    }


def _run_bar(bar: Bar) -> View:
    program, _, end = bar.label.rpartition(": ") if bar.label.count(": ") == 1 else bar.label.partition(": ")
    fate = "succeeded" if bar.succeeded else "failed" if bar.failed else "not_run"
    return {
        "program": _cut(program, 26),
        "end": _cut(end, 46),
        "fate": fate,
        "wall_ms": bar.wall_ms,
        "took": duration(bar.wall_ms) if bar.wall_ms is not None else "",
    }


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _by_time(chart: Chart) -> View:
    totals = [bar.succeeded + bar.failed + bar.not_run for bar in chart.bars]
    ticks = _ticks(max([*totals, chart.usual or 0]))
    every = max(1, -(-len(chart.bars) // 8))
    peak = totals.index(max(totals)) if totals else -1
    return {
        "ticks": [{"value": tick, "label": number(tick)} for tick in ticks],
        "top": ticks[-1],
        "bars": [_time_bar(chart, i, total, every=every, peak=peak) for i, total in enumerate(totals)],
    }


def _time_bar(chart: Chart, i: int, total: int, *, every: int, peak: int) -> View:
    bar = chart.bars[i]
    outlier = chart.usual is not None and bar.failed + bar.not_run > chart.usual
    return {
        "label": bar.label if i % every == 0 else "",
        "title": f"{bar.label}: {bar.succeeded} succeeded, {bar.failed} failed or stopped, {bar.not_run} did not run",
        "succeeded": bar.succeeded,
        "failed": bar.failed,
        "not_run": bar.not_run,
        "total": total,
        "flag": f"{bar.failed + bar.not_run} failed or not run" if outlier else number(total) if i == peak else "",
        "outlier": outlier,
    }


def _ticks(most: int) -> Sequence[int]:
    """Zero to at least `most` in three to five round steps."""
    step = next(s for s in _round_steps() if s * 5 >= most)
    return range(0, max(step, -(-most // step) * step) + 1, step)


def _round_steps() -> Iterable[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10
