"""Redacts content that comes in parts as if it had come at once, so that a large artefact is in memory once.

Parts are cut where no secret can reach over the cut, whatever comes later; where there is no such place, more is held back.
It must never hand out a part of a secret because the rest had not arrived yet, nor take longer than the content is long.

INVARIANT: this relies on what the patterns of secrets are made of (a test compares the two for all of them): all begin at the
beginning of a word and hold letters, digits, `_`, `-` and `.` alone, but for private keys, and for passwords in addresses,
which follow `://`.
"""

import codecs
import io
import re

from ..redaction import SECRET_KINDS, Redactor

__all__ = ["Plain", "Sieve", "WideSieve", "choose_sink"]

_BORDER = re.compile(rb"[^A-Za-z0-9_.\-]")
"""What ends every secret but the two that are looked for below."""
_KEY = SECRET_KINDS["private_key"]
_KEY_BEGINS = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_KEY_BYTES = 20_200
"""More than the longest private key, and any other secret, that is searched for: so much is held back."""
_HEADER_BYTES = 128
"""More than the longest first line of a key."""
_PASSWORD = SECRET_KINDS["url_password"]
_ADDRESS = re.compile(rb"://")
_ADDRESS_BYTES = 320
"""More than the longest name and password in an address, and what stands before them."""
_WORD = re.compile(rb"\w+")
_WORD_BYTES = 8192
"""More than the longest of the others."""
_LOOK_BACK = 4096
_TRIES = 64
_TEXT_BYTES = 8192
"""So many at the beginning of a file say whether it is text: what is none is not redacted, which would break it."""
_NO_TEXT = re.compile(r"[\x01-\x06\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd]")
_WIDE = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def choose_sink(begin: bytes, redactor: Redactor | None) -> "Sieve | WideSieve | Plain":
    """What takes the parts of content that begins so: nothing is searched that is no text."""
    begin = begin[:_TEXT_BYTES]
    if redactor is None:
        return Plain()
    if encoding := _wide_encoding(begin):
        return WideSieve(redactor, encoding)
    return Sieve(redactor) if _is_text(begin) else Plain()


class Sieve:
    """Takes parts of one content; gives back the whole, redacted."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._parts: list[bytes] = []
        self._size = 0
        self._due = 0
        self._out = io.BytesIO()
        self.count = 0

    def feed(self, part: bytes) -> None:
        """Takes the next part."""
        self._parts.append(part)
        self._size += len(part)
        if self._size >= self._due:
            held = b"".join(self._parts)
            end = self._safe_end(held)
            self._pass_on(held[:end])
            self._parts, self._size = [held[end:]], len(held) - end
            self._due = 0 if end else 2 * len(held)  # what cannot be cut is not looked at again for every part

    def finish(self) -> bytes:
        """Everything, redacted."""
        self._pass_on(b"".join(self._parts))
        self._parts = []
        return self._out.getvalue()

    def _pass_on(self, content: bytes) -> None:
        redacted = self._redactor.redact(content)
        self.count += redacted.count
        self._out.write(redacted.content)

    def _safe_end(self, held: bytes) -> int:
        """How much can go; 0 if there is no place to cut yet."""
        place = _last_border(held, len(held) - _KEY_BYTES)
        for _ in range(_TRIES):
            if place <= 0:
                break
            if (other := self._beside_key(held, place)) > place:
                place = other
            elif (other := min(other, _before_address(held, place), self._redactor.begins_before(held, place))) < place:
                place = _last_border(held, other)
            else:
                return place
        return self._within_word(held)

    def _beside_key(self, held: bytes, place: int) -> int:
        """The end of the private key that reaches over this place, or its beginning, or the place if there is none."""
        for header in _KEY_BEGINS.finditer(held, max(0, place - _KEY_BYTES), place + _HEADER_BYTES):
            start = header.start()
            if start >= place:
                break
            whole, part = _KEY.match(held, start), _KEY.match(held, start, place)
            if whole is not None and whole.end() > place:
                is_one = self._redactor.redact(whole[0]).content == b"[redacted:private_key]"
                return whole.end() if is_one and whole.end() < len(held) else start
            if part is not None and (whole is None or whole.end() != part.end()):
                return start  # what goes would look like a key to its end
        return place

    def _within_word(self, held: bytes) -> int:
        """A place in a word longer than any secret: none begins in there, but it must not look as if one began at the cut."""
        place = len(held) - _KEY_BYTES
        around = held[max(0, place - _WORD_BYTES) : max(0, place + 1)]
        if len(around) <= _WORD_BYTES or not _WORD.fullmatch(around):
            return 0
        if self._beside_key(held, place) != place or self._redactor.begins_before(held, place) != place:
            return 0
        looks_so = any(pattern.match(held[place:]) for pattern in SECRET_KINDS.values())
        return 0 if looks_so else place


class Plain:
    """What is not searched, put together in place: neither the parts nor a second whole beside it."""

    count = 0

    def __init__(self) -> None:
        self._out = io.BytesIO()

    def feed(self, part: bytes) -> None:
        """Takes the next part."""
        self._out.write(part)

    def finish(self) -> bytes:
        """Everything, as it came."""
        return self._out.getvalue()


class WideSieve:
    """Text in UTF-16, searched as what it says; parts may be cut within a character."""

    def __init__(self, redactor: Redactor, encoding: str) -> None:
        self._sieve = Sieve(redactor)
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._odd = b""

    @property
    def count(self) -> int:
        """How much was redacted."""
        return self._sieve.count

    def feed(self, part: bytes) -> None:
        """Takes the next part."""
        part = self._odd + part
        even = len(part) & ~1
        self._odd = part[even:]
        self._sieve.feed(self._decoder.decode(part[:even]).encode("utf-8", "surrogatepass"))

    def finish(self) -> bytes:
        """Everything, redacted, in the encoding that it had."""
        self._sieve.feed(self._decoder.decode(b"", final=True).encode("utf-8", "surrogatepass"))
        text = self._sieve.finish().decode("utf-8", "surrogatepass")
        return text.encode(self._encoding, "surrogatepass") + self._odd


def _wide_encoding(begin: bytes) -> str:
    """Which UTF-16 it is, by its mark or because every other byte of most of it is NUL; empty if none."""
    if marked := _WIDE.get(begin[:2]):
        return marked
    pairs = len(begin) // 2
    for encoding, low in (("utf-16-le", 0), ("utf-16-be", 1)):
        high = begin[1 - low : 2 * pairs : 2].count(0)
        if pairs and high > pairs // 2 and begin[low : 2 * pairs : 2].count(0) <= pairs // 10:
            return encoding
    return ""


def _is_text(begin: bytes) -> bool:
    """Whether it has no NUL, as text in every other encoding, or is UTF-8 beside them."""
    return b"\0" not in begin or not _NO_TEXT.search(codecs.getincrementaldecoder("utf-8")("replace").decode(begin))


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


def _before_address(held: bytes, place: int) -> int:
    """Where an address begins whose password reaches over this place, or the place."""
    for found in _ADDRESS.finditer(held, max(0, place - _ADDRESS_BYTES), place + 2):
        password = _PASSWORD.match(held, found.end())
        if found.start() < place and password is not None and password.end() >= place:
            return found.start()
    return place
