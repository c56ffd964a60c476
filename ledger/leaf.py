"""What a leaf looks like: its fields and bounds, how times are written, and which payloads an event refers to.

Whoever only looks at leaves needs no more than this, and the strict reading of single ones (`codec`) is not loaded with it.
It must never judge a leaf by itself.
"""

import dataclasses
import re
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple

import orjson

from ..errors import LedgerError
from .events import Event
from .types import PayloadRef

__all__ = [
    "CANONICAL",
    "FIELDS",
    "MAX_LEAF_BYTES",
    "MAX_TEXT",
    "TIME",
    "Parsed",
    "bound_of",
    "may_refer",
    "payload_refs",
    "render_time",
    "require_second",
    "second_of",
]

MAX_LEAF_BYTES = 32 * 1024
"""No kind may ask for more; half of what a C2SP entry bundle could carry."""
MAX_TEXT = 200
"""Characters of an id, an actor or a run."""
FIELDS = ("actor", "body", "id", "kind", "run", "seq", "time", "v")
"""Of every leaf, in the order that they are written in."""
CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
"""How orjson writes a leaf; numbers past 2^53 - 1 it refuses."""
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"
"""The form of a leaf's time, as a pattern."""
_TIME_FORM = re.compile(TIME.strip("^$"))
_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Parsed(NamedTuple):
    """A leaf that was read: what `Entry` holds, in the leaf's own terms."""

    id: str
    kind: str
    version: int
    time: str
    time_us: int
    """Microseconds since 1970."""
    actor: str
    run: str | None
    sequence: int | None
    event: Event | None


def bound_of(cls: type[Event]) -> int:
    """Bytes that a leaf of the kind may have."""
    return cls.KIND.max_bytes


def require_second(time: str) -> int:
    """Seconds since 1970 of the time of a leaf; a ValueError if it is not in the form of one."""
    if not _TIME_FORM.fullmatch(time):
        message = "not in the one form of a leaf's time"
        raise ValueError(message)
    return second_of(time[:19])


@lru_cache(maxsize=1024)
def second_of(text: str) -> int:
    """Seconds since 1970 of a time without its fraction; neighbours in a log share theirs."""
    return (datetime.fromisoformat(text + "+00:00") - _EPOCH) // _SECOND


def render_time(time: datetime) -> str:
    """A time as leaves have it; a LedgerError if it is not in UTC."""
    if time.utcoffset() != _ZERO:
        raise LedgerError(f"the time {time.isoformat()} is not in UTC", hint="give an aware time in UTC")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def payload_refs(event: Event) -> Iterator[PayloadRef]:
    """Every reference to a payload that the event carries, in the order of its fields."""
    yield from _refs_in(event)


def may_refer(cls: type) -> bool:
    """Whether a field of the kind, or of a record in it, is a payload."""
    return bool(_payload_fields(cls))


@cache
def _payload_fields(cls: type) -> tuple[str, ...]:
    """The fields that may hold a reference, themselves or in a record: the only ones that have to be looked into."""
    hints = typing.get_type_hints(cls)
    return tuple(field.name for field in dataclasses.fields(cls) if _mentions_payload(hints[field.name]))


def _mentions_payload(hint: object) -> bool:
    if hint is PayloadRef:
        return True
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return may_refer(hint)
    return any(_mentions_payload(argument) for argument in typing.get_args(hint))


def _refs_in(value: object) -> Iterator[PayloadRef]:
    if isinstance(value, PayloadRef):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs_in(item)
    elif value is not None:
        kind_of_value: type = type(value)
        for name in _payload_fields(kind_of_value):
            yield from _refs_in(getattr(value, name))
