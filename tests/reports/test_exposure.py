"""What programs could have done at worst: from grants alone, with the entries that prove it."""

from dataclasses import replace

import pytest

from custody.ledger.events import ExposureRecord, HostRecord, LimitsRecord, MountRecord, RunHeld
from custody.reports import Review, render
from custody.reports.exposure import in_words
from custody.reports.types import ExposureRow

from .page import parsed
from .world import LIMITS, NOTHING, World, reviewed

DATA = ExposureRecord(
    hosts=("api.example.org:443",),
    readable=("/srv/customers (production)",),
    writable=("/srv/out (scratch)",),
    packages_with_findings=("oldyaml==5.1",),
    new=("host api.example.org:443", "package oldyaml==5.1", "package six==1.16.0", "read /srv/customers"),
)


def granted(world: World, run: str, principal: str, exposure: ExposureRecord, limits: LimitsRecord = LIMITS) -> None:
    world.submit(run, principal, f"{run}.py")
    world.decide(run, "allowed", exposure=exposure, limits=limits)
    world.start(run, limits=limits)
    world.finish(run, "succeeded")


def shown(review: Review) -> list[tuple[str, str, str]]:
    return [(row.opening, row.what, row.data_class) for row in review.exposure]


def text_of(html: bytes) -> str:
    return "".join(parsed(html).text)


def row_of(review: Review, what: str) -> ExposureRow:
    return next(row for row in review.exposure if row.what == what)


def test_every_kind_of_opening_is_listed_worst_first_with_its_class_and_its_entries() -> None:
    world = World()
    granted(world, "run-1", "ana", DATA)
    review = reviewed(world)
    assert shown(review) == [
        ("write data", "/srv/out", "scratch"),
        ("read data", "/srv/customers", "production"),
        ("reach host", "api.example.org:443", ""),
        ("use package with findings", "oldyaml==5.1", ""),
        ("use package", "six==1.16.0", ""),
    ]
    assert {row.entries for row in review.exposure} == {(1, 3)}, "the decision and the start"
    assert [row.new_to for row in review.exposure] == [(), ("ana",), ("ana",), ("ana",), ("ana",)]


def test_runs_and_principals_are_counted_together_and_newness_stays_with_whom_it_is_new() -> None:
    world = World()
    granted(world, "run-1", "ana", replace(NOTHING, hosts=("a.example:443",)))
    granted(world, "run-2", "bob", replace(NOTHING, hosts=("a.example:443",), new=("host a.example:443",)))
    row = row_of(reviewed(world), "a.example:443")
    assert (row.runs, row.waiting, row.principals, row.new_to) == (2, 0, ("ana", "bob"), ("bob",))


def test_what_was_denied_opened_nothing() -> None:
    world = World()
    world.submit("run-1", "ana", "a.py", hosts=(HostRecord(name="a.example", port=443),))
    world.decide("run-1", "denied", exposure=DATA)
    world.end("run-1", "denied")
    review = reviewed(world)
    assert (review.exposure, review.granted_limits) == ((), ())
    assert in_words(review.exposure).startswith("No program of this window was granted a host")


def test_a_run_that_waits_is_told_as_waiting_and_its_limits_are_not_called_granted() -> None:
    world = World()
    world.submit("run-1", "ana", "a.py")
    world.decide("run-1", "needs_approval", roles=("approver",), exposure=DATA)
    world.put(
        RunHeld(decision="d-1", roles=("approver",), binding="b" * 64, expires="2026-11-20T12:00:00Z"), run="run-1"
    )
    review = reviewed(world)
    row = row_of(review, "api.example.org:443")
    assert (row.runs, row.waiting) == (0, 1)
    assert review.granted_limits == ()
    assert "1 waiting" in text_of(render(review).html)
    assert in_words(review.exposure).startswith("No program of this window was granted a host")


def test_the_last_allowance_before_the_start_counts_and_later_decisions_do_not() -> None:
    world = World()
    world.submit("run-1", "ana", "a.py")
    world.decide("run-1", "needs_approval", roles=("approver",), exposure=DATA)
    world.decide("run-1", "allowed", exposure=replace(NOTHING, hosts=("b.example:443",)))
    world.start("run-1")
    world.decide("run-1", "allowed", exposure=DATA)
    assert shown(reviewed(world)) == [("reach host", "b.example:443", "")]


def test_a_start_that_no_decision_allowed_shows_what_the_jail_was_opened_for() -> None:
    world = World()
    world.submit("run-1", "ana", "a.py")
    world.start(
        "run-1",
        hosts=(HostRecord(name="evil.example", port=443),),
        mounts=(MountRecord(path="/etc", access="write", target="etc"),),
    )
    assert shown(reviewed(world)) == [
        ("write data", "/etc", "class not recorded"),
        ("reach host", "evil.example:443", ""),
    ]


def test_the_most_of_each_limit_names_the_runs_that_had_it() -> None:
    world = World()
    granted(world, "run-1", "ana", NOTHING)
    granted(world, "run-2", "bob", NOTHING, replace(LIMITS, memory_mib=2048))
    most = {
        limit.limit: (limit.most, limit.runs, limit.principals, limit.entries)
        for limit in reviewed(world).granted_limits
    }
    assert most["memory"] == ("2,048 MiB", 1, ("bob",), (8,))
    assert most["processes"] == ("32", 2, ("ana", "bob"), (3, 8))
    assert len(most) == 10


def test_limits_that_the_same_runs_had_share_a_row_on_the_page() -> None:
    world = World()
    granted(world, "run-1", "ana", NOTHING)
    granted(world, "run-2", "bob", NOTHING, replace(LIMITS, memory_mib=2048))
    text = text_of(render(reviewed(world)).html)
    assert "Memory 2,048 MiB" in text
    assert "Time 30 s, processor time 30 s, processes 32" in text


def test_a_list_that_had_no_room_is_said_and_its_marker_is_not_taken_for_a_host() -> None:
    world = World()
    granted(world, "run-1", "ana", replace(NOTHING, hosts=("a.example:443", "… and 70 more")))
    review = reviewed(world)
    assert shown(review) == [("reach host", "a.example:443", "")]
    assert any("held more than fits" in limit.text and limit.entries == (1,) for limit in review.limits)


def test_a_path_that_was_cut_still_counts_as_new() -> None:
    world = World()
    path = "/srv/" + "d" * 150
    granted(world, "run-1", "ana", replace(NOTHING, readable=(f"{path} (internal)",), new=(f"read {path[:100]}…",)))
    assert reviewed(world).exposure[0].new_to == ("ana",)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a\u202eb", "a\x1b[2Jb", "line\nbreak"])
def test_hostile_names_are_shown_and_mean_nothing(hostile: str) -> None:
    world = World()
    granted(world, "run-1", "ana", replace(NOTHING, readable=(f"/srv/{hostile} (internal)",)))
    html = render(reviewed(world)).html.decode()
    assert "<script" not in html
    assert not {"\u202e", "\x1b"} & set(html)


def test_a_window_of_many_openings_says_how_many_are_not_shown() -> None:
    world = World()
    hosts = tuple(f"h{number:04}.example:443" for number in range(1200))
    granted(world, "run-1", "ana", replace(NOTHING, hosts=hosts))
    review = reviewed(world)
    assert len(review.exposure) == 1200
    assert "250 of 1,200 things are shown" in text_of(render(review).html)
