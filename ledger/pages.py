"""A page of leaves at once: each rule of the codec as one look at a whole column, and one answer for the whole page.

It must never take a page for good in which `parse_leaf` would refuse an entry, or read another value from one. It may refuse for
anything that it does not know how to judge; then the leaves are read one by one, and that reading says what is wrong.
"""

import secrets
from collections.abc import Sequence
from itertools import accumulate
from operator import le, sub
from typing import NamedTuple

import orjson
from pydantic_core import ValidationError

from .codec import CANONICAL, FIELDS, MAX_TEXT, bound_of, may_refer, require_second, validator_of
from .events import CATALOGUE, Event
from .projection import outcome_of, tells_outcome

__all__ = ["Page", "PageReader"]

_FLAT = frozenset({str, int, bool, type(None)})
_TEXT, _MAYBE_NUMBER = frozenset({str}), frozenset({int, type(None)})
_REMEMBERED = 4096
_TIME_LENGTH = 27
"""`2026-03-01T12:00:00.000000Z`; the seconds are the first 19 characters."""

_Shape = tuple[object, ...]


class Page(NamedTuple):
    """What the leaves of a page say, column by column."""

    ids: tuple[str, ...]
    kinds: tuple[str, ...]
    runs: tuple[str | None, ...]
    actors: tuple[str, ...]
    outcomes: list[str]
    times_us: list[int]
    sequences: tuple[int | None, ...]
    referring: list[tuple[int, Event]]
    """Place within the page and event, of those that may refer to payloads."""

    def furthest_back(self, newest_us: int) -> int:
        """By how many microseconds an entry is older than the newest before it, at most; zero or less."""
        before = accumulate(self.times_us, max, initial=newest_us)
        return min(map(sub, self.times_us, before), default=0)


class PageReader:
    """Reads pages, and remembers the shapes and names that it has judged already."""

    def __init__(self) -> None:
        self._shapes: set[_Shape] = set()
        """Kind, version, names and types of bodies that the strict validator accepted, where nothing but these decides whether it
        does: all fields are text, numbers, booleans or null. How large a number may be is decided by writing it."""
        self._names: set[object] = set()
        self._seconds: dict[str, int] = {}
        self._bounds: dict[object, int] = {}

    def read(self, leaves: Sequence[bytes]) -> Page | None:
        """The page, or None if there is the least doubt about a leaf of it."""
        try:
            return self._read(leaves)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, ValidationError, ValueError):
            return None  # what it is, the other reading finds and names
        except (TypeError, AttributeError, KeyError, RecursionError):
            return None  # a value of a type that no leaf has, or a kind that is not known

    def _read(self, leaves: Sequence[bytes]) -> Page | None:
        columns = zip(*map(dict.values, _values(leaves)), strict=True)
        actors, bodies, ids, kinds, runs, sequences, times, versions = columns
        in_order = (
            all(map(le, map(len, leaves), map(self._bound, kinds, versions)))
            and _TEXT.issuperset(map(type, ids))
            and self._are_names({*actors, *runs} - {None})
            and None not in actors
            and max(map(len, ids)) <= MAX_TEXT
            and "" not in ids
            and "".join(ids).isprintable()
            and _MAYBE_NUMBER.issuperset(map(type, sequences))
            and min((number for number in sequences if number is not None), default=0) >= 0
            and [run is None for run in runs] == [number is None for number in sequences]
        )
        if not in_order:
            return None
        outcomes, referring = self._judge(kinds, versions, bodies)
        return Page(ids, kinds, runs, actors, outcomes, self._microseconds(times), sequences, referring)

    def _bound(self, kind: object, version: object) -> int:
        known = self._bounds.get((kind, version, type(version)))
        if known is None:
            if type(version) is not int or not isinstance(kind, str):
                raise TypeError  # True and 1.0 are equal to 1, but no versions
            known = self._bounds[kind, version, int] = bound_of(CATALOGUE[kind, version])
        return known

    def _are_names(self, names: set[object]) -> bool:
        for name in names - self._names:
            if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
                return False
        self._names = names  # neighbours in a log are of the same few
        return True

    def _microseconds(self, times: Sequence[str]) -> list[int]:
        if {*map(len, times)} != {_TIME_LENGTH} or not "".join(times).isascii():
            raise ValueError
        if {time[19] for time in times} != {"."} or {time[26] for time in times} != {"Z"}:
            raise ValueError
        fractions = [time[20:26] for time in times]
        if not "".join(fractions).isdecimal():
            raise ValueError
        whole = [time[:19] for time in times]
        self._seconds = {second: self._second(second) for second in {*whole}}
        seconds = self._seconds
        return [seconds[second] * 1_000_000 + int(part) for second, part in zip(whole, fractions, strict=True)]

    def _second(self, text: str) -> int:
        known = self._seconds.get(text)
        return require_second(f"{text}.000000Z") if known is None else known

    def _judge(
        self, kinds: Sequence[str], versions: Sequence[int], bodies: Sequence[dict[str, object]]
    ) -> tuple[list[str], list[tuple[int, Event]]]:
        """Every body by the strict validator of its kind, save those whose shape decides and is known."""
        shapes: list[_Shape] = [
            (kind, *body, *map(type, body.values())) for kind, body in zip(kinds, bodies, strict=True)
        ]
        outcomes = [""] * len(bodies)
        referring: list[tuple[int, Event]] = []
        known = self._shapes
        for place, shape in enumerate(shapes):
            if (versions[place], shape) in known:
                continue
            cls: type = CATALOGUE[kinds[place], versions[place]]
            event: Event = validator_of(cls).validate_python(bodies[place])
            tells, refers = tells_outcome(cls), may_refer(cls)
            if tells:
                outcomes[place] = outcome_of(event)
            if refers:
                referring.append((place, event))
            flat = not (tells or refers) and _FLAT.issuperset(map(type, bodies[place].values()))
            if flat and len(known) < _REMEMBERED:
                known.add((versions[place], shape))
        return outcomes, referring


def _values(leaves: Sequence[bytes]) -> list[dict[str, object]]:
    """The leaves read in one go; a ValueError or TypeError unless each of them is one object in its canonical form.

    Between them stands a text that nobody can have foreseen. If all of these are found between the values, each of which is
    one, then no leaf began or ended within another one; and what orjson writes of the whole are then the leaves themselves.
    """
    fence = secrets.token_hex(16)
    text = b'["%s",' % fence.encode() + (b',"%s",' % fence.encode()).join(leaves) + b"]"
    values: list[object] = orjson.loads(text)
    if len(values) != 2 * len(leaves) or {*map(_as_text, values[::2])} != {fence}:
        raise ValueError
    if orjson.dumps(values, option=CANONICAL) != text:
        raise ValueError
    read: list[dict[str, object]] = values[1::2]  # type: ignore[assignment]  # because the next lines look at them
    if {*map(tuple, read)} != {FIELDS} or {*map(type, read)} != {dict}:
        raise TypeError
    return read


def _as_text(value: object) -> object:
    return value if isinstance(value, str) else None
