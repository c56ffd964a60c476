"""Words: counts, lists, durations and hostile text, in one way everywhere.

Nothing here may let a control or direction character through to a reader: `visible` is the last gate before a page.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

__all__ = [
    "clip",
    "count_of",
    "duration",
    "joined",
    "number",
    "opening",
    "place",
    "shorten",
    "size_of",
    "span",
    "stamp",
    "visible",
    "word_of",
]

_LONGEST = 300
"""Characters of one text; what is longer says how much was left out."""

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff]"
)
"""Control, format, direction, filler, private and lone surrogate characters; newline and tab stay."""

_MARKS = "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
_STACK = re.compile(f"([{_MARKS}]{{3}})([{_MARKS}]+)")
"""More marks on one letter than any language writes: they would be drawn over the lines above and below."""

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def visible(text: str) -> str:
    """The text with every character that a reader could not see, or that could move or cover others, written out."""
    return _STACK.sub(_counted, _INVISIBLE.sub(_written_out, text))


def _counted(match: re.Match[str]) -> str:
    return f"{match.group(1)}[{number(len(match.group(2)))} more marks]"


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < ord(" "):
        return chr(ord("\u2400") + code)
    return "\u2421" if code == ord("\x7f") else f"[U+{code:04X}]"


def clip(text: str, longest: int = _LONGEST) -> str:
    """At most so many characters, and how many were left out; what holds nothing but blanks says so."""
    if text.isspace():
        return "(blank)"
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({number(len(text) - longest)} characters left out)"


def opening(text: str, longest: int) -> str:
    """As many whole sentences as fit; the first one clipped if not even that fits."""
    end = text.rfind(". ", 0, longest)
    return text if len(text) <= longest else text[: end + 1] if end > 0 else clip(text, longest)


def place(host: str, port: int) -> str:
    """`host:port`; the host alone where the port is not known, as for lookups and sockets of the machine."""
    return clip(f"{host}:{port}" if port else host, 120)


def shorten(texts: Iterable[str], most: int = 8) -> tuple[str, ...]:
    """The first few, each clipped, and how many were left out."""
    every = tuple(texts)
    kept = tuple(clip(text) for text in every[:most])
    return kept if len(every) <= most else (*kept, f"{number(len(every) - most)} more")


def number(value: int) -> str:
    """With thousands separated."""
    return f"{value:,}"


def count_of(value: int, one: str, many: str = "") -> str:
    """`1 run`, `2 runs`; small ones stay digits, because readers compare them with figures."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def word_of(value: int) -> str:
    """Small counts as a word, for sentences."""
    return _SMALL[value] if 0 <= value < len(_SMALL) else number(value)


def joined(texts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(texts) < 2:  # noqa: PLR2004 - because one text needs no `and`
        return "".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def stamp(time: datetime) -> str:
    """`2026-11-19 02:14 UTC`; every time in the ledger is UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def span(since: datetime, until: datetime) -> str:
    """Two times with as much of each as a reader needs."""
    if since.date() == until.date():
        return f"{since:%Y-%m-%d}, {since:%H:%M:%S} to {until:%H:%M:%S} UTC"
    return f"{stamp(since)} to {stamp(until)}"


def duration(milliseconds: int) -> str:
    """`340 ms`, `2.1 s`, `3 min`."""
    if milliseconds < 1000:  # noqa: PLR2004 - because a second has as many
        return f"{milliseconds} ms"
    if milliseconds < 120_000:  # noqa: PLR2004 - because two minutes are where seconds stop being read
        return f"{milliseconds / 1000:.1f} s"
    return f"{number(round(milliseconds / 60_000))} min"


def size_of(count: int) -> str:
    """`12 bytes`, `4 KiB`, `3 MiB`; rounded up, so that something never shows as nothing."""
    if count < 2048:  # noqa: PLR2004 - because below two KiB bytes are exact and short
        return count_of(count, "byte")
    if count < 2 * 1024 * 1024:
        return f"{number(-(-count // 1024))} KiB"
    return f"{number(-(-count // (1024 * 1024)))} MiB"
