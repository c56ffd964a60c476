from dataclasses import replace

import pytest

from custody.errors import CustodyError
from custody.reports import Review, Severity, render
from custody.reports.consistency import contradictions

from .world import demo, reviewed


def test_the_demonstration_agrees_with_itself(review: Review) -> None:
    assert list(contradictions(review)) == []


@pytest.mark.parametrize("position", range(7))
def test_a_figure_that_is_off_by_one_is_never_written(review: Review, position: int) -> None:
    figures = list(review.figures)
    figures[position] = replace(figures[position], value=figures[position].value + 1)
    with pytest.raises(CustodyError, match="the review contradicts itself: `"):
        render(replace(review, figures=tuple(figures)))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, attempts=r.attempts[1:]),
        lambda r: replace(r, runs=r.runs[1:]),
        lambda r: replace(r, anomalies=r.anomalies[1:]),
        lambda r: replace(r, packages=()),
        lambda r: replace(r, evidence=r.evidence[1:]),
        lambda r: replace(r, evidence=r.evidence + r.evidence[:1]),
        lambda r: replace(r, severity=Severity.LOW),
        lambda r: replace(r, not_a_real_audit=False),
        lambda r: replace(r, chart=replace(r.chart, bars=r.chart.bars[1:])),
        lambda r: replace(r, seal=replace(r.seal, consistent=False)),
        lambda r: replace(r, figures=r.figures[1:]),
    ],
)
def test_a_review_that_contradicts_itself_is_never_written(review: Review, change: object) -> None:
    assert callable(change)
    with pytest.raises(CustodyError, match="contradicts itself"):
        render(change(review))


@pytest.mark.parametrize(
    "change",
    [
        lambda figure: replace(figure, parts=figure.parts[1:]),
        lambda figure: replace(figure, parts=()),
        lambda figure: replace(figure, note="2 by itself, 1 at a limit"),
    ],
)
def test_a_figure_that_is_not_the_sum_of_its_parts_is_never_written(review: Review, change: object) -> None:
    assert callable(change)
    figures = tuple(change(f) if f.name == "Failed or stopped" else f for f in review.figures)
    with pytest.raises(CustodyError, match="the review contradicts itself: `Failed or stopped`"):
        render(replace(review, figures=figures))


def test_a_window_of_an_hour_agrees_as_well() -> None:
    assert list(contradictions(reviewed(demo(), hours=1))) == []
