"""Events to leaves and back: canonical JSON with one spelling for every entry, strict in both directions.

A leaf is `{actor, body, id, kind, run, seq, time, v}` as orjson writes it with sorted keys. Writing refuses whatever would not
come back equal (floats, NaN, numbers past 2^53, lone surrogates, keys outside ASCII, an int where a bool stands); reading
refuses whatever it would not write (duplicate keys, spaces, missing, unknown or mistyped fields).
It must never guess: what this release does not know is kept as bytes, with `event=None`.

For text like this orjson's bytes equal RFC 8785 (JCS) exactly; outside these limits they would not, hence the limits.
"""

from datetime import datetime
from typing import TypeGuard

import orjson
from pydantic_core import ValidationError

from ..errors import EvidenceError, LedgerError
from .events import CATALOGUE, Event
from .leaf import CANONICAL, FIELDS, MAX_LEAF_BYTES, MAX_TEXT, Parsed, bound_of, render_time, second_of
from .schemas import first_problem, leaf_validator, validator_of
from .tree import leaf_hash
from .types import Draft, Entry

__all__ = ["decode_leaf", "encode_draft", "parse_leaf", "require_names"]

_HINT = "the ledger was changed, or written by other software: keep it as it is and run `custody verify`"


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
        value = leaf_validator(cls).validate_python(raw)
        time_us = second_of(value["time"][:19]) * 1_000_000 + int(value["time"][20:26])
    except ValidationError as error:
        raise EvidenceError(f"entry {index}: {first_problem(error)}", hint=_HINT) from error
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
        raise LedgerError(f"{where}: {first_problem(error)}", hint="give what the catalogue asks for") from error
    return event


def _class_of(raw: object) -> type[Event] | None:
    """The class that the catalogue has for a leaf, if it is one at all."""
    if not isinstance(raw, dict):
        return None
    kind, version = raw.get("kind"), raw.get("v")
    return CATALOGUE.get((kind, version)) if isinstance(kind, str) and type(version) is int else None


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


def _is_short_text(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and 0 < len(text) <= MAX_TEXT and text.isprintable()
