"""Shares the reading of a ledger's sections among processes, and gives them back in order.

Whoever is free takes the next section, this process too, within a window that bounds what is kept. Every section is read by
the same code, and wherever that is in doubt the walk reads for itself: so how many processes there are changes no finding. A
process that dies is said, and what it had is read here. It must never wait for a process that has nothing to say.

Each process has a read transaction of its own. A ledger only grows, so all of them see the same entries below the size that was
counted at the start; whoever changes the file meanwhile is met as if he had done so a moment earlier or later.
"""

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from .reading import ANSWER, QUESTION
from .sections import SECTION, Section, SectionReader

__all__ = ["Readers", "reasonable_number"]

_MOST = 4
_WORTH_A_PROCESS = 40_000
"""Entries: below these a process takes longer to start than it saves."""
_AHEAD = 128
"""Sections that may be read before they are asked for: a MiB of hashes."""
_AT_ONCE = 4
"""Sections that a process has before it, so that it need not wait for the next."""


def reasonable_number(entries: int) -> int:
    """How many processes shall read: one for every core that may be used, where there is enough to read."""
    return min(len(os.sched_getaffinity(0)), _MOST) if entries >= _WORTH_A_PROCESS else 1


class Readers:
    """Sections of the entries from `start` to `stop`, which are numbered without a gap."""

    def __init__(self, own: SectionReader, start: int, stop: int) -> None:
        self._own = own
        self._start = start
        self._stop = stop
        self._next = start // SECTION
        self._done: dict[int, Section | None] = {}
        self._others: list[_Other] = []
        self.lost: list[str] = []
        """How processes ended that should not have."""

    @property
    def total(self) -> int:
        """How many entries there are in all sections."""
        return self._stop - self._start

    def begin(self, uri: str, others: int) -> None:
        """Start other processes; one that cannot be started is no more than missing."""
        command = [
            sys.executable,
            "-s",
            "-P",
            "-c",  # not -m, whose own modules would be a tenth of the start
            # what is read is freed as soon as it was looked at, and none of it refers to itself
            f"import gc; gc.disable(); from {__package__}.reading import main; main()",
            uri,
            "contents" if self._own.contents else "leaves",
        ]
        with suppress(OSError):
            for _ in range(others):
                self._others.append(_Other(command))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for other in self._others:
            other.end()

    def count(self, first: int) -> int:
        """How many entries the section has that begins there; 0 if none does."""
        if not self._start <= first < self._stop or (first != self._start and first % SECTION):
            return 0
        return min(SECTION - first % SECTION, self._stop - first)

    def take(self, first: int) -> Section | None:
        """The section that begins there, if there is one beyond doubt; to be asked for in ascending order."""
        if not self.count(first):
            return None
        number = first // SECTION
        self._next = max(self._next, number)
        while True:
            self._listen(wait=False)
            self._feed(number)
            if number in self._done:
                return self._done.pop(number)
            if not any(number in other.asked for other in self._others):
                self._next = max(self._next, number + 1)
                return self._read(number)
            if self._next < number + _AHEAD and self._first(self._next) < self._stop:
                ahead, self._next = self._next, self._next + 1
                self._done[ahead] = self._read(ahead)
            else:
                self._listen(wait=True)

    def _first(self, number: int) -> int:
        return max(number * SECTION, self._start)

    def _read(self, number: int) -> Section | None:
        first = self._first(number)
        return self._own.read(first, self.count(first))

    def _feed(self, number: int) -> None:
        """Give the others something to do."""
        for other in self._others:
            while other.ready and len(other.asked) < _AT_ONCE:
                first = self._first(self._next)
                if self._next >= number + _AHEAD or first >= self._stop:
                    return
                if not other.ask(self._next, first, self.count(first)):
                    break
                self._next += 1

    def _listen(self, *, wait: bool) -> None:
        """Take what the others have found; what a dead one had is nobody's then."""
        if not self._others:
            return
        poll = select.poll()
        by_descriptor = {other.descriptor: other for other in self._others}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _events in poll.poll(None if wait else 0):
            other = by_descriptor[descriptor]
            answered = other.hear()
            if answered is None:
                self._others.remove(other)
                self.lost.append(other.end())
            elif answered[0] is not None:
                self._done[answered[0]] = answered[1]


class _Other:
    """Another process, as it is seen from here."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._questions, self._answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        self.descriptor = self._answers.fileno()
        self.asked: list[int] = []
        """Numbers of sections that it was asked for, in the order in which it answers."""
        self.ready = False
        """Whether it takes questions."""
        self._greeted = False

    def ask(self, number: int, first: int, count: int) -> bool:
        """Whether it could be asked."""
        try:
            self._questions.write(QUESTION.pack(first, count))
        except OSError:
            self.ready = False  # it is dead; what it said before will still be heard
            return False
        self.asked.append(number)
        return True

    def hear(self) -> "tuple[int | None, Section | None] | None":
        """One answer, with the number of its section if it is one; None if there will be no more."""
        head = self._read(ANSWER.size)
        if head is None:
            return None
        _first, length = ANSWER.unpack(head)
        if not self._greeted:
            self._greeted = self.ready = True
            return None, None
        packed = self._read(length)
        if packed is None:
            return None
        return self.asked.pop(0), Section.parse(packed) if packed else None

    def end(self) -> str:
        """Let it go, and say how it ended; it holds nothing that could be lost."""
        with suppress(OSError):
            self._process.kill()
        code = self._process.wait()
        self._questions.close()
        self._answers.close()
        return f"signal {-code}" if code < 0 else f"exit {code}"

    def _read(self, length: int) -> bytes | None:
        parts = []
        while length:
            part = self._answers.read(length)
            if not part:
                return None
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    if end is None:
        message = "the process was started without its pipes"
        raise RuntimeError(message)
    return end
