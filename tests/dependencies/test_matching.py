"""The matching rule, against intervals over a hand-written order of versions."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from custody.dependencies.matching import Judge, Verdict
from custody.dependencies.osv import Bound, Extent

# written down by hand from PEP 440, smallest first: the oracle knows positions in this list and nothing of versions
_ORDER = (
    *("0.dev0", "0a1", "0.1.dev3", "0.1a1.dev1", "0.1a1", "0.1b2", "0.1rc1", "0.1", "0.1.post1.dev2", "0.1.post1"),
    *(
        "0.1.1",
        "0.9",
        "0.10",
        "1.0.dev456",
        "1.0a2",
        "1.0a12",
        "1.0rc1",
        "1.0",
        "1.0+local.1",
        "1.0.post456",
        "1.1.dev1",
        "1.1",
    ),
    *("2.0a1", "2.0", "2.0.0.1", "2013.10", "1!0.5", "1!1.0rc1", "1!1.0"),
)
_AFFECTED, _UNAFFECTED, _UNDETERMINED = Verdict.AFFECTED, Verdict.UNAFFECTED, Verdict.UNDETERMINED


@dataclass(frozen=True)
class _Interval:
    """Positions from `first` up to `end`: exclusive, or inclusive, or without end."""

    first: int
    end: int | None
    inclusive: bool

    def holds(self, position: int) -> bool:
        if self.end is None:
            return position >= self.first
        return self.first <= position <= self.end if self.inclusive else self.first <= position < self.end

    def events(self) -> list[Bound]:
        first = Bound("introduced", "0" if self.first == 0 else _ORDER[self.first])
        if self.end is None:
            return [first]
        return [first, Bound("last_affected" if self.inclusive else "fixed", _ORDER[self.end])]


@st.composite
def _intervals(draw: st.DrawFn) -> list[_Interval]:
    """Intervals that do not overlap; those that end before a version may touch the next one."""
    cuts = sorted(draw(st.lists(st.integers(0, len(_ORDER) - 1), min_size=1, max_size=7, unique=True)))
    made: list[_Interval] = []
    while len(cuts) > 1:
        first, end = cuts.pop(0), cuts[0]
        inclusive, apart = draw(st.booleans()), draw(st.booleans())
        made.append(_Interval(first, end, inclusive))
        if inclusive or apart:
            cuts.pop(0)
    if len(cuts) > 0 and draw(st.booleans()):
        made.append(_Interval(cuts[0], None, inclusive=False))
    return made


@settings(deadline=None)  # a busy machine is no fault
@given(_intervals(), st.randoms(use_true_random=False), st.booleans())
def test_a_range_holds_exactly_the_versions_of_its_intervals(
    intervals: list[_Interval],
    random: Random,
    together: bool,  # noqa: FBT001 - because hypothesis draws it
) -> None:
    if together:
        events = [event for interval in intervals for event in interval.events()]
        random.shuffle(events)
        ranges: tuple[tuple[Bound, ...], ...] = (tuple(events),)
    else:
        ranges = tuple(tuple(interval.events()) for interval in intervals)
    judge = Judge(Extent("six", (), ranges, ""))
    found = {version for version in _ORDER if judge.judge(Version(version)) is _AFFECTED}
    assert found == {version for at, version in enumerate(_ORDER) if any(i.holds(at) for i in intervals)}


def _judge(*bounds: tuple[str, str], versions: tuple[str, ...] = (), problem: str = "") -> Judge:
    return Judge(
        Extent("six", versions, (tuple(Bound(kind, version) for kind, version in bounds),) if bounds else (), problem)
    )


@pytest.mark.parametrize("version", ["1.5rc1", "1.5.dev0", "1.5a1", "1.0rc1"])
def test_a_pre_release_below_the_fix_is_affected(version: str) -> None:
    """The installer's rules for version specifiers would leave these out."""
    assert _judge(("introduced", "0"), ("fixed", "1.5")).judge(Version(version)) is _AFFECTED


def test_a_version_on_the_list_is_affected_though_no_range_holds_it() -> None:
    judge = _judge(("introduced", "2.0"), ("fixed", "2.1"), versions=("1", "4.2rc1"))
    assert [judge.judge(Version(v)) for v in ("1.0.0", "4.2rc1", "2.0.5", "3.0")] == [
        _AFFECTED,
        _AFFECTED,
        _AFFECTED,
        _UNAFFECTED,
    ]


def test_a_local_version_is_judged_as_the_public_one() -> None:
    assert _judge(versions=("1.26.4",)).judge(Version("1.26.4+cpu")) is _AFFECTED
    assert _judge(("introduced", "0"), ("fixed", "1.26.5")).judge(Version("1.26.4+cpu")) is _AFFECTED
    assert _judge(("introduced", "0"), ("fixed", "1.26.5")).judge(Version("1.26.5+cpu")) is _UNAFFECTED


def test_intervals_that_touch_are_one_and_an_empty_one_is_none() -> None:
    touching = _judge(("introduced", "0"), ("fixed", "1.0"), ("introduced", "1.0"), ("fixed", "2.0"))
    assert [touching.judge(Version(v)) for v in ("0.9", "1.0", "1.5", "2.0")] == [
        _AFFECTED,
        _AFFECTED,
        _AFFECTED,
        _UNAFFECTED,
    ]
    # the shape of a published record: an interval that was added later, between the two before
    added = _judge(
        *[
            (k, v)
            for a, b in (("0", "3.1.1"), ("3.2.0", "3.2.2"), ("3.1.1", "3.1.3"))
            for k, v in (("introduced", a), ("fixed", b))
        ]
    )
    assert [added.judge(Version(v)) for v in ("3.1.1.1", "3.1.3", "3.2.1")] == [_AFFECTED, _UNAFFECTED, _AFFECTED]
    empty = _judge(("introduced", "1.0"), ("fixed", "1.0"))
    assert [empty.judge(Version(v)) for v in ("0.9", "1.0", "1.5")] == [_UNAFFECTED] * 3


def test_a_limit_ends_like_a_fix_and_repeated_fixes_change_nothing() -> None:
    judge = _judge(("introduced", "1.0"), ("limit", "2.0"), ("fixed", "2.1"), ("fixed", "2.2"))
    assert [judge.judge(Version(v)) for v in ("1.9", "2.0", "2.1")] == [_AFFECTED, _UNAFFECTED, _UNAFFECTED]


def test_one_version_that_is_first_and_last_is_affected_alone() -> None:
    judge = _judge(("introduced", "1.0"), ("last_affected", "1.0"))
    assert [judge.judge(Version(v)) for v in ("1.0rc1", "1.0", "1.0.post1")] == [_UNAFFECTED, _AFFECTED, _UNAFFECTED]


def test_what_cannot_be_judged_is_undetermined_unless_it_is_on_the_list() -> None:
    judge = _judge(("introduced", "0"), versions=("1",), problem="a range has an empty event")
    assert [judge.judge(Version(v)) for v in ("1.0", "7.0")] == [_AFFECTED, _UNDETERMINED]
