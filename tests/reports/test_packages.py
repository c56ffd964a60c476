from dataclasses import replace

import pytest

from custody.ledger.events import DependenciesAudited, FindingRecord
from custody.reports import Review, Severity
from custody.reports.types import PackageRow

from .world import LIVE_DATA, World, reviewed

BAD = FindingRecord(
    name="oldyaml", version="5.1", state="vulnerable", severity="critical", advisories=("X-1",), fixed_in=("5.4",)
)


def row(review: Review, name: str) -> PackageRow:
    return next(package for package in review.packages if package.name == name)


def ran(
    world: World, run: str, *findings: FindingRecord, pins: tuple[tuple[str, str], ...] = (("oldyaml", "5.1"),)
) -> None:
    world.submit(run, "agent-analyst", f"{run}.py", requirements=1)
    world.resolve(run, *pins)
    world.audit(run, len(pins), *findings, data=LIVE_DATA)
    world.decide(run, "allowed")
    world.start(run)
    world.finish(run, "succeeded")


def test_a_vulnerable_package_that_was_kept_out_is_one_step_less_urgent(review: Review) -> None:
    package = row(review, "oldyaml")
    assert (package.severity, package.runs, package.executed) == (Severity.CRITICAL, 1, 0)
    decision = next(d for d in review.decisions if "oldyaml" in d.what)
    assert decision.severity is Severity.HIGH
    assert decision.what == "Move from oldyaml 5.1 to 5.4, or accept the risk in writing"


def test_several_fixes_are_named_in_the_order_in_which_people_count() -> None:
    world = World()
    ran(world, "run-1", replace(BAD, fixed_in=("2.0.6", "1.26.17", "1.26.5")))
    assert "(named are 1.26.5, 1.26.17, 2.0.6)" in reviewed(world).decisions[0].what


def test_a_vulnerable_package_that_ran_keeps_its_severity() -> None:
    world = World()
    ran(world, "run-1", BAD)
    review = reviewed(world)
    assert review.severity is Severity.CRITICAL
    assert "1 run executed with it" in review.decisions[0].why


def test_an_unknown_severity_counts_as_high() -> None:
    world = World()
    ran(world, "run-1", replace(BAD, severity="weird"))
    review = reviewed(world)
    assert review.severity is Severity.UNKNOWN
    assert review.severity.rank == Severity.HIGH.rank


def test_a_pin_that_no_audit_judged_is_not_clean() -> None:
    world = World()
    world.submit("run-1", "agent-analyst", "a.py", requirements=1)
    world.resolve("run-1", ("six", "1.16.0"))
    world.end("run-1", "denied")
    assert row(reviewed(world), "six").state == "not audited"


def test_an_audit_that_is_not_whole_leaves_pins_undetermined() -> None:
    world = World()
    ran(world, "run-1", pins=(("six", "1.16.0"),))
    index = next(i for i, e in enumerate(world.entries) if isinstance(e.event, DependenciesAudited))
    entry = world.entries[index]
    assert isinstance(entry.event, DependenciesAudited)
    world.entries[index] = replace(entry, event=replace(entry.event, complete=False, coverage_error="half of it"))
    review = reviewed(world)
    assert row(review, "six").state == "undetermined"
    assert any(d.what == "Repeat the audits that are not whole" for d in review.decisions)


def test_an_audit_by_hand_counts_without_a_run() -> None:
    world = World()
    world.audit(None, 1, BAD, data=LIVE_DATA)
    package = row(reviewed(world), "oldyaml")
    assert (package.state, package.runs, package.principals) == ("vulnerable", 0, ("custody",))


@pytest.mark.parametrize(
    ("used", "latest", "expected"),
    [
        ("1.0", "1.0", "current"),
        ("1.0", "1.0.0", "current"),
        ("1.9", "1.10", "outdated"),
        ("2.0", "1.9", "current"),
        ("1.0", "1.0.post1", "outdated"),
        ("1.0rc1", "1.0", "outdated"),
        ("1.0", None, "unknown"),
    ],
)
def test_freshness_compares_versions_not_texts(used: str, latest: str | None, expected: str) -> None:
    world = World()
    ran(world, "run-1", pins=(("p", used),))
    world.freshness(("p", used, latest, "" if latest else "no answer"))
    package = row(reviewed(world), "p")
    assert package.freshness == expected
    assert package.freshness_note == ("no answer" if latest is None else "")


def test_freshness_that_nobody_computed_is_said(world: World) -> None:
    world.entries = [entry for entry in world.entries if entry.kind != "dependencies:freshness"]
    review = reviewed(world)
    assert {package.freshness for package in review.packages} == {"never computed"}
    assert any("was never computed" in limit.text for limit in review.limits)


def test_the_newest_answer_of_the_index_counts() -> None:
    world = World()
    ran(world, "run-1", pins=(("p", "1.0"),))
    world.freshness(("p", "1.0", "1.0", ""))
    world.freshness(("p", "1.0", "1.1", ""))
    assert row(reviewed(world), "p").latest == "1.1"
