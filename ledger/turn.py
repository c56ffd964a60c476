"""Waiting for one's turn to append: in the order of arrival, bounded, and free of what a dead process could leave behind.

SQLite's own waiting sleeps longer and longer while whoever holds the lock takes it again at once: with eight writers some wait
for seconds and some for ever. Here a writer draws a number and locks the byte of that number in the queue file; its turn has come when no
lower byte is locked any more. Whoever comes later has a higher number and cannot overtake, whoever dies loses its lock, and
with it its place, by the kernel's hand.

INVARIANT: the turn itself is a second lock. Numbers give the order; that two do not write at once never rests on them. The files
lie beside the keys and must never be removed.
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LedgerError

__all__ = ["taking_turn"]

_PAUSE_OF_THE_NEXT = 0.0002
"""Every pause of the one who is next is a pause of the log."""
_PAUSE_PER_PLACE = 0.0008
"""Those behind ask less often: an append takes about as long."""
_LONGEST_PAUSE = 0.01
_NUMBER = struct.Struct("<Q")
_FIRST_NUMBER = 64
"""The counter's own bytes are never anybody's number."""
_LARGEST_NUMBER = 1 << 62
_FLOCK = struct.Struct("@hhqqi4x")
"""`struct flock` of 64-bit Linux (fcntl_locking(2)): type, whence, start, length, pid."""


@contextmanager
def taking_turn(directory: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the turn; a LedgerError if it does not come in time."""
    wait = _Wait(wait_seconds)
    turn = _open(f"{directory}/turn.lock")
    try:
        queue = _open(f"{directory}/queue.lock")
        try:
            number = _draw(queue, wait)
            wait.until(lambda: _ahead(queue, number))
            wait.until(lambda: 0 if _try_flock(turn) else 1)
            yield
        finally:
            os.close(queue)
    finally:
        os.close(turn)


class _Wait:
    """A deadline, and pauses in proportion to how many are ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def until(self, ahead: Callable[[], int]) -> None:
        """Return when nobody is ahead."""
        while count := ahead():
            if time.monotonic() >= self._deadline:
                raise LedgerError(
                    f"the ledger is in use by another process, waited {self._seconds:g} seconds",
                    hint="try again; if it stays, look for a custody process that hangs",
                )
            time.sleep(_PAUSE_OF_THE_NEXT if count == 1 else min((count - 1) * _PAUSE_PER_PLACE, _LONGEST_PAUSE))


def _draw(queue: int, wait: _Wait) -> int:
    """The next number, its byte locked; the counter is guarded for these few calls only."""
    wait.until(lambda: 0 if _try_flock(queue) else 1)
    try:
        kept = os.pread(queue, _NUMBER.size, 0)
        number = _NUMBER.unpack(kept)[0] if len(kept) == _NUMBER.size else _FIRST_NUMBER
        if not _FIRST_NUMBER <= number < _LARGEST_NUMBER:
            number = _FIRST_NUMBER  # whatever it was, nobody who waits is hurt: at worst the order is
        while not _try_byte(queue, number):
            number += 1
        os.pwrite(queue, _NUMBER.pack(number + 1), 0)
    finally:
        fcntl.flock(queue, fcntl.LOCK_UN)
    return int(number)


def _ahead(queue: int, number: int) -> int:
    """How far away the turn is: the distance to a lower number that somebody holds, 0 if there is none."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _FIRST_NUMBER, number - _FIRST_NUMBER, 0)
    if number == _FIRST_NUMBER:  # a length of 0 would mean: to the end
        return 0
    kind, _whence, start, _length, _pid = _FLOCK.unpack(fcntl.fcntl(queue, fcntl.F_OFD_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else number - start


def _try_byte(queue: int, number: int) -> bool:
    try:
        fcntl.fcntl(queue, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
