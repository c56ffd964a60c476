"""What binds a child to the process that started it: its standard input, whose other end only the parent keeps open.

The kernel closes it however the parent dies. Unlike a parent-death signal this does not depend on which thread of the parent started the child.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["end_with_parent"]


def _ignore(line: str) -> None:
    del line


def end_with_parent(ending: signal.Signals, *, grace_seconds: float, hear: Callable[[str], None] = _ignore) -> None:
    """Hand over each line of standard input, and an empty one at its end; then send this process a signal, and kill it after the grace."""

    def watch() -> None:
        for line in sys.stdin:
            hear(line)
        hear("")
        os.kill(os.getpid(), ending)
        threading.Event().wait(grace_seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
