"""Interrupts while a run is on its way: before its start they cancel it, while it is executed they kill the jail, and the end is recorded.

It must never break off between a claim and the end: there an interrupt only sets the flag that the jail watches.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Takes the signals that ask this process to stop; does nothing outside the main thread, where Python cannot take them.

    Args:
        cancel: what the jail watches; a fresh one if the caller has none.
    """

    def __init__(self, cancel: threading.Event | None) -> None:
        self.cancel = cancel or threading.Event()
        self._shielded = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # whoever started us wants it ignored, as nohup does
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave is what it takes

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.cancel.set()
        if not self._shielded:
            raise KeyboardInterrupt

    @contextmanager
    def shielded(self) -> Iterator[threading.Event]:
        """A part that must not be broken off; it gets the flag to watch."""
        self._shielded = True
        try:
            yield self.cancel
        finally:
            self._shielded = False
