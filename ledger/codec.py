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
from functools import cache
from typing import NamedTuple, TypeGuard

import orjson
from pydantic_core import SchemaValidator, ValidationError, core_schema

from ..errors import EvidenceError, LedgerError
from .events import CATALOGUE, Event
from .tree import leaf_hash
from .types import Draft, Entry, PayloadRef

__all__ = ["MAX_LEAF_BYTES", "Header", "decode_header", "decode_leaf", "encode_draft", "payload_refs"]

MAX_LEAF_BYTES = 32 * 1024
"""No kind may ask for more; half of what a C2SP entry bundle could carry."""
MAX_TEXT = 200
"""Characters of an id, an actor or a run."""

_MAX_INT = (1 << 53) - 1
_WRITE = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_ZERO = timedelta(0)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class Header(NamedTuple):
    """What stands around the body of a leaf."""

    id: str
    kind: str
    version: int
    time: str
    actor: str
    run: str | None
    sequence: int | None
    body: dict[str, object]


def encode_draft(draft: Draft, sequence: int | None) -> bytes:
    """The leaf of a draft; a LedgerError says what cannot be written and where it stands."""
    kind = draft.event.KIND
    where = f"{kind.name} version {kind.version}"
    body = _plain(draft.event, where)
    if _decode_body(type(draft.event), body, where, LedgerError) != draft.event:
        raise LedgerError(
            f"{where} would not come back as it was given", hint="give tuples, plain text and whole numbers"
        )
    header = {"id": draft.id, "actor": draft.actor, "run": draft.run}
    for name, text in header.items():
        if not (text is None and name == "run") and not _is_short_text(text):
            raise LedgerError(
                f"{where}: the {name} is not printable text of 1 to {MAX_TEXT} characters",
                hint="give a short identifier",
            )
    leaf = _dump(
        header | {"body": body, "kind": kind.name, "seq": sequence, "time": _render(draft.time), "v": kind.version},
        where,
    )
    limit = min(kind.max_bytes, MAX_LEAF_BYTES)
    if len(leaf) > limit:
        raise LedgerError(
            f"{where} would take {len(leaf)} bytes where {limit} are allowed", hint="put the large part into a payload"
        )
    return leaf


def decode_leaf(index: int, leaf: bytes) -> Entry:
    """The entry of a leaf; an EvidenceError names the index and the path of what is wrong."""
    where = f"entry {index}"
    header = decode_header(leaf, where)
    cls = CATALOGUE.get((header.kind, header.version))
    if cls is None:
        event = None
        _require_plain(header.body, where)
    else:
        event = _decode_body(cls, header.body, where, EvidenceError)
        if len(leaf) > cls.KIND.max_bytes:
            raise EvidenceError(f"{where} is longer than its kind allows", hint=_HINT)
    return Entry(
        index=index,
        leaf=leaf,
        leaf_hash=leaf_hash(leaf),
        id=header.id,
        kind=header.kind,
        version=header.version,
        time=datetime.fromisoformat(header.time),
        actor=header.actor,
        run=header.run,
        sequence=header.sequence,
        event=event,
    )


def decode_header(leaf: bytes, where: str) -> Header:
    """The parts of a leaf, checked to be the one canonical spelling; the body is not looked into."""
    if len(leaf) > MAX_LEAF_BYTES:
        raise EvidenceError(f"{where} is longer than any leaf may be", hint=_HINT)
    try:
        parsed = orjson.loads(leaf)
        canonical = orjson.dumps(parsed, option=_WRITE)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise EvidenceError(f"{where} is not JSON: {error}", hint=_HINT) from error
    if canonical != leaf:
        raise EvidenceError(f"{where} is not written in its one canonical form", hint=_HINT)
    try:
        value = _HEADER.validate_python(parsed)
    except ValidationError as error:
        raise EvidenceError(f"{where}: {_first_problem(error)}", hint=_HINT) from error
    header = Header(*(value[name] for name in ("id", "kind", "v", "time", "actor", "run", "seq", "body")))
    if (header.run is None) != (header.sequence is None):
        raise EvidenceError(f"{where}: run and seq do not stand together", hint=_HINT)
    if not all(_is_short_text(text) for text in (header.id, header.actor, header.kind, header.run or "-")):
        raise EvidenceError(f"{where}: an identifier is not short printable text", hint=_HINT)
    _check_time(header.time, where)
    return header


def payload_refs(event: Event) -> Iterator[PayloadRef]:
    """Every reference to a payload that the event carries, in the order of its fields."""
    kind_of_event: type = type(event)
    if _may_refer(kind_of_event):
        yield from _refs_in(event)


_HINT = "the ledger was changed, or written by other software: keep it as it is and run `custody verify`"
_ErrorClass = type[EvidenceError] | type[LedgerError]


def _plain(event: Event, where: str) -> dict[str, object]:
    """The event as JSON would give it back; orjson writes dataclasses itself."""
    body: dict[str, object] = orjson.loads(_dump(event, where))
    return body


def _dump(value: object, where: str) -> bytes:
    try:
        return orjson.dumps(value, option=_WRITE)
    except orjson.JSONEncodeError as error:
        raise LedgerError(
            f"{where} cannot be written: {error}", hint="give plain text, whole numbers and tuples"
        ) from error


def _decode_body(cls: type, body: object, where: str, refuse: _ErrorClass) -> Event:
    try:
        event: Event = _validator(cls).validate_python(body)
    except ValidationError as error:
        raise refuse(f"{where}: {_first_problem(error)}", hint=_HINT) from error
    return event


@cache
def _validator(cls: type) -> SchemaValidator:
    return SchemaValidator(_class_schema(cls))


def _class_schema(cls: type) -> core_schema.CoreSchema:
    """Strict schema of a dataclass of the catalogue; whatever type is not in the grammar is a TypeError."""
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
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


@cache
def _may_refer(cls: type) -> bool:
    return any(_mentions_payload(hint) for hint in typing.get_type_hints(cls).values())


def _mentions_payload(hint: object) -> bool:
    if hint is PayloadRef:
        return True
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _may_refer(hint)
    return any(_mentions_payload(argument) for argument in typing.get_args(hint))


def _refs_in(value: object) -> Iterator[PayloadRef]:
    if isinstance(value, PayloadRef):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs_in(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _refs_in(getattr(value, field.name))


def _is_short_text(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and 0 < len(text) <= MAX_TEXT and text.isprintable()


def _render(time: datetime) -> str:
    if time.utcoffset() != _ZERO:
        raise LedgerError(f"the time {time.isoformat()} is not in UTC", hint="give an aware time in UTC")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _check_time(text: str, where: str) -> None:
    try:
        good = _TIME.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:
        good = False
    if not good:
        raise EvidenceError(f"{where}: {text[:60]!r} is not a time in UTC with microseconds", hint=_HINT)


_HEADER = SchemaValidator(
    core_schema.typed_dict_schema(
        {
            name: core_schema.typed_dict_field(schema, required=True)
            for name, schema in {
                "actor": core_schema.str_schema(strict=True),
                "body": core_schema.dict_schema(
                    core_schema.str_schema(strict=True), core_schema.any_schema(), strict=True
                ),
                "id": core_schema.str_schema(strict=True),
                "kind": core_schema.str_schema(strict=True),
                "run": core_schema.nullable_schema(core_schema.str_schema(strict=True)),
                "seq": core_schema.nullable_schema(core_schema.int_schema(strict=True, ge=0)),
                "time": core_schema.str_schema(strict=True),
                "v": core_schema.int_schema(strict=True, ge=1),
            }.items()
        },
        extra_behavior="forbid",
    )
)
