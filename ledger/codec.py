"""Events to leaves and back: canonical JSON with one spelling for every entry, strict in both directions.

A leaf is `{actor, body, id, kind, run, seq, time, v}` as orjson writes it with sorted keys. Writing refuses whatever would not
come back equal (floats, NaN, numbers past 2^53, lone surrogates, keys outside ASCII, an int where a bool stands); reading
refuses whatever it would not write (duplicate keys, spaces, missing, unknown or mistyped fields).
It must never guess: what this release does not know is kept as bytes, with `event=None`.

For text like this orjson's bytes equal RFC 8785 (JCS) exactly; outside these limits they would not, hence the limits.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple, TypeGuard

import orjson
from pydantic_core import SchemaValidator, ValidationError, core_schema

from ..errors import EvidenceError, LedgerError
from .events import CATALOGUE, Event
from .tree import leaf_hash
from .types import Draft, Entry, PayloadRef

__all__ = [
    "CANONICAL",
    "FIELDS",
    "MAX_LEAF_BYTES",
    "MAX_TEXT",
    "Parsed",
    "bound_of",
    "decode_leaf",
    "encode_draft",
    "may_refer",
    "parse_leaf",
    "payload_refs",
    "render_time",
    "require_names",
    "require_second",
    "validator_of",
]

MAX_LEAF_BYTES = 32 * 1024
"""No kind may ask for more; half of what a C2SP entry bundle could carry."""
MAX_TEXT = 200
"""Characters of an id, an actor or a run."""

_MAX_INT = (1 << 53) - 1
CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
"""How orjson writes a leaf; numbers past 2^53 - 1 it refuses."""
_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"
_TIME_FORM = re.compile(_TIME.strip("^$"))


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


def encode_draft(draft: Draft, sequence: int | None) -> bytes:
    """The leaf of a draft; a LedgerError says what cannot be written and where it stands."""
    kind = draft.event.KIND
    where = f"{kind.name} version {kind.version}"
    body = _plain(draft.event, where)
    if _decode_body(type(draft.event), body, where) != draft.event:
        raise LedgerError(
            f"{where} would not come back as it was given", hint="give tuples, plain text and whole numbers"
        )
    require_names(draft)
    header = {"actor": draft.actor, "id": draft.id, "run": draft.run}
    leaf = _dump(
        header | {"body": body, "kind": kind.name, "seq": sequence, "time": render_time(draft.time), "v": kind.version},
        where,
    )
    limit = min(kind.max_bytes, MAX_LEAF_BYTES)
    if len(leaf) > limit:
        raise LedgerError(
            f"{where} would take {len(leaf)} bytes where {limit} are allowed", hint="put the large part into a payload"
        )
    return leaf


def require_names(draft: Draft) -> None:
    """Refuse an id, an actor or a run that is not short printable text."""
    for name, text in (("id", draft.id), ("actor", draft.actor), ("run", draft.run)):
        if not (text is None and name == "run") and not _is_short_text(text):
            raise LedgerError(
                f"{draft.event.KIND.name}: the {name} is not printable text of 1 to {MAX_TEXT} characters",
                hint="give a short identifier",
            )


def decode_leaf(index: int, leaf: bytes) -> Entry:
    """The entry of a leaf; an EvidenceError names the index and the path of what is wrong."""
    parsed = parse_leaf(index, leaf)
    return Entry(
        index=index,
        leaf=leaf,
        leaf_hash=leaf_hash(leaf),
        id=parsed.id,
        kind=parsed.kind,
        version=parsed.version,
        time=datetime.fromisoformat(parsed.time),
        actor=parsed.actor,
        run=parsed.run,
        sequence=parsed.sequence,
        event=parsed.event,
    )


def parse_leaf(index: int, leaf: bytes) -> Parsed:
    """The same without the frame of an entry: what a verification does a million times."""
    try:
        raw = orjson.loads(leaf)
        canonical = orjson.dumps(raw, option=CANONICAL)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise EvidenceError(f"entry {index} is not JSON: {error}", hint=_HINT) from error
    if canonical != leaf:
        raise EvidenceError(f"entry {index} is not written in its one canonical form", hint=_HINT)
    cls: type | None = _class_of(raw)
    if len(leaf) > (MAX_LEAF_BYTES if cls is None else bound_of(cls)):
        raise EvidenceError(f"entry {index} is longer than its kind allows", hint=_HINT)
    try:
        value = _leaf_validator(cls).validate_python(raw)
        time_us = _second(value["time"][:19]) * 1_000_000 + int(value["time"][20:26])
    except ValidationError as error:
        raise EvidenceError(f"entry {index}: {_first_problem(error)}", hint=_HINT) from error
    except ValueError as error:
        raise EvidenceError(f"entry {index}: `time` is no time that there is", hint=_HINT) from error
    actor, body, name, kind, run, sequence, time, version = map(value.__getitem__, FIELDS)
    if (run is None) != (sequence is None):
        raise EvidenceError(f"entry {index}: run and seq do not stand together", hint=_HINT)
    if not f"{actor}{name}{kind}{run}".isprintable():
        raise EvidenceError(f"entry {index}: an identifier is not printable text", hint=_HINT)
    if cls is None:
        _require_plain(body, f"entry {index}")
    return Parsed(name, kind, version, time, time_us, actor, run, sequence, None if cls is None else body)


def payload_refs(event: Event) -> Iterator[PayloadRef]:
    """Every reference to a payload that the event carries, in the order of its fields."""
    yield from _refs_in(event)


FIELDS = ("actor", "body", "id", "kind", "run", "seq", "time", "v")
"""Of every leaf, in the order that they are written in."""
_HINT = "the ledger was changed, or written by other software: keep it as it is and run `custody verify`"


def _plain(event: Event, where: str) -> dict[str, object]:
    """The event as JSON would give it back; orjson writes dataclasses itself."""
    body: dict[str, object] = orjson.loads(_dump(event, where))
    return body


def _dump(value: object, where: str) -> bytes:
    try:
        return orjson.dumps(value, option=CANONICAL)
    except orjson.JSONEncodeError as error:
        raise LedgerError(
            f"{where} cannot be written: {error}", hint="give plain text, whole numbers and tuples"
        ) from error


def _decode_body(cls: type, body: object, where: str) -> Event:
    try:
        event: Event = validator_of(cls).validate_python(body)
    except ValidationError as error:
        raise LedgerError(f"{where}: {_first_problem(error)}", hint="give what the catalogue asks for") from error
    return event


@cache
def validator_of(cls: type) -> SchemaValidator:
    """Strict reader of the body of one kind."""
    return SchemaValidator(_class_schema(cls))


def _class_of(raw: object) -> type[Event] | None:
    """The class that the catalogue has for a leaf, if it is one at all."""
    if not isinstance(raw, dict):
        return None
    kind, version = raw.get("kind"), raw.get("v")
    return CATALOGUE.get((kind, version)) if isinstance(kind, str) and type(version) is int else None


@cache
def _leaf_validator(cls: type | None) -> SchemaValidator:
    """Strict schema of a whole leaf; the body of an unknown kind may be any object."""
    name = core_schema.str_schema(strict=True, min_length=1, max_length=MAX_TEXT)
    any_object = core_schema.dict_schema(core_schema.str_schema(strict=True), core_schema.any_schema(), strict=True)
    fields: dict[str, core_schema.CoreSchema] = {
        "actor": name,
        "body": any_object if cls is None else _class_schema(cls),
        "id": name,
        "kind": name,
        "run": core_schema.nullable_schema(name),
        "seq": core_schema.nullable_schema(core_schema.int_schema(strict=True, ge=0)),
        "time": core_schema.str_schema(strict=True, pattern=_TIME),
        "v": core_schema.int_schema(strict=True, ge=1),
    }
    return SchemaValidator(
        core_schema.typed_dict_schema(
            {field: core_schema.typed_dict_field(schema, required=True) for field, schema in fields.items()},
            extra_behavior="forbid",
        )
    )


def bound_of(cls: type[Event]) -> int:
    """Bytes that a leaf of the kind may have."""
    return cls.KIND.max_bytes


def require_second(time: str) -> int:
    """Seconds since 1970 of the time of a leaf; a ValueError if it is not in the form of one."""
    if not _TIME_FORM.fullmatch(time):
        message = "not in the one form of a leaf's time"
        raise ValueError(message)
    return _second(time[:19])


@lru_cache(maxsize=1024)
def _second(text: str) -> int:
    """Seconds since 1970 of a time without its fraction; neighbours in a log share theirs."""
    return (datetime.fromisoformat(text + "+00:00") - _EPOCH) // _SECOND


def _class_schema(cls: type) -> core_schema.CoreSchema:
    """Strict schema of a dataclass of the catalogue; whatever type is not in the grammar is a TypeError."""
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    for field in fields:
        if not field.name.isascii():  # keys sort alike everywhere only in ASCII
            message = f"`{field.name}` is no name of a field of the catalogue"
            raise TypeError(message)
    arguments = core_schema.dataclass_args_schema(
        cls.__name__,
        # every field stands in the leaf, also those with defaults: an entry is complete in itself
        [core_schema.dataclass_field(field.name, _type_schema(hints[field.name]), kw_only=True) for field in fields],
        extra_behavior="forbid",
    )
    return core_schema.dataclass_schema(
        cls, arguments, [field.name for field in fields], slots=True, frozen=True, revalidate_instances="always"
    )


def _type_schema(hint: object) -> core_schema.CoreSchema:
    if hint is str:
        return core_schema.str_schema(strict=True)
    if hint is bool:
        return core_schema.bool_schema(strict=True)
    if hint is int:
        return core_schema.int_schema(strict=True, ge=-_MAX_INT, le=_MAX_INT)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _class_schema(hint)
    match typing.get_origin(hint), typing.get_args(hint):
        case builtin, (item, last) if builtin is tuple and last is ...:
            return core_schema.tuple_schema([_type_schema(item)], variadic_item_index=0)
        case types.UnionType, (item, last) if last is types.NoneType:
            return core_schema.nullable_schema(_type_schema(item))
        case _:
            message = f"{hint} is no type of the catalogue: str, int, bool, records, tuples of one of these, or None"
            raise TypeError(message)


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(step) for step in first["loc"])[:100] or "the whole"
    path = "".join(c if c.isprintable() else "?" for c in path)  # a key of a hostile leaf may be anything
    return f"`{path}`: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _require_plain(value: object, where: str) -> None:
    """For kinds that this release does not know: at least the grammar of JSON that every release keeps to."""
    match value:
        case dict():
            for key, item in value.items():
                if not key.isascii():
                    raise EvidenceError(f"{where} has a key outside ASCII", hint=_HINT)
                _require_plain(item, where)
        case list():
            for item in value:
                _require_plain(item, where)
        case float():
            raise EvidenceError(f"{where} holds a number with a fraction", hint=_HINT)
        case _:
            pass


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


def _is_short_text(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and 0 < len(text) <= MAX_TEXT and text.isprintable()


def render_time(time: datetime) -> str:
    """A time as leaves have it; a LedgerError if it is not in UTC."""
    if time.utcoffset() != _ZERO:
        raise LedgerError(f"the time {time.isoformat()} is not in UTC", hint="give an aware time in UTC")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
