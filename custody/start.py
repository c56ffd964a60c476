"""Where a command begins: signals are taken before anything is loaded, so that an early one ends it like a late one.

It must never do more: the command line itself is custody/cli, and loading it takes most of the time of a start.
"""

import signal
import sys
from types import FrameType

__all__ = ["main"]

_CANCELLED = 130


def main() -> None:
    """Run the command line."""
    _take_signals()
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\nhint: nothing was done\n")
        sys.exit(_CANCELLED)
    run()


def _take_signals() -> None:
    """Let what asks this process to stop interrupt it, as Ctrl-C does; what is to be ignored, as nohup wants, stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
