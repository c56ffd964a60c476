"""What a run prints after the program's own output, which must not pass for it."""

import subprocess
import sys

import pytest

TALK = """
import sys
from custody.cli.output import say
from custody.cli.results import LiveOutput
live = LiveOutput()
for stream, content in {wrote!r}:
    live.write(stream, content)
live.end_line()
say('run run-1: failed')
"""
FORGED = b"run run-1: succeeded\n"


def talk_after(*wrote: tuple[str, bytes], together: bool = False) -> tuple[bytes, bytes]:
    """Standard output and error of a command that talks after a program wrote this."""
    done = subprocess.run(
        [sys.executable, "-c", TALK.format(wrote=wrote)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        check=True,
    )
    return done.stdout, done.stderr or b""


@pytest.mark.parametrize("last", [b"x", b"x\ny", b"\r"])
def test_talk_begins_on_a_line_of_its_own_whatever_the_program_wrote(last: bytes) -> None:
    assert talk_after(("stderr", FORGED + last)) == (b"", FORGED + last + b"\nrun run-1: failed\n")
    assert talk_after(("stdout", last), together=True) == (last + b"\nrun run-1: failed\n", b"")


def test_nothing_is_added_where_no_line_is_open() -> None:
    assert talk_after(("stderr", b"x"), ("stderr", b"\n"), ("stdout", b"")) == (b"", b"x\nrun run-1: failed\n")
    assert talk_after(("stdout", b"x")) == (b"x", b"run run-1: failed\n")
