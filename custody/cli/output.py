"""What commands print: results to standard output, talk to standard error, one JSON object with --json.

Text of programs and people is made harmless before it reaches a terminal.
"""

import json as jsonlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ..errors import Exit

if TYPE_CHECKING:
    from ..flows.house import House
    from ..policies.types import Principal

__all__ = ["Json", "door", "fail", "pass_through", "print_json", "say", "shown", "table"]


_json_wanted: list[bool] = []


def _remember(wanted: bool) -> bool:
    if wanted:
        _json_wanted.append(True)
    return wanted


Json = Annotated[bool, typer.Option("--json", callback=_remember, is_eager=True, help="Print one JSON object instead.")]
"""The option that every command has; an error of a command that was given it is an object too."""


def forget() -> None:
    """A new command begins: nothing was asked for yet."""
    _json_wanted.clear()


def json_wanted() -> bool:
    """Whether this command was given --json; the program's own arguments do not count."""
    return bool(_json_wanted)


def say(text: str) -> None:
    """Talk: to standard error."""
    sys.stderr.write(f"{text}\n")


def result(text: str) -> None:
    """A result: to standard output."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Mapping[str, object]) -> None:
    """The one result object of a command."""
    sys.stdout.write(f"{jsonlib.dumps(value, indent=2, sort_keys=True, default=str)}\n")


def fail(message: str, hint: str, code: Exit, *, json: bool, error: BaseException | None = None) -> Exit:
    """An error as `error:` and `hint:` lines, and with --json as an object too."""
    say(f"error: {shown(message)}")
    say(f"hint: {shown(hint)}")
    if json:
        print_json({"error": message, "hint": hint, "exit_code": int(code)})
    if error is not None and os.environ.get("CUSTODY_DEBUG"):
        traceback.print_exception(error)
    return code


def shown(text: object) -> str:
    """Text on one line, with control, direction and other characters that do not print made visible."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in str(text))


def pass_through(content: bytes, stream: TextIO) -> None:
    """A program's own output: byte for byte into a file or pipe; on a terminal control characters are made visible."""
    if stream.isatty():
        lines = content.decode("utf-8", "replace").split("\n")
        stream.write("\n".join(shown(line.replace("\t", "    ")) for line in lines))
    else:
        stream.buffer.write(content)
    stream.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """A table on standard output: drawn on a terminal, tab-separated text into a pipe."""
    if not sys.stdout.isatty():
        for row in (head, *rows):
            result("\t".join(shown(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for name in head:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    Console(no_color="NO_COLOR" in os.environ).print(drawn)


@contextmanager
def door() -> Iterator[tuple["House", "Principal"]]:
    """The home, opened, and who is calling."""
    from ..flows.access import identify
    from ..flows.house import open_house
    from ..identity import calling_user
    from ..settings import load_settings

    settings = load_settings()
    caller = calling_user(settings.sudo_uid)
    with open_house(settings) as house:
        yield house, identify(house, caller.os_user, caller.authentication)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Shows on a terminal that something takes its time."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True, no_color="NO_COLOR" in os.environ).status(text):
        yield
