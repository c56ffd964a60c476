"""Cedar text, cut into its policies with the line where each begins, because Cedar's own messages carry no line.

It only cuts; what a policy means is for the engine alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["PolicySource", "split"]


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The text of one policy and where it stands."""

    file: str
    line: int
    text: str
    complete: bool
    """Whether it ended in a semicolon."""


def split(file: str, text: str) -> Iterator[PolicySource]:
    """The policies of one file in order; outside strings and comments a semicolon ends a policy, and nothing else does."""
    start: int | None = None
    position = 0
    while position < len(text):
        character = text[position]
        if text.startswith("//", position):
            position = _end_of(text, "\n", position)
            continue
        if start is None and not character.isspace():
            start = position
        if character == '"':
            position = _end_of_string(text, position)
            continue
        position += 1
        if character == ";" and start is not None:
            yield PolicySource(file, text.count("\n", 0, start) + 1, text[start:position], complete=True)
            start = None
    if start is not None:
        yield PolicySource(file, text.count("\n", 0, start) + 1, text[start:], complete=False)


def _end_of(text: str, mark: str, position: int) -> int:
    found = text.find(mark, position)
    return len(text) if found < 0 else found + len(mark)


def _end_of_string(text: str, position: int) -> int:
    position += 1
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return position + 1
