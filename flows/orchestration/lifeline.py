"""A child process ends with its parent: it holds the reading end of a pipe that only the parent can keep open.

The kernel closes the pipe however the parent dies. Unlike a parent-death signal this does not depend on which thread of the parent started
the child. It must never read anything from the pipe: nobody writes into it.
"""

import os
import signal
import sys
import threading

__all__ = ["end_with_parent"]


def end_with_parent(ending: signal.Signals, *, grace_seconds: float) -> None:
    """Send this process a signal as soon as standard input is at its end, and kill it if it is still there after the grace."""
    threading.Thread(target=_watch, args=(ending, grace_seconds), name="lifeline", daemon=True).start()


def _watch(ending: signal.Signals, grace_seconds: float) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), ending)
    threading.Event().wait(grace_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
