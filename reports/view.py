"""What the page needs beside the review itself: what fits on it, scales of the chart, and who can be linked to.

It must never drop a row without its total staying on the page.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .exposure import in_words
from .shown import by_run, shown
from .types import Bar, Chart, DecisionNeeded, GrantedLimit, Review, RunRow
from .words import duration, number, stamp

__all__ = ["Caps", "view_of"]

_PAGE_MM = 264
"""Height that an A4 sheet has between the margins of the style sheet, with a little left over."""
_FIXED_MM = 130
"""Head, verdict's frame, figures, three headings, seal."""
_LINE_MM = 3.9
_BANNER_MM = 15
_RUN_BAR_MM = 3.6
_TIME_CHART_MM = 38
_PROBLEM_MM = 4.2
_PROBLEMS = 4
"""Problems of the ledger that the seal lists; the rest is counted."""
_BEHIND = frozenset({"outdated", "unknown"})


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of each kind a page holds; the JSON holds all."""

    cards: int = 100
    """Full cards of attempts, and of anomalies; further attempts get a row each."""
    rows: int = 250
    """Rows of each table."""
    evidence: int = 1000
    """Rows of evidence."""
    paper_cards: int = 25
    """Full cards that are printed."""
    paper_rows: int = 100
    """Rows of each table that are printed."""
    paper_evidence: int = 400
    """Rows of evidence that are printed."""


View = dict[str, object]


def view_of(review: Review, caps: Caps) -> View:
    """Presentation only; every fact is in the review."""
    evidence = shown(review, rows=caps.evidence, cards=caps.cards)
    return {
        "linked": {row.index: True for row in evidence},
        "evidence": by_run(evidence, review, paper=caps.paper_evidence),
        "evidence_rows": len(evidence),
        "hidden": {anomaly.id: True for anomaly in review.anomalies[caps.cards :]},
        "first_decisions": _that_fit(review),
        "period": f"{stamp(review.window.since)} to {stamp(review.window.until)}",
        "entries": sum(kind.entries for kind in review.kinds),
        "problems": _PROBLEMS,
        "cards": caps.cards,
        "rows": caps.rows,
        "paper_cards": caps.paper_cards,
        "paper_rows": caps.paper_rows,
        "paper_evidence": caps.paper_evidence,
        "with_findings": [i for i, row in enumerate(review.packages) if row.state != "clean"],
        "unprinted": sum(row.state == "clean" and row.freshness not in _BEHIND for row in review.packages),
        "behind": [i for i, row in enumerate(review.packages) if row.freshness in _BEHIND],
        "package_summary": _summary(review),
        "exposure_summary": in_words(review.exposure),
        "limits_together": _together(review.granted_limits),
        "chart": _bars(review) if review.chart.unit == "run" else _by_time(review.chart),
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


def _bars(review: Review) -> View:
    """Lengths in thousandths of the longest bar: every bar carries its own number, so that no axis is needed."""
    runs = {row.run: row for row in review.runs}
    longest = max((bar.wall_ms or 0 for bar in review.chart.bars), default=0) or 1
    return {"bars": [_run_bar(bar, runs, longest) for bar in review.chart.bars]}


def _run_bar(bar: Bar, runs: dict[str, RunRow], longest: int) -> View:
    row = runs.get(bar.run)
    fate = "succeeded" if bar.succeeded else "failed" if bar.failed else "not_run"
    return {
        "program": row.program if row else bar.label,
        "end": row.end if row else "",
        "fate": fate,
        "length": max(5, round(1000 * bar.wall_ms / longest)) if bar.wall_ms is not None else 0,
        "took": duration(bar.wall_ms) if bar.wall_ms is not None else "",
    }


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
        "narrow_label": bar.label if i % (3 * every) == 0 else "",
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
