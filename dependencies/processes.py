"""Runs a tool of ours to its end: argument list, environment of our choosing, bounded in time and in what is read back.

It must never run code of an agent, never use a shell, and never inherit the caller's environment.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

_MOST_BYTES = 64 * 1024 * 1024


class Finished(NamedTuple):
    """How a tool ended."""

    exit_code: int | None
    """None if its time was up and it was killed; negative for a signal."""
    stdout: bytes
    stderr: bytes


def run_tool(
    arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout_seconds: float
) -> Finished:
    """The tool's end and what it wrote, at most 64 MiB of each stream; if its time is up, its whole process group is killed.

    Raises:
        OSError: it could not be started.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        with subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        ) as process:
            try:
                exit_code: int | None = process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                exit_code = None
            finally:
                _kill(process)
        return Finished(exit_code, _read(stdout), _read(stderr))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the process group of the tool; it leads it, and stays our child until it was waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_MOST_BYTES)


def last_lines(text: bytes, *, count: int = 3) -> str:
    """The last few lines of a tool's complaint, on one line; what a line announces with a colon follows it directly."""
    lines = [line.strip() for line in text[-8192:].decode("utf-8", "replace").splitlines() if line.strip()]
    return "; ".join(lines[-count:]).replace(":; ", ": ")
