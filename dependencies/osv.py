"""Reads one advisory record in the OSV format, strictly, and says what is wrong with one that cannot be read.

It must never drop a record silently: it is read, or it is not about PyPI, or it is quarantined with a reason and
with the packages that it names, so that nobody takes these packages for clean.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from .severity import Rating, rate, words_in

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_PLAIN_RELEASE = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,12}")
"""Most versions: their key is found 20 times faster than by parsing them."""
_TRAILING_ZEROS = re.compile(r"(?:\.0)+\Z")
_LONGEST_VERSION = 128
_LONGEST_SUMMARY = 200
_MOST_VERSIONS = 20_000
_MOST_EVENTS = 2_000
_KINDS = ("introduced", "fixed", "last_affected", "limit")


@dataclass(frozen=True, slots=True)
class Bound:
    """One event of a range."""

    kind: str
    """`introduced`, `fixed`, `last_affected` or `limit`."""
    version: str


@dataclass(frozen=True, slots=True)
class Extent:
    """Which versions of one package an advisory is about."""

    package: str
    """Canonical (PEP 503)."""
    versions: tuple[str, ...]
    """Enumerated ones, each as its `version_key`."""
    ranges: tuple[tuple[Bound, ...], ...]
    unevaluable: str
    """Why the extent cannot be judged for every version; empty if it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One advisory, as far as it is about packages of PyPI."""

    id: str
    aliases: tuple[str, ...]
    modified: datetime | None
    """None where the record gives no sensible time."""
    withdrawn: bool
    summary: str
    rating: Rating
    malicious: bool
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that could not be read."""

    id: str
    reason: str
    packages: tuple[str, ...] = ()
    """What it seems to be about: pins of these packages are undetermined."""


class Foreign:
    """A record about other ecosystems only."""


class _BadRecordError(ValueError):
    """Why a record cannot be used."""


def read_record(value: object) -> Record | Quarantined | Foreign:
    """The record in this JSON value."""
    try:
        record = _read(value)
    except _BadRecordError as error:
        return Quarantined(_seeming_id(value), str(error), _seeming_packages(value))
    return record if record.extents or record.withdrawn else Foreign()


def _read(value: object) -> Record:
    if not isinstance(value, dict):
        raise _BadRecordError("not an object")
    identity = value.get("id")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise _BadRecordError("no usable `id`")
    version = value.get("schema_version", "1")
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise _BadRecordError("a schema version other than 1")
    withdrawn = value.get("withdrawn") is not None
    # an alias that is no id says nothing to anybody; the record is good without it
    aliases = tuple(dict.fromkeys(alias for alias in _texts(value, "aliases") if _ID.fullmatch(alias)))
    affected = _mappings(value, "affected")
    if not affected and not withdrawn:
        raise _BadRecordError("nothing is said to be affected")
    ours = [entry for entry in affected if _is_of_pypi(entry)]
    return Record(
        id=identity,
        aliases=tuple(alias for alias in aliases if alias != identity),
        modified=_read_time(value.get("modified")),
        withdrawn=withdrawn,
        summary=_read_summary(value),
        rating=_read_rating(value, ours),
        malicious=any(name.upper().startswith("MAL-") for name in (identity, *aliases)),
        extents=_read_extents(ours),
    )


def _mappings(table: Mapping[str, object], key: str) -> list[dict[str, object]]:
    value = table.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _BadRecordError(f"`{key}` is not a list of objects")
    return value


def _texts(table: Mapping[str, object], key: str) -> list[str]:
    value = table.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _BadRecordError(f"`{key}` is not a list of texts")
    return value


def _is_of_pypi(entry: Mapping[str, object]) -> bool:
    package = entry.get("package")
    if not isinstance(package, dict):
        raise _BadRecordError("an affected entry without a package")
    ecosystem = package.get("ecosystem")
    if not isinstance(ecosystem, str):
        raise _BadRecordError("an affected entry without an ecosystem")
    # some ecosystems carry a suffix, as in `PyPI:` and the index it means
    return ecosystem.split(":")[0].lower() == "pypi"


def _read_extents(entries: list[dict[str, object]]) -> tuple[Extent, ...]:
    """One extent a package: several entries about the same package are one union."""
    merged: dict[str, Extent] = {}
    for entry in entries:
        extent = _read_extent(entry)
        before = merged.get(extent.package)
        if before is not None:
            extent = Extent(
                extent.package,
                tuple(dict.fromkeys(before.versions + extent.versions)),
                before.ranges + extent.ranges,
                before.unevaluable or extent.unevaluable,
            )
        merged[extent.package] = extent
    return tuple(merged.values())


def _read_extent(entry: dict[str, object]) -> Extent:
    package = entry["package"]
    name = package.get("name") if isinstance(package, dict) else None
    if not isinstance(name, str) or not _PACKAGE.fullmatch(name):
        raise _BadRecordError("an unusable package name")
    versions = _texts(entry, "versions")
    if len(versions) > _MOST_VERSIONS or any(len(version) > _LONGEST_VERSION for version in versions):
        raise _BadRecordError("too many or too long versions")
    ranges: list[tuple[Bound, ...]] = []
    problem = ""
    for item in _mappings(entry, "ranges"):
        kind = item.get("type")
        if kind == "GIT":
            continue  # commits say nothing about released versions
        if kind not in {"ECOSYSTEM", "SEMVER"}:
            problem = problem or "a range of an unknown type"
            continue
        bounds, trouble = _read_events(item)
        ranges.append(bounds)
        problem = problem or trouble
    if not versions and not ranges and not problem:
        problem = "the advisory gives neither versions nor ranges"
    return Extent(canonicalize_name(name), tuple(dict.fromkeys(map(version_key, versions))), tuple(ranges), problem)


def _read_events(item: dict[str, object]) -> tuple[tuple[Bound, ...], str]:
    events = _mappings(item, "events")
    if len(events) > _MOST_EVENTS:
        raise _BadRecordError("too many events in a range")
    bounds: list[Bound] = []
    problem = "" if events else "a range without events"
    for event in events:
        pairs = [(kind, event[kind]) for kind in _KINDS if kind in event]
        if not pairs:
            problem = problem or "a range has an empty event"
        for kind, version in pairs:
            if kind == "limit" and version == "*":
                continue  # no limit
            if isinstance(version, str) and is_version(version):
                bounds.append(Bound(kind, version))
            else:
                problem = problem or "a range has a bound that is not a version (PEP 440)"
    if bounds and all(bound.kind != "introduced" for bound in bounds):
        problem = problem or "a range does not say where it begins"
    return tuple(bounds), problem


def is_version(text: str) -> bool:
    """Whether the text is a version (PEP 440) of sensible length."""
    if len(text) > _LONGEST_VERSION:
        return False
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def canonical_version(text: str) -> str:
    """The version in canonical spelling, or the text itself where it is none."""
    return str(Version(text)) if is_version(text) else text


def version_key(text: str) -> str:
    """The same text for all spellings of one version (1.0 and 1.0.0 are one); the text itself where it is no version."""
    if _PLAIN_RELEASE.fullmatch(text):
        return _TRAILING_ZEROS.sub("", text)
    return canonicalize_version(text) if is_version(text) else text


def _read_rating(value: Mapping[str, object], entries: list[dict[str, object]]) -> Rating:
    tables = [value, *entries]
    vectors = list(_vectors(tables))
    words = words_in(*(table.get(key) for table in tables for key in ("database_specific", "ecosystem_specific")))
    return rate(vectors, words)


def _vectors(tables: list[Mapping[str, object]]) -> Iterator[str]:
    for table in tables:
        severities = table.get("severity")
        # a broken severity makes the severity unknown, not the record unusable
        for item in severities if isinstance(severities, list) else []:
            if isinstance(item, dict) and isinstance(score := item.get("score"), str):
                yield score


def _read_summary(value: Mapping[str, object]) -> str:
    for key in ("summary", "details"):
        text = value.get(key)
        if isinstance(text, str) and text.strip():
            line = "".join(c if c.isprintable() else " " for c in text.strip().split("\n", 1)[0])
            return line[:_LONGEST_SUMMARY].strip()
    return ""


def _read_time(value: object) -> datetime | None:
    """The time in RFC 3339; None for what is none, and for the year 1 that some records carry."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time if time.year > 1990 else None  # noqa: PLR2004 - because no advisory is older than PyPI


def _seeming_id(value: object) -> str:
    identity = value.get("id") if isinstance(value, dict) else None
    return identity[:128] if isinstance(identity, str) else ""


def _seeming_packages(value: object) -> tuple[str, ...]:
    """Package names that can be made out in a record that is otherwise unreadable."""
    affected = value.get("affected") if isinstance(value, dict) else None
    names: list[str] = []
    for entry in affected if isinstance(affected, list) else []:
        package = entry.get("package") if isinstance(entry, dict) else None
        name = package.get("name") if isinstance(package, dict) else None
        if isinstance(name, str) and _PACKAGE.fullmatch(name):
            names.append(canonicalize_name(name))
    return tuple(dict.fromkeys(names))
