"""The catalogue as strict schemas: one for the body of each kind, one for each whole leaf.

It must never accept what `encode_draft` would not write. Loading it takes longer than all else that reading along needs.
"""

import dataclasses
import types
import typing
from functools import cache

from pydantic_core import SchemaValidator, ValidationError, core_schema

from .leaf import MAX_TEXT, TIME

__all__ = ["first_problem", "leaf_validator", "validator_of"]

_MAX_INT = (1 << 53) - 1


@cache
def validator_of(cls: type) -> SchemaValidator:
    """Strict reader of the body of one kind."""
    return SchemaValidator(_class_schema(cls))


@cache
def leaf_validator(cls: type | None) -> SchemaValidator:
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
        "time": core_schema.str_schema(strict=True, pattern=TIME),
        "v": core_schema.int_schema(strict=True, ge=1),
    }
    return SchemaValidator(
        core_schema.typed_dict_schema(
            {field: core_schema.typed_dict_field(schema, required=True) for field, schema in fields.items()},
            extra_behavior="forbid",
        )
    )


def first_problem(error: ValidationError) -> str:
    """Where the first thing that is wrong stands, and what is wrong with it; printable whatever was read."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(step) for step in first["loc"])[:100] or "the whole"
    path = "".join(c if c.isprintable() else "?" for c in path)  # a key of a hostile leaf may be anything
    return f"`{path}`: {first['msg'][:1].lower()}{first['msg'][1:]}"


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
