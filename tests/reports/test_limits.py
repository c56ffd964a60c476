from datetime import timedelta

from custody.reports import Review

from .world import World, reviewed


def texts(review: Review) -> str:
    return "\n".join(limit.text for limit in review.limits)


def test_an_unanchored_ledger_is_a_limit_and_an_anchored_one_says_what_came_after(world: World) -> None:
    assert "checked against itself only" in texts(reviewed(world))
    anchored = reviewed(world, anchored_to=len(world.entries) - 4)
    assert "The last 4 entries came after the pin" in texts(anchored)
    nearly = reviewed(world, anchored_to=len(world.entries) - 1)
    assert "The last entry came after the pin and is not covered by it." in texts(nearly)
    assert anchored.seal.anchored_to == len(world.entries) - 4


def test_what_runs_could_not_observe_is_collected_with_its_entries(review: Review) -> None:
    limit = next(limit for limit in review.limits if "inside its own workspace" in limit.text)
    assert limit.text.startswith("In 11 runs: ")
    assert len(limit.entries) == 11


def test_unknown_kinds_are_counted(world: World) -> None:
    world.put(None, kind="later:kind")
    world.put(None, kind="later:kind")
    assert "2 entries of a kind that this release does not know: later:kind version 9 (2)" in texts(reviewed(world))


def test_a_run_without_an_end_is_named(world: World) -> None:
    world.submit("run-50", "agent-analyst", "lost.py")
    assert "1 run had no end yet and could not be judged: run-50." in texts(reviewed(world))


def test_a_run_that_waits_for_people_is_a_decision_and_not_a_gap(review: Review) -> None:
    assert "could not be judged" not in texts(review)


def test_a_cold_start_is_said(review: Review) -> None:
    assert "Cold start: 3 principals with fewer than 30 earlier runs" in texts(review)


def test_a_clock_that_goes_back_is_said(world: World) -> None:
    world.now -= timedelta(minutes=5)
    world.put(None, kind="later:kind")
    world.now += timedelta(minutes=5)
    assert "The clock went backwards 1 time" in texts(reviewed(world))


def test_an_entry_that_was_backdated_by_days_is_still_judged(world: World) -> None:
    now = world.now
    world.now -= timedelta(days=9)
    world.denied("run-60", "agent-builder", "yesterday.py")
    world.now = now
    assert "yesterday.py" in {attempt.program for attempt in reviewed(world).attempts}


def test_entries_dated_into_the_future_are_said(world: World) -> None:
    now = world.now
    world.now += timedelta(days=9)
    world.put(None, kind="later:kind")
    world.now = now
    assert "1 entry below the tree size carries a time after the end of this window" in texts(reviewed(world))


def test_what_was_not_checked_in_the_ledger_is_repeated(review: Review) -> None:
    assert "Not checked in the ledger: payload bytes: they were not read" in texts(review)


def test_unknown_freshness_is_said(review: Review) -> None:
    assert "Whether 1 package version is outdated is unknown" in texts(review)


def test_without_control_groups_nobody_saw_a_refused_process_and_that_is_said() -> None:
    world = World()
    for run, outcome in (("run-1", "failed"), ("run-2", "succeeded")):
        world.submit(run, "agent-analyst", "fork_bomb.py")
        world.decide(run, "allowed")
        world.start(run)
        world.finish(run, outcome, exit_code=1, layers=("rlimits", "seccomp"))
    said = texts(reviewed(world))
    assert "In 2 runs no control group counted processes: that one was refused is not observable there." in said
    assert "reads as a failure by itself. 1 of these runs failed by itself." in said


def test_with_control_groups_nothing_is_said_of_them(review: Review) -> None:
    assert "control group" not in texts(review)
