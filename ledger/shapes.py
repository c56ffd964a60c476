"""Bodies of one kind, looked at a column at a time: the rules of the strict validator, without making an object of any of them.

It must never accept what the validator of the kind refuses. Two things are left to whoever wrote the bodies out again in their
canonical form: that numbers are not too large, and that no name stands twice.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain

__all__ = ["Check", "shape_of"]

Check = Callable[[Sequence[object]], bool]
"""Whether every value of a column is as it should be."""

_SCALARS = {str, int, bool}


@cache
def shape_of(cls: type) -> Check:
    """The check of a dataclass of the catalogue; a TypeError for a type that is not in its grammar."""
    hints = typing.get_type_hints(cls)
    checks = [(field.name, _check_of(hints[field.name])) for field in dataclasses.fields(cls)]
    width = len(checks)

    def check(column: Sequence[object]) -> bool:
        if {*map(type, column)} - {dict}:
            return False
        records: Sequence[dict[str, object]] = column  # type: ignore[assignment]  # because that was just looked at
        if {*map(len, records)} - {width}:
            return False
        try:
            return all(check([record[name] for record in records]) for name, check in checks)
        except KeyError:  # so many names, and one of ours is not among them
            return False

    return check


def _check_of(hint: object) -> Check:
    if hint in _SCALARS:
        return _of_types(frozenset({hint}))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return shape_of(hint)
    match typing.get_origin(hint), typing.get_args(hint):
        case builtin, (item, last) if builtin is tuple and last is ...:
            return _lists_of(_check_of(item))
        case types.UnionType, (item, last) if last is types.NoneType:
            return _of_types(frozenset({item, last})) if item in _SCALARS else _unless_none(_check_of(item))
        case _:
            message = f"{hint} is no type of the catalogue"
            raise TypeError(message)


def _of_types(allowed: frozenset[object]) -> Check:
    return lambda column: allowed.issuperset(map(type, column))


def _lists_of(check: Check) -> Check:
    def check_lists(column: Sequence[object]) -> bool:
        if {*map(type, column)} - {list}:
            return False
        lists: Sequence[list[object]] = column  # type: ignore[assignment]  # because that was just looked at
        return check([*chain.from_iterable(lists)])

    return check_lists


def _unless_none(check: Check) -> Check:
    return lambda column: check([value for value in column if value is not None])
