"""The three standard streams: there even if the caller closed them, and one place for what cannot be delivered.

Talk that nobody can hear is no failure; a result that could not be delivered is one, and is never taken for a delivered one.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

__all__ = ["UndeliveredError", "delivering", "finish", "give_up", "one_place", "reopen_closed", "talk"]


class UndeliveredError(Exception):
    """Standard output takes no more."""

    def __init__(self, error: OSError) -> None:
        super().__init__((error.strerror or "it cannot be written").lower())
        self.reader_left = error.errno == errno.EPIPE


def reopen_closed() -> None:
    """Give a standard stream that was closed (`<&-`, `>&-`) the empty device, before another file gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        empty = os.open(os.devnull, os.O_RDWR)
        if empty != number:
            with suppress(OSError):
                os.fstat(number)
                os.close(empty)
                continue  # somebody of ours has it by now; nothing is said on it
            os.dup2(empty, number)
            os.close(empty)
        mode = "r" if number == 0 else "w"
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - a descriptor, open to the end


@contextmanager
def delivering() -> Iterator[None]:
    """A part that writes to standard output.

    Raises:
        UndeliveredError: it could not.
    """
    try:
        yield
    except OSError as error:
        raise UndeliveredError(error) from error


def one_place(one: TextIO, other: TextIO) -> bool:
    """Whether both are the same file, pipe or terminal."""
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False


def talk(text: str) -> None:
    """Write to standard error, if it can be."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def finish() -> None:
    """Deliver what is left of the result.

    Raises:
        UndeliveredError: it could not be.
    """
    with delivering():
        sys.stdout.flush()


def give_up() -> None:
    """What is left in the streams is lost; the interpreter must not try it again at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)


def _silence(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        number = stream.fileno()
        empty = os.open(os.devnull, os.O_WRONLY)
        os.dup2(empty, number)
        os.close(empty)
