"""Reads pinned and hashed requirements: pylock.toml, or a strict subset of requirements.txt and nothing else of it.

It must never pass text of the caller on to an installer: what is accepted is rendered anew from the parsed fields.
What pip and uv would take beside pins (options, addresses, paths, other files) is refused by file and line, because
each of them can move what is installed away from what was audited.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from ..errors import UsageError
from .fields import FieldError, read_digest, read_extras, read_marker, read_name, read_version
from .locks import make_lock
from .pylock import is_pylock, read_pylock
from .quoting import shown
from .types import Lock, Pin

MOST_BYTES = 4 * 1024 * 1024
MOST_PINS = 5_000
_LONGEST_REQUIREMENT = 2_000

_HINT = "give exact pins with hashes: make the file with `uv pip compile --generate-hashes FILE` or `pip-compile --generate-hashes FILE`"

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)[ \t]*"
    r"(?:\[(?P<extras>[A-Za-z0-9._, \t-]*)\][ \t]*)?"
    r"==(?!=)[ \t]*(?P<version>[A-Za-z0-9.!+_-]+)[ \t]*"
    r"(?:;(?P<marker>[A-Za-z0-9_.+!*<>=~()'\", \t-]+))?"
)
_HASH = re.compile(r"--hash=(?P<algorithm>[A-Za-z0-9_-]+):(?P<digest>[0-9A-Fa-f]+)")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_MISTAKES = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"://|^git\+|[\s\]A-Za-z0-9]@", "an address is not taken"),
        (r"^[./~\\]|^\S+\.(?:whl|zip|gz|bz2|txt)\b", "a path is not taken"),
        (r"===", "arbitrary equality is not taken"),
        (r"==[^;]*\*", "a wildcard is not taken"),
        (r"[^\x00-\x7f]", "letters beyond ASCII are not taken"),
        (r"^(?!.*==)|==[^;]*,|[<>~!][^;]*==", "not pinned to one exact version"),
    )
)


class _Line(NamedTuple):
    """One logical line and the number of its first physical line."""

    number: int
    text: str


def parse_requirements(text: bytes, *, name: str) -> Lock:
    """The lock that a pinned and hashed requirements text, or a pylock.toml, stands for.

    Args:
        text: the file's bytes; nothing but white space is the empty lock.
        name: how the file is called in messages.

    Raises:
        UsageError: with file and line, for everything that is not an exact pin with SHA-256 hashes.
    """
    source = _decode(text, name)
    if is_pylock(source):
        return read_pylock(source, name=name)
    pins: dict[str, Pin] = {}
    for line in _logical_lines(source, name):
        pin = _read_pin(line, name)
        if pin.name in pins:
            _refuse(name, line.number, f"{shown(pin.name)} is pinned twice")
        if len(pins) >= MOST_PINS:
            _refuse(name, line.number, f"more than {MOST_PINS} packages are not taken")
        pins[pin.name] = pin
    if not pins and source.strip():
        # not the empty lock: a file of comments is more often a mistake than a wish to run without packages
        _refuse(name, 1, "no package is pinned here")
    return make_lock(pins.values(), source="requirements.txt" if pins else "none")


def _refuse(name: str, number: int, reason: str) -> NoReturn:
    raise UsageError(f"{shown(name)}, line {number}: {reason}", hint=_HINT)


def _decode(text: bytes, name: str) -> str:
    if len(text) > MOST_BYTES:
        raise UsageError(f"{shown(name)} is larger than {MOST_BYTES // 1024 // 1024} MiB", hint=_HINT)
    if text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        _refuse(name, 1, "a byte-order mark is not taken")
    try:
        source = text.decode("utf-8")
    except UnicodeDecodeError as error:
        number = text.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown(name)}, line {number}: the text is not UTF-8", hint=_HINT) from error
    source = source.replace("\r\n", "\n")
    if (at := source.find("\r")) >= 0:
        _refuse(name, source.count("\n", 0, at) + 1, "a lone carriage return is not taken")
    if found := _CONTROL.search(source):
        what = "a NUL byte" if found.group() == "\0" else f"control character {ord(found.group()):#04x}"
        _refuse(name, source.count("\n", 0, found.start()) + 1, f"{what} is not taken")
    return source


def _logical_lines(source: str, name: str) -> Iterator[_Line]:
    """Lines without comments, continuations joined.

    A comment that ends in a backslash swallows the next line for pip and not for others: it is refused.
    """
    parts: list[str] = []
    start = 0
    for number, raw in enumerate(source.split("\n"), 1):
        bare = _COMMENT.sub("", raw).rstrip()
        if bare != raw.rstrip() and raw.rstrip().endswith("\\"):
            _refuse(name, number, "a comment must not end in a backslash")
        start = start if parts else number
        if bare.endswith("\\"):
            parts.append(bare[:-1])
            continue
        if parts and not bare.strip():
            _refuse(name, number, "the line before ends in a backslash, but nothing follows")
        joined = " ".join([*parts, bare]).strip()
        parts.clear()
        if joined:
            yield _Line(start, joined)
    if parts:
        _refuse(name, start, "the last line ends in a backslash, but nothing follows")


def _read_pin(line: _Line, name: str) -> Pin:
    requirement, _, options = line.text.partition(" --")
    requirement = requirement.strip()
    found = _REQUIREMENT.fullmatch(requirement) if len(requirement) <= _LONGEST_REQUIREMENT else None
    if found is None or line.text.startswith("-"):
        _refuse(name, line.number, _what_is_wrong(requirement or line.text))
    extras = [extra.strip() for extra in (found["extras"] or "").split(",")]
    try:
        return Pin(
            name=read_name(found["name"]),
            version=read_version(found["version"]),
            hashes=_read_hashes(f"--{options}" if options else ""),
            marker=read_marker(found["marker"] or ""),
            extras=read_extras(extras if extras != [""] else []),
        )
    except FieldError as error:
        raise UsageError(f"{shown(name)}, line {line.number}: {error}", hint=_HINT) from error


def _read_hashes(options: str) -> tuple[str, ...]:
    digests: set[str] = set()
    for option in options.split():
        found = _HASH.fullmatch(option)
        if found is None:
            raise FieldError(f"option {shown(option)} is not taken")
        digests.add(read_digest(found["algorithm"], found["digest"]))
    if not digests:
        raise FieldError("the pin has no hash")
    return tuple(sorted(digests))


def _what_is_wrong(text: str) -> str:
    """The most helpful reason for a line that is not a pin."""
    if text.startswith("-"):
        return f"option {shown(text.split(maxsplit=1)[0])} is not taken"
    for pattern, reason in _MISTAKES:
        if pattern.search(text):
            return f"{reason}: {shown(text)}"
    return f"not a pinned requirement: {shown(text)}"
