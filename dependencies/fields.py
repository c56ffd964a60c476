"""The fields of a pin, checked one by one: what every kind of lock has in common.

It must never let a character through that could end a field when the pin is rendered again.
"""

import re
from collections.abc import Iterable

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from .quoting import shown

_LONGEST_VERSION = 128
"""Longer ones are no versions; it also keeps the numbers in them below what int() refuses."""
_LONGEST_MARKER = 1_000
_DEEPEST_MARKER = 20
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+")
_MARKER = re.compile(r"[A-Za-z0-9_.+!*<>=~()'\", \t-]*")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


class FieldError(ValueError):
    """What is wrong with a field, as part of a sentence."""


def read_name(text: str) -> str:
    """The canonical name of a package."""
    if not _NAME.fullmatch(text):
        raise FieldError(f"{shown(text)} is not the name of a package")
    return canonicalize_name(text)


def read_version(text: str) -> str:
    """The version as given."""
    if len(text) <= _LONGEST_VERSION and _VERSION.fullmatch(text):
        try:
            Version(text)
        except InvalidVersion:
            pass
        else:
            return text
    raise FieldError(f"{shown(text)} is not a version (PEP 440)")


def read_digest(algorithm: str, digest: str) -> str:
    """The hash as `sha256:` and hex digits."""
    if algorithm != "sha256" or not _SHA256.fullmatch(digest):
        raise FieldError(f"only sha256 hashes are taken: {shown(f'{algorithm}:{digest}')}")
    return "sha256:" + digest.lower()


def read_extras(texts: Iterable[str]) -> tuple[str, ...]:
    """Canonical names of extras, sorted."""
    names = set()
    for text in texts:
        if not _NAME.fullmatch(text):
            raise FieldError(f"{shown(text)} is not the name of an extra")
        names.add(canonicalize_name(text))
    return tuple(sorted(names))


def read_marker(text: str) -> str:
    """The environment marker as canonical text; empty for none."""
    text = text.strip()
    if not text:
        return ""
    # with one kind of quotes no value can hold a quote, which str() would render as the end of the value
    plain = _MARKER.fullmatch(text) and not ("'" in text and '"' in text)
    if plain and len(text) <= _LONGEST_MARKER and text.count("(") <= _DEEPEST_MARKER:
        try:
            return str(Marker(text))
        except InvalidMarker:
            pass
    raise FieldError(f"{shown(text)} is not an environment marker (PEP 508) with one kind of quotes")
