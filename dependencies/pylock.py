"""Reads pylock.toml (PEP 751) into pins: names, versions, markers and the hashes of wheels, and nothing else of it.

It must never follow an address of the file: where wheels come from is configured, and their hashes have to fit.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import NoReturn

from ..errors import UsageError
from .fields import FieldError, read_digest, read_marker, read_name, read_version
from .locks import make_lock
from .quoting import shown
from .types import Lock, Pin

_MOST_PINS = 5_000
_HINT = "make it with `uv pip compile --format pylock.toml --only-binary :all: FILE`"
_SIGN = re.compile(r"^lock-version[ \t]*=", re.MULTILINE)
_ELSEWHERE = ("vcs", "directory", "archive")


def is_pylock(text: str) -> bool:
    """Whether this is meant as pylock.toml; no line of a requirements file looks like its first key."""
    return _SIGN.search(text) is not None


def read_pylock(text: str, *, name: str) -> Lock:
    """The lock in a pylock.toml.

    Raises:
        UsageError: naming the package, for everything that is not an exact pin with wheels and their SHA-256.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown(name)} is not TOML: {shown(str(error))}", hint=_HINT) from error
    if str(table.get("lock-version")).split(".")[0] != "1":
        _refuse(name, "a lock version other than 1 is not taken")
    packages = table.get("packages")
    if not isinstance(packages, list) or not packages or len(packages) > _MOST_PINS:
        _refuse(name, f"there have to be 1 to {_MOST_PINS} packages")
    if len({str(package.get("index")) for package in packages if isinstance(package, dict)}) > 1:
        # which index a name belongs to would be the file's choice
        _refuse(name, "packages of more than one index are not taken")
    pins: dict[str, Pin] = {}
    for package in packages:
        pin = _read_package(package, name)
        if pin.name in pins:
            _refuse(name, f"{shown(pin.name)} is pinned twice")
        pins[pin.name] = pin
    return make_lock(pins.values(), source="pylock.toml")


def _refuse(name: str, reason: str) -> NoReturn:
    raise UsageError(f"{shown(name)}: {reason}", hint=_HINT)


def _read_package(package: object, name: str) -> Pin:
    if not isinstance(package, dict):
        _refuse(name, "a package is not a table")
    label = shown(str(package.get("name")))
    if elsewhere := [key for key in _ELSEWHERE if key in package]:
        _refuse(name, f"package {label} comes from {shown(elsewhere[0])}, not from an index")
    texts = {key: package.get(key, "") for key in ("name", "version", "marker")}
    if not all(isinstance(text, str) for text in texts.values()):
        _refuse(name, f"package {label} has a field that is no text")
    try:
        return Pin(
            name=read_name(texts["name"]),
            version=read_version(texts["version"]),
            hashes=_read_wheels(package.get("wheels")),
            marker=_read_marker(texts["marker"]),
        )
    except FieldError as error:
        raise UsageError(f"{shown(name)}: package {label}: {error}", hint=_HINT) from error


def _read_marker(text: str) -> str:
    if re.search(r"\b(?:extras|dependency_groups)\b", text):
        raise FieldError("markers about extras or dependency groups are not taken")
    return read_marker(text)


def _read_wheels(wheels: object) -> tuple[str, ...]:
    """The hashes of all wheels; those of source distributions are left out, so that none can be installed."""
    if not isinstance(wheels, list) or not wheels:
        raise FieldError("it has no wheels")
    return tuple(sorted({digest for wheel in wheels for digest in _read_hashes(wheel)}))


def _read_hashes(wheel: object) -> Iterable[str]:
    hashes = wheel.get("hashes") if isinstance(wheel, dict) else None
    if not isinstance(hashes, Mapping) or not isinstance(hashes.get("sha256"), str):
        raise FieldError("a wheel has no sha256 hash")
    yield read_digest("sha256", hashes["sha256"])
