from datetime import timedelta

from custody.reports import Review, render
from custody.reports.view import Caps, view_of

from .world import World, reviewed


def many(runs: int, apart: timedelta, *, days_before: int = 0) -> World:
    world = World()
    for day in range(days_before):
        world.denied(f"old-{day}", "agent-analyst", "old.py")
        world.now += timedelta(days=1)
    for number in range(runs):
        run = f"run-{number}"
        if number % 3:
            world.succeeded(run, "agent-analyst", "a.py")
        else:
            world.denied(run, "agent-builder", "b.py", rule=f"rule-{number % 2}")
        world.now += apart
    return world


def test_few_runs_get_a_bar_each_in_the_order_of_their_ends(review: Review) -> None:
    assert review.chart.unit == "run"
    assert [bar.run for bar in review.chart.bars] == [f"run-{n:02}" for n in range(1, 14)]
    assert review.chart.bars[4].wall_ms is None


def test_many_runs_within_a_minute_are_counted_by_ten_seconds() -> None:
    chart = reviewed(many(20, timedelta(0))).chart
    assert chart.unit == "10 seconds"
    assert sum(bar.succeeded + bar.not_run for bar in chart.bars) == 20


def test_many_runs_within_minutes_are_counted_by_the_minute() -> None:
    chart = reviewed(many(40, timedelta(seconds=20))).chart
    assert chart.unit == "minute"
    assert sum(bar.succeeded for bar in chart.bars) == 26


def test_many_runs_over_a_day_are_counted_by_the_hour() -> None:
    chart = reviewed(many(40, timedelta(minutes=30))).chart
    assert (chart.unit, chart.usual) == ("hour", None)
    assert "too little history" in chart.note


def test_weeks_of_runs_are_counted_by_the_day_with_their_usual_range() -> None:
    world = many(60, timedelta(hours=12), days_before=40)
    review = reviewed(world, hours=24 * 31)
    assert (review.chart.unit, review.chart.usual) == ("day", 1)
    assert b"usual: up to 1 failed or not run" in render(review).html


def test_bars_outside_the_usual_range_carry_their_number() -> None:
    world = many(24, timedelta(hours=20), days_before=40)
    for number in range(9):
        world.denied(f"burst-{number}", "agent-analyst", "x.py")
    review = reviewed(world, hours=24 * 25)
    html = render(review).html.decode()
    assert 'class="hot"' in html
    assert "10 failed or not run" in html or "9 failed or not run" in html


def test_an_empty_chart_says_so() -> None:
    chart = reviewed(World()).chart
    assert (chart.bars, chart.note) == ((), "No run ended in this window.")


def bars(review: Review) -> list[dict[str, object]]:
    view = view_of(review, Caps())["chart"]
    assert isinstance(view, dict)
    return list(view["bars"])


def test_every_bar_carries_its_own_number_and_the_longest_is_whole(review: Review) -> None:
    by_program = {bar["program"]: bar for bar in bars(review)}
    assert by_program["sleeper.py"]["length"] == 1000
    assert (by_program["memory_bomb.py"]["length"], by_program["memory_bomb.py"]["took"]) == (343, "700 ms")
    assert (by_program["fetch_rates.py"]["length"], by_program["fetch_rates.py"]["took"]) == (0, "")


def test_a_program_with_colons_in_its_name_keeps_its_name_and_its_end() -> None:
    world = World()
    world.succeeded("run-1", "agent-analyst", "a: b: c.py")
    (bar,) = bars(reviewed(world))
    assert (bar["program"], bar["end"]) == ("a: b: c.py", "Succeeded")


def test_the_axis_of_counts_reaches_the_highest_bar_in_round_steps() -> None:
    view = view_of(reviewed(many(20, timedelta(0))), Caps())["chart"]
    assert isinstance(view, dict)
    highest = max(bar["total"] for bar in view["bars"])
    assert highest <= view["top"] < 2 * highest


def test_a_chart_by_time_has_a_form_for_narrow_screens_with_fewer_labels() -> None:
    html = render(reviewed(many(40, timedelta(minutes=30)))).html.decode()
    broad, narrow = (
        html.split(f'<svg class="chart {form}"', 1)[1].split("</svg>", 1)[0] for form in ("broad", "narrow")
    )
    assert broad.count("<rect") == narrow.count("<rect")
    assert 0 < narrow.count("<text") < broad.count("<text")
