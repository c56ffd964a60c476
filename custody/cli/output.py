"""What commands print: results to standard output, talk to standard error, one JSON object with --json.

Text of programs and people is made harmless before it reaches a terminal.
"""

import json as jsonlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ..errors import Exit
from .streams import delivering, talk

if TYPE_CHECKING:
    from rich.status import Status

    from ..flows.house import House
    from ..policies.types import Principal

__all__ = [
    "Json",
    "door",
    "fail",
    "forget",
    "json_wanted",
    "pass_through",
    "print_json",
    "result",
    "say",
    "shown",
    "steps",
    "table",
    "timestamp",
    "working",
]

_NARROW = 70
"""Columns below which a table would break its words into tens of rows."""
_STEPS = {
    "receive": "receiving",
    "resolve": "reading the requirements",
    "audit": "auditing the packages",
    "decide": "deciding",
    "build": "building the environment",
    "claim": "starting",
    "execute": "running",
}

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
    talk(f"{text}\n")


def result(text: str) -> None:
    """A result: to standard output."""
    with delivering():
        sys.stdout.write(f"{text}\n")


def print_json(value: Mapping[str, object]) -> None:
    """The one result object of a command."""
    result(jsonlib.dumps(value, indent=2, sort_keys=True, default=_rendered))


def _rendered(value: object) -> object:
    """What JSON has no form for: times in the one form that is promised, paths as text; anything else is a mistake of ours."""
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no documented form in JSON")


def timestamp(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds: the one form of times in JSON."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def fail(message: str, hint: str, code: Exit, *, json: bool, error: BaseException | None = None) -> Exit:
    """An error as `error:` and `hint:` lines, and with --json as an object too."""
    say(f"error: {shown(message)}")
    say(f"hint: {shown(hint)}")
    if json:
        print_json({"error": message, "hint": hint, "exit_code": int(code)})
    if error is not None:
        from ..settings import debugging

        if debugging():
            talk("".join(traceback.format_exception(error)))
    return code


def shown(text: object) -> str:
    """Text on one line, with control, direction and other characters that do not print made visible."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in str(text))


def pass_through(content: bytes, stream: TextIO) -> None:
    """A program's own output: byte for byte into a file or pipe; on a terminal control characters are made visible."""
    if stream is not sys.stdout:
        with suppress(OSError):
            _write(content, stream)
        return
    with delivering():
        _write(content, stream)


def _write(content: bytes, stream: TextIO) -> None:
    if stream.isatty():
        lines = content.decode("utf-8", "replace").split("\n")
        stream.write("\n".join(shown(line.replace("\t", "    ")) for line in lines))
    else:
        stream.buffer.write(content)
    stream.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """A table on standard output: drawn on a terminal, or where that is narrow one block a row; tab-separated into a pipe."""
    if not sys.stdout.isatty():
        for row in (head, *rows):
            result("\t".join(shown(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..settings import plain_terminal

    console = Console(no_color=plain_terminal())
    if console.width < _NARROW:
        _blocks(head, rows, title)
        return
    drawn = Table(title=title or None, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for name in head:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    with delivering():
        console.print(drawn)


def _blocks(head: Sequence[str], rows: Sequence[Sequence[object]], title: str) -> None:
    """One block for each row, one line for each cell that says something."""
    if title:
        result(shown(title))
    for number, row in enumerate(rows):
        if number:
            result("")
        for name, cell in zip(head, row, strict=True):
            if str(cell):
                result(f"{name}: {shown(cell)}")


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
    with _status(text):
        yield


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal which step of a run takes its time; gives what is to be told of each."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _status(_STEPS["receive"]) as status:
        yield lambda step: status.update(_STEPS.get(step, step))


def _status(text: str) -> "Status":
    from rich.console import Console

    from ..settings import plain_terminal

    return Console(stderr=True, no_color=plain_terminal()).status(text)
