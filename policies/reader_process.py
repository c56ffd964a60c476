"""The process that reads programs, as seen from outside: started, asked, watched, and ended when anything about it is odd.

It must never trust an answer: a parser that a program took over could say anything, so that answers are bounded, typed and only ever hints.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

__all__ = ["ReaderProcess", "Seen"]

_READER = Path(__file__).with_name("code_reader.py")
_MAX_ANSWER = 512 * 1024
_CHUNK = 65536
_RECYCLE = 200
"""Programs after which a resident reader is replaced."""

_Text = Annotated[str, StringConstraints(max_length=200)]
_Flag = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
_Texts = Annotated[tuple[_Text, ...], Field(strict=False, max_length=200)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    parsed: bool
    error: _Text
    imports: _Texts
    flags: Annotated[tuple[_Flag, ...], Field(strict=False, max_length=100)]
    hosts: _Texts
    paths: _Texts
    evidence: Annotated[
        tuple[Annotated[tuple[_Flag, Annotated[int, Field(ge=0, le=2**31)]], Field(strict=False)], ...],
        Field(strict=False, max_length=100),
    ]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader saw in one program."""

    parsed: bool = False
    error: str = ""
    imports: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    evidence: tuple[tuple[str, int], ...] = ()


class _NoAnswerError(Exception):
    """The reader did not answer; the message says how."""


class ReaderProcess:
    """One reader process, started when it is first asked and replaced after a while or after any trouble; ends with the context.

    Args:
        seconds: how long one program may take.
    """

    def __init__(self, *, seconds: float = 15.0) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, code: bytes) -> Seen:
        """What stands in a python program; trouble of the reader is said in the answer."""
        with self._lock:
            try:
                return self._ask(code)
            except _NoAnswerError as first:
                used = self._served > 0
                self._end()
                if not used:
                    return Seen(error=str(first))
            try:  # once more in a fresh process: what an earlier program did must not count against this one
                return self._ask(code)
            except _NoAnswerError as error:
                self._end()
                return Seen(error=str(error))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, code: bytes) -> Seen:
        if self._served >= _RECYCLE:
            self._end()
        process = self._process or self._start()
        answer = _exchange(process, len(code).to_bytes(4, "big") + code, time.monotonic() + self._seconds)
        self._served += 1
        try:
            read = _Answer.model_validate(json.loads(answer))
        except (ValidationError, ValueError, RecursionError) as error:
            raise _NoAnswerError("the reader's answer made no sense") from error
        return Seen(read.parsed, read.error, read.imports, read.flags, read.hosts, read.paths, read.evidence)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(_READER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        except OSError as error:
            raise _NoAnswerError(f"the reader could not be started: {error.strerror}") from error
        self._process = process
        self._served = 0
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
        return process

    def _end(self) -> None:
        process, self._process, self._served = self._process, None, 0
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def _exchange(process: subprocess.Popen[bytes], question: bytes, deadline: float) -> bytes:
    """Write one question and read one answer, both at once, so that neither side waits for the other for ever."""
    assert process.stdin is not None  # noqa: S101 - started with pipes, a few lines above
    assert process.stdout is not None  # noqa: S101 - the same
    writing, reading = process.stdin.fileno(), process.stdout.fileno()
    rest, answer = memoryview(question), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        selector.register(writing, selectors.EVENT_WRITE)
        while (size := _size(answer)) is None or len(answer) < 4 + size:
            ready = selector.select(deadline - time.monotonic())
            if not ready or time.monotonic() > deadline:
                raise _NoAnswerError("the reader took too long")
            for key, _ in ready:
                try:
                    if key.fd == writing:
                        rest = rest[os.write(writing, rest[:_CHUNK]) :]
                        if not rest:
                            selector.unregister(writing)
                    elif not (chunk := os.read(reading, _CHUNK)):
                        raise _NoAnswerError("the reader ended without an answer")
                    else:
                        answer += chunk
                except OSError as error:
                    raise _NoAnswerError("the reader ended without an answer") from error
            if (_size(answer) or 0) > _MAX_ANSWER:
                raise _NoAnswerError("the reader's answer was too long")
    return bytes(answer[4 : 4 + size])


def _size(answer: bytearray) -> int | None:
    return int.from_bytes(answer[:4], "big") if len(answer) >= 4 else None  # noqa: PLR2004 - four bytes of length
