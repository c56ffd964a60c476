from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.ledger.events import ReviewCompleted, ReviewSigned, RunFinished, RunLateResult
from custody.ledger.types import Problem
from custody.reports import Review, Severity, Window, judge, render, reviews_in
from custody.reports.consistency import contradictions
from custody.reports.types import Fate

from .world import World, demo, reviewed


def figures(review: Review) -> dict[str, int]:
    return {figure.name: figure.value for figure in review.figures}


def test_headline_figures_of_the_demonstration(review: Review) -> None:
    assert figures(review) == {
        "Runs": 14,
        "Succeeded": 5,
        "Failed or stopped": 6,
        "Did not run": 2,
        "Still open": 1,
        "Vulnerable packages": 1,
        "Anomalies": 2,
    }


def test_every_end_stands_under_its_figure(review: Review) -> None:
    notes = {figure.name: figure.note for figure in review.figures}
    assert notes["Failed or stopped"] == "4 at a limit, 2 by themselves"
    assert notes["Did not run"] == "1 blocked, 1 denied"
    assert notes["Succeeded"] == "1 asked for files of secrets"


def test_more_kinds_of_ends_than_fit_are_added_up() -> None:
    world = World()
    for number, end in enumerate(("denied", "denied", "blocked", "expired", "refused", "withdrawn", "cancelled")):
        world.submit(f"run-{number}", "agent-analyst", "a.py")
        world.end(f"run-{number}", end)
    (figure,) = [figure for figure in reviewed(world).figures if figure.name == "Did not run"]
    assert figure.note == "2 denied, 1 blocked, 1 cancelled, 3 more"
    assert sum(part.count for part in figure.parts) == figure.value == 7


def test_verdict_and_anomaly_count_the_same_attempts_and_name_what_they_leave_out(world: World) -> None:
    world.submit("run-40", "agent-mailer", "again.py")
    world.decide("run-40", "allowed")
    world.start("run-40")
    world.egress("run-40", "127.0.0.1", 22, count=3)
    world.egress("run-40", "mail.example.net", 443, count=5)
    world.finish("run-40", "failed", exit_code=1)
    review = reviewed(world)
    mailer = next(anomaly for anomaly in review.anomalies if anomaly.principal == "agent-mailer")
    assert "2 programs" not in review.verdict
    assert "Two programs tried to reach a network that was not granted: 85 attempts, all refused." in review.verdict
    assert "Not counted: 4 attempts at the jail's own loopback." in review.verdict
    assert mailer.observed.startswith("85 attempts to reach smtp.example.net:25 and mail.example.net:443: all refused.")
    assert "Not counted: 3 attempts at the jail's own loopback." in mailer.observed
    assert mailer.title == "2 runs of agent-mailer reached unasked for smtp.example.net:25 and mail.example.net:443"


def test_the_title_says_how_many_decisions_wait_and_how_bad_they_are(review: Review) -> None:
    assert review.title == "Five decisions are waiting, three of them high"
    assert review.severity.rank == Severity.HIGH.rank


def test_the_same_entries_in_another_order_give_the_same_review(world: World) -> None:
    shuffled = list(world.entries)
    shuffled.reverse()
    again = judge(
        shuffled,
        window=world.window(),
        verification=world.verification(),
        review="R-2026-11-19-1",
        organisation="Northwind Pay",
        read_payload=world.read,
    )
    assert again == reviewed(world)


def test_an_empty_window_says_that_nothing_happened(world: World) -> None:
    later = world.now + timedelta(days=2)
    world.entries = [entry for entry in world.entries if entry.run != "run-14"]
    window = Window(later, later + timedelta(days=1), len(world.entries) + 1)
    empty = judge(world.entries, window=window, verification=world.verification(), review="R-2", organisation="N")
    assert empty.title == "Nothing happened in this window: the ledger holds no entry of it"
    assert set(figures(empty).values()) == {0}
    assert b"succeeded</strong>" not in render(empty).html


def test_a_window_without_runs_does_not_say_that_anything_succeeded() -> None:
    world = World()
    world.freshness(("six", "1.0", "1.0", ""))
    review = reviewed(world)
    assert review.title == "No run in this window, and no decision is waiting"


def test_good_runs_alone_are_counted_not_praised() -> None:
    world = World()
    world.succeeded("run-1", "agent-analyst", "a.py")
    assert reviewed(world).title == "No decision is waiting; 1 of 1 run succeeded"


def test_a_run_belongs_to_the_window_in_which_it_ended() -> None:
    world = World()
    world.submit("run-1", "agent-analyst", "a.py")
    middle = world.now
    world.end("run-1", "withdrawn")
    end = world.now + timedelta(minutes=1)
    size = len(world.entries)

    def runs(window: Window) -> list[Fate]:
        review = judge(world.entries, window=window, verification=world.verification(), review="R", organisation="N")
        return [row.fate for row in review.runs]

    assert runs(Window(middle - timedelta(hours=1), middle, size)) == [Fate.OPEN]
    assert runs(Window(middle, end, size)) == [Fate.NOT_RUN]
    assert runs(Window(end, end + timedelta(hours=1), size)) == []


def test_entries_beyond_the_tree_size_are_not_judged(world: World) -> None:
    window = replace(world.window(), size=9)
    review = judge(world.entries, window=window, verification=world.verification(), review="R", organisation="N")
    assert {row.index for row in review.evidence} <= set(range(9))
    assert sum(kind.entries for kind in review.kinds) == 9


def test_a_ledger_that_does_not_verify_is_the_verdict(world: World) -> None:
    review = reviewed(world, Problem("leaf-changed", "entry 7 is not what was signed", 7))
    assert review.title.startswith("The ledger does not verify")
    assert review.severity is Severity.CRITICAL
    assert review.decisions[0].entries == (7,)
    assert "entry 7 is not what was signed" in review.seal.problems[0]


def test_a_problem_at_an_entry_that_is_gone_is_still_told(world: World) -> None:
    review = reviewed(world, Problem("truncated", "the last hour is missing", 4_000))
    assert review.decisions[0].severity is Severity.CRITICAL
    assert render(review).html


def test_demonstration_data_makes_it_not_a_real_audit(world: World) -> None:
    review = reviewed(world)
    assert review.not_a_real_audit
    assert [audit.data_class for audit in review.audits] == ["demo"]
    assert any("not a real audit" in limit.text.lower() for limit in review.limits)
    assert b"<strong>Not a real audit</strong>" in render(review).html


def test_real_data_shows_no_banner() -> None:
    world = World()
    world.succeeded("run-1", "agent-analyst", "a.py")
    review = reviewed(world)
    assert not review.not_a_real_audit
    assert b"Not a real audit" not in render(review).html


def test_a_second_end_is_the_first_thing_to_explain(world: World) -> None:
    world.end("run-02", "denied")
    review = reviewed(world)
    assert review.severity is Severity.CRITICAL
    assert "more than one end" in review.decisions[0].why


def test_a_late_result_is_a_limit_and_not_a_second_end(world: World) -> None:
    before = figures(reviewed(world))
    world.put(RunLateResult(outcome="succeeded", explanation="late", exit_code=0, signal=None), run="run-09")
    after = reviewed(world)
    assert figures(after) == before
    assert any("after the run had been given its end" in limit.text for limit in after.limits)


def test_an_end_of_a_later_version_leaves_the_run_open(world: World) -> None:
    world.submit("run-20", "agent-analyst", "new.py")
    world.put(None, run="run-20", kind="run:finished")
    review = reviewed(world)
    assert next(row for row in review.runs if row.run == "run-20").fate is Fate.OPEN
    assert any("does not know" in limit.text for limit in review.limits)


def test_one_denied_run_more_changes_exactly_its_figures(world: World) -> None:
    before = figures(reviewed(world))
    world.denied("run-30", "agent-analyst", "one_more.py")
    after = figures(reviewed(world))
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "Runs": 1,
        "Did not run": 1,
    }


def test_every_claim_refers_to_entries_that_the_page_lists(review: Review) -> None:
    listed = {row.index for row in review.evidence}
    for attempt in review.attempts:
        assert attempt.entries
        assert listed >= set(attempt.entries)
    for decision in review.decisions:
        assert decision.entries
        assert listed >= set(decision.entries)


def test_counts_by_kind_add_up_to_the_window(world: World, review: Review) -> None:
    assert sum(kind.entries for kind in review.kinds) == len(world.entries)


def test_reviews_are_listed_with_those_who_signed() -> None:
    world = World()
    world.put(
        ReviewCompleted(
            review="R-1",
            since="a",
            until="b",
            size=3,
            severity="high",
            verdict="v",
            decisions=2,
            anomalies=1,
            html_sha256="h",
            json_sha256="j",
            conductor="direct",
        )
    )
    world.put(ReviewSigned(review="R-1", signer="ana", html_sha256="h", comment="seen"))
    (listed,) = reviews_in(world.entries)
    assert (listed.review, listed.severity, listed.decisions, listed.signed_by) == ("R-1", "high", 2, ("ana",))


STEPS = st.sampled_from(
    ["succeeded", "failed", "killed_memory", "denied", "blocked", "expired", "unknown", "open", "held_open"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(STEPS, st.sampled_from(["a", "b", "c"])), max_size=30))
def test_every_figure_equals_its_details(steps: list[tuple[str, str]]) -> None:
    world = World()
    for number, (step, principal) in enumerate(steps):
        run = f"run-{number}"
        world.submit(run, principal, f"{step}.py")
        if step in {"succeeded", "failed", "killed_memory"}:
            world.decide(run, "allowed")
            world.start(run)
            world.finish(run, step)
        elif not step.endswith("open"):
            world.end(run, step, rules=("a-rule",))
    review = reviewed(world)
    assert list(contradictions(review)) == []
    done = Counter(step for step, _ in steps)
    assert figures(review) | {"Anomalies": 0} == {
        "Runs": len(steps),
        "Succeeded": done["succeeded"],
        "Failed or stopped": done["failed"] + done["killed_memory"] + done["unknown"],
        "Did not run": done["denied"] + done["blocked"] + done["expired"],
        "Still open": done["open"] + done["held_open"],
        "Vulnerable packages": 0,
        "Anomalies": 0,
    }
    assert render(review).html


@pytest.mark.parametrize("end", ["executed", "denied"])
def test_a_run_whose_beginning_is_unknown_is_judged_all_the_same(end: str) -> None:
    world = World()
    world.put(
        RunFinished(
            end=end,
            started=end == "executed",
            outcome="failed" if end == "executed" else None,
            explanation="x",
            rules=(),
        ),
        run="run-9",
    )
    review = reviewed(world)
    assert review.attempts[0].asked == ("not known: its request is older than the entries that were read",)
    assert render(review).html


def test_the_demonstration_is_the_same_twice() -> None:
    assert render(reviewed(demo())) == render(reviewed(demo()))
