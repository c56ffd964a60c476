"""Redacts content that comes in parts as if it had come at once, so that a large artefact is in memory once.

Parts are cut where no secret can reach over the cut, whatever comes later; where there is no such place, more is held back.
It must never hand out a part of a secret because the rest had not arrived yet.

INVARIANT: this relies on what the patterns of secrets are made of (a test compares the two for all of them): all begin at the
beginning of a word and hold letters, digits, `_`, `-` and `.` alone, but for private keys, and for passwords in addresses,
which follow `://`.
"""

import io
import re

from ..redaction import SECRET_KINDS, Redactor

__all__ = ["Sieve"]

_BORDER = re.compile(rb"[^A-Za-z0-9_.\-]")
"""What ends every secret but the two that are looked for below."""
_KEY_BEGINS = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_KEY_ENDS = re.compile(rb"-----END [A-Z ]{0,40}PRIVATE KEY-----")
_KEY_BYTES = 20_200
"""More than the longest private key that is searched for."""
_HEADER_BYTES = 128
"""More than its longest first line."""
_ADDRESS_BYTES = 320
"""More than the longest name and password in an address, and what stands before them."""
_WORD_BYTES = 8192
"""More than the longest of the others."""
_WORD = re.compile(rb"\w+")
_LOOK_BACK = 4096


class Sieve:
    """Takes parts of one content; gives back the whole, redacted."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        self._out = io.BytesIO()
        self.count = 0

    def feed(self, part: bytes) -> None:
        """Takes the next part."""
        held = self._held + part
        end = self._safe_end(held)
        self._pass_on(held[:end])
        self._held = held[end:]

    def finish(self) -> bytes:
        """Everything, redacted."""
        self._pass_on(self._held)
        self._held = b""
        return self._out.getvalue()

    def _pass_on(self, content: bytes) -> None:
        redacted = self._redactor.redact(content)
        self.count += redacted.count
        self._out.write(redacted.content)

    def _safe_end(self, held: bytes) -> int:
        """How much can go; 0 if there is no place to cut yet."""
        limit = len(held) - _HEADER_BYTES
        while (end := _last_border(held, limit)) > 0:
            limit = min(_before_key(held, end), _before_address(held, end), self._redactor.begins_before(held, end))
            if limit == end:
                return end
        return self._within_word(held)

    def _within_word(self, held: bytes) -> int:
        """A place in a word longer than any secret: none begins in there, but it must not look as if one began at the cut."""
        end = len(held) - _WORD_BYTES
        around = held[max(0, end - _WORD_BYTES) : end + 1]
        if len(around) <= _WORD_BYTES or not _WORD.fullmatch(around):
            return 0
        if min(_before_key(held, end), self._redactor.begins_before(held, end)) != end:
            return 0
        looks_so = any(pattern.match(held[end:]) for pattern in SECRET_KINDS.values())
        return 0 if looks_so else end


def _last_border(held: bytes, limit: int) -> int:
    """The end of the last byte before the limit that stands in no word; 0 if there is none."""
    size = _LOOK_BACK
    while limit > 0:
        start = max(0, limit - size)
        ends = [found.end() for found in _BORDER.finditer(held, start, limit)]
        if ends or start == 0:
            return ends[-1] if ends else 0
        size *= 4
    return 0


def _before_key(held: bytes, end: int) -> int:
    """Where a private key begins that could reach over this place, or the place."""
    since = max(0, end - _KEY_BYTES)
    for ended in _KEY_ENDS.finditer(held, since, end):
        since = ended.end()
    begins = _KEY_BEGINS.search(held, since, end + _HEADER_BYTES)
    return begins.start() if begins is not None and begins.start() < end else end


def _before_address(held: bytes, end: int) -> int:
    """Where an address begins that a password may follow that reaches over this place, or the place."""
    found = held.rfind(b"://", max(0, end - _ADDRESS_BYTES), end + 2)
    return found if found >= 0 else end
