"""Waiting for one's turn to append: bounded, and fair enough that nobody starves.

SQLite's own waiting sleeps longer and longer while whoever holds the lock takes it again at once: with eight writers some wait
for seconds and some for ever. Here a writer first takes the one place in the queue, keeps it until it holds the turn, and only
then lets the next one queue: who has just written meets the waiting one there and cannot overtake it.

The locks are flocks on two files beside the keys: the kernel drops them when a process dies. They must never be removed.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LedgerError

__all__ = ["taking_turn"]

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE_IN_QUEUE = 0.004
_LONGEST_PAUSE_AT_TURN = 0.0005
"""Only one process at a time waits there, and every pause of it is a pause of the log."""


@contextmanager
def taking_turn(directory: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the turn; a LedgerError if it does not come in time."""
    deadline = time.monotonic() + wait_seconds
    turn = os.open(directory / "turn.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        queue = os.open(directory / "queue.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(queue, deadline, wait_seconds, _LONGEST_PAUSE_IN_QUEUE)
            _lock(turn, deadline, wait_seconds, _LONGEST_PAUSE_AT_TURN)
        finally:
            os.close(queue)
        yield
    finally:
        os.close(turn)


def _lock(descriptor: int, deadline: float, wait_seconds: float, longest_pause: float) -> None:
    pause = _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LedgerError(
                    f"the ledger is in use by another process, waited {wait_seconds:g} seconds",
                    hint="try again; if it stays, look for a custody process that hangs",
                ) from error
            time.sleep(pause)
            pause = min(pause * 1.5, longest_pause)
        else:
            return
