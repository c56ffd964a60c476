"""Reviews as plain dictionaries: the one form that both the page and the JSON are made from.

It must never hand an object with behaviour to a template.
"""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum

__all__ = ["Plain", "plain"]

Plain = None | bool | int | str | list["Plain"] | dict[str, "Plain"]


def plain(value: object) -> Plain:
    """Dictionaries, lists, text, whole numbers, true, false and null."""
    match value:
        case Enum():
            return str(value.value)
        case None | bool() | int() | str():
            return value
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case tuple() | list():
            return [plain(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            message = f"a review holds no {type(value).__name__}"
            raise TypeError(message)
