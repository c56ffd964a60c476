"""A page of leaves at once: each rule of the codec as one look at a whole column, and one answer for the whole page.

It must never take a page for good in which `parse_leaf` would refuse an entry, or read another value from one. It may refuse for
anything that it does not know how to judge; then the leaves are read one by one, and that reading says what is wrong.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from operator import add, itemgetter, le, sub
from typing import Any, NamedTuple

import orjson

from .events import CATALOGUE, Event
from .leaf import CANONICAL, FIELDS, MAX_TEXT, bound_of, may_refer, require_second
from .projection import outcome_of, tells_outcome
from .shapes import shape_of

__all__ = ["Page", "PageReader"]

_TEXT, _WHOLE, _MAYBE_NUMBER = frozenset({str}), frozenset({int}), frozenset({int, type(None)})
_TIME_LENGTH = 27
"""`2026-03-01T12:00:00.000000Z`; the seconds are the first 19 characters."""
_FENCES = 1 << 52
_FRAME = itemgetter(*FIELDS)


class Page(NamedTuple):
    """What the leaves of a page say, column by column."""

    ids: list[str]
    kinds: list[str]
    runs: list[str | None]
    actors: list[str]
    outcomes: list[str]
    times_us: list[int]
    sequences: list[int | None]
    referring: list[tuple[int, Event]]
    """Place within the page and event, of those that may refer to payloads."""

    def furthest_back(self, newest_us: int) -> int:
        """By how many microseconds an entry is older than the newest before it, at most; zero or less."""
        if self.times_us[:1] >= [newest_us] and sorted(self.times_us) == self.times_us:
            return 0  # as it mostly is, and quicker to see
        before = accumulate(self.times_us, max, initial=newest_us)
        return min(map(sub, self.times_us, before), default=0)


class PageReader:
    """Reads pages, and remembers the names and seconds of the one before."""

    def __init__(self) -> None:
        self._names: set[object] = set()
        self._seconds: dict[str, int] = {}

    def read(self, leaves: Sequence[bytes]) -> Page | None:
        """The page, or None if there is the least doubt about a leaf of it."""
        try:
            return self._read(leaves)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, ValueError):  # the strict reader's own is a ValueError
            return None  # what it is, the other reading finds and names
        except (TypeError, AttributeError, KeyError, RecursionError):
            return None  # a value of a type that no leaf has, or a kind that is not known

    def _read(self, leaves: Sequence[bytes]) -> Page | None:
        columns = map(list, zip(*map(_FRAME, _values(leaves)), strict=True))
        actors, bodies, ids, kinds, runs, sequences, times, versions = columns
        pairs = [*zip(kinds, versions, strict=True)]
        in_order = (
            _WHOLE.issuperset(map(type, versions))  # True and 1.0 are equal to 1, but no versions
            and _within_bounds(leaves, pairs)
            and _TEXT.issuperset(map(type, ids))
            and self._are_names({*actors, *runs} - {None})
            and None not in actors
            and max(map(len, ids)) <= MAX_TEXT
            and "" not in ids
            and "".join(ids).isprintable()
            and _stand_together(runs, sequences)
        )
        if not in_order:
            return None
        judged = _judge(pairs, bodies)
        if judged is None:
            return None
        return Page(ids, kinds, runs, actors, judged.outcomes, self._microseconds(times), sequences, judged.referring)

    def _are_names(self, names: set[object]) -> bool:
        for name in names - self._names:
            if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
                return False
        self._names = names  # neighbours in a log are of the same few
        return True

    def _microseconds(self, times: Sequence[str]) -> list[int]:
        joined = "".join(times)
        fractions = [time[20:26] for time in times]
        in_form = (
            {*map(len, times)} == {_TIME_LENGTH}
            and joined[19::_TIME_LENGTH] == "." * len(times)
            and joined[26::_TIME_LENGTH] == "Z" * len(times)
            and joined.isascii()
            and "".join(fractions).isdecimal()
        )
        if not in_form:
            raise ValueError
        oldest, newest = min(times)[:19], max(times)[:19]
        if oldest == newest:  # and so is whatever stands between them
            return [*map(self._second(oldest).__add__, map(int, fractions))]
        whole = [time[:19] for time in times]
        self._seconds = {second: self._second(second) for second in {*whole}}
        return [*map(add, map(self._seconds.__getitem__, whole), map(int, fractions))]

    def _second(self, text: str) -> int:
        """In microseconds."""
        known = self._seconds.get(text)
        return require_second(f"{text}.000000Z") * 1_000_000 if known is None else known


class _Judged(NamedTuple):
    outcomes: list[str]
    referring: list[tuple[int, Event]]


def _within_bounds(leaves: Sequence[bytes], pairs: Sequence[tuple[str, int]]) -> bool:
    """Whether no leaf is longer than its kind may be; a KeyError for a kind that is not known."""
    bounds = {pair: bound_of(CATALOGUE[pair]) for pair in {*pairs}}
    if max(map(len, leaves)) <= min(bounds.values()):
        return True
    return all(map(le, map(len, leaves), map(bounds.__getitem__, pairs)))


def _stand_together(runs: Sequence[object], sequences: Sequence[int | None]) -> bool:
    """Whether every entry of a run has its number, which is none below zero, and no other entry has one."""
    alone = runs.count(None)
    if alone == len(runs):
        return sequences.count(None) == alone
    return (
        _MAYBE_NUMBER.issuperset(map(type, sequences))
        and min(number for number in sequences if number is not None) >= 0
        and [run is None for run in runs] == [number is None for number in sequences]
    )


def _judge(pairs: Sequence[tuple[str, int]], bodies: Sequence[object]) -> _Judged | None:
    """Every body by the rules of its kind; those that tell an outcome or refer to payloads as events."""
    judged = _Judged([""] * len(bodies), [])
    for pair, some in _by_kind(pairs).items():
        cls: type = CATALOGUE[pair]
        tells, refers = tells_outcome(cls), may_refer(cls)
        if not (tells or refers):
            if not shape_of(cls)(bodies if len(some) == len(bodies) else [bodies[place] for place in some]):
                return None
            continue
        read = _reader_of(cls)
        for place in some:
            event = read(bodies[place])
            if tells:
                judged.outcomes[place] = outcome_of(event)
            if refers:
                judged.referring.append((place, event))
    return judged


def _by_kind(pairs: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Sequence[int]]:
    """Where each kind and version stands."""
    if pairs.count(pairs[0]) == len(pairs):
        return {pairs[0]: range(len(pairs))}
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        places[pair].append(place)
    return {**places}


@cache
def _reader_of(cls: type) -> Callable[[object], Event]:
    """The strict reader of one kind's body: loading what it is made with is half of a process's start, and many pages need none."""
    from .schemas import validator_of

    read: Callable[[object], Event] = validator_of(cls).validate_python
    return read


def _values(leaves: Sequence[bytes]) -> list[dict[str, Any]]:
    """The leaves read in one go; a ValueError or TypeError unless each of them is one object in its canonical form.

    Between them stands a number that nobody can have foreseen. If all of these are found between the values, each of which is
    one, then no leaf began or ended within another one; and what orjson writes of the whole are then the leaves themselves.
    """
    fence = _FENCES + secrets.randbelow(_FENCES)
    mark = b"%d," % fence
    text = b"[%b%b]" % (mark, (b"," + mark).join(leaves))
    values: list[object] = orjson.loads(text)
    if len(values) != 2 * len(leaves) or values[::2] != [fence] * len(leaves):
        raise ValueError
    if orjson.dumps(values, option=CANONICAL) != text:
        raise ValueError
    read: list[Any] = values[1::2]
    if {*map(type, read)} != {dict} or {*map(len, read)} != {len(FIELDS)}:
        raise TypeError
    return read
