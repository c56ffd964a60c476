"""Hands a program's output on while it runs, redacted as the result will be.

It must never hand on a part of a secret because the rest had not arrived yet: whole lines are held back until no secret can
reach over their end. It must never make the jail's watch wait for whoever listens: a slow listener loses live output, not
the result.
"""

import queue
import re
import threading
from collections.abc import Collection

from ..redaction import SECRET_KINDS, Redactor
from .types import Live

__all__ = ["LiveRelay"]

_WAITING = 256
_KEY_BYTES = 24 * 1024
"""More than the longest private key that is searched for."""
_KEY_BEGINS = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_KEY = SECRET_KINDS["private_key"]
_KEY_ENDS = re.compile(rb"-----END [A-Z ]{0,40}PRIVATE KEY-----")
_LINE_BYTES = 16 * 1024
"""A line longer than this is handed on in parts, cut where no secret is."""
_LONGEST_IN_LINE = 8 * 1024
"""More than the longest secret without a line break that is searched for."""
_TRIES = 40
_STEP = 512
_JOIN_SECONDS = 2.0


class LiveRelay:
    """Both streams of one run, on their way to one listener."""

    def __init__(self, live: Live, redactor: Redactor | None) -> None:
        self._live = live
        self._redactor = redactor
        self._held = {"stdout": b"", "stderr": b""}
        self._queue: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_WAITING)
        self.cut = False
        self._thread = threading.Thread(target=self._hand_on, name="custody-live-output", daemon=True)
        self._thread.start()

    def feed(self, stream: str, data: bytes) -> None:
        """Takes the next bytes of one stream; never waits."""
        held = self._held[stream] + data
        end = len(held) if self._redactor is None else self._safe_end(held)
        self._held[stream] = held[end:]
        if end:
            self._put(stream, held[:end])

    def finish(self, cut_off: Collection[str] = ()) -> None:
        """Hands on what was held back; the streams are at their end, or were cut off where a secret may have begun."""
        for stream, held in self._held.items():
            if held:
                self._put(stream, held, cut=stream in cut_off)
        try:
            self._queue.put(None, timeout=_JOIN_SECONDS)
        except queue.Full:
            self.cut = True
            return
        self._thread.join(_JOIN_SECONDS)
        self.cut = self.cut or self._thread.is_alive()

    def _safe_end(self, held: bytes) -> int:
        """How much can go: whole lines, none of which is within a private key or could be in a secret of several lines."""
        end = held.rfind(b"\n") + 1
        if len(held) - end > _LINE_BYTES:
            end = self._cut(held)
        since = max(0, len(held) - _KEY_BYTES)
        for ended in _KEY_ENDS.finditer(held, since):
            since = ended.end()
        begins = _KEY_BEGINS.search(held, since)
        if begins is not None:
            end = min(end, begins.start())
        if self._live.longest_secret:
            # a known secret of several lines may have begun within its length before the end
            end = self._cut_before(held, min(end, len(held) - self._live.longest_secret))
        # of what is searched for by pattern only keys have line breaks
        return next((m.start() for m in _KEY.finditer(held) if m.start() < end < m.end()), end)

    def _cut(self, held: bytes) -> int:
        """A place in a long line that no secret reaches over, far enough from its end."""
        return self._cut_before(held, len(held) - _LONGEST_IN_LINE)

    def _cut_before(self, held: bytes, place: int) -> int:
        """A place not after this one where both sides redacted are the whole redacted; 0 if there is none near."""
        if place <= 0 or self._redactor is None:
            return 0
        whole = self._redactor.redact(held).content
        for _ in range(_TRIES):
            for pattern in SECRET_KINDS.values():
                place = next((m.start() for m in pattern.finditer(held) if m.start() < place < m.end()), place)
            if self._redactor.redact(held[:place]).content + self._redactor.redact(held[place:]).content == whole:
                return place
            place = max(held.rfind(b"\n", 0, place - 1) + 1, place - _STEP)
            if place <= 0:
                break
        return 0

    def _put(self, stream: str, content: bytes, *, cut: bool = False) -> None:
        if self._redactor is not None:
            content = self._redactor.redact(content, cut=cut).content
        try:
            self._queue.put_nowait((stream, content))
        except queue.Full:
            self.cut = True

    def _hand_on(self) -> None:
        while (part := self._queue.get()) is not None:
            try:
                self._live.write(*part)
            except BaseException:  # noqa: BLE001 - a listener that breaks or leaves must not end the run; it hears no more, and that is said
                self.cut = True
                return
