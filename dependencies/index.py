"""The embedded advisory index: one SQLite file, built once, read from memory.

It must never be changed after it was built: a new import builds a new file, and what is read is exactly the bytes
whose digest was checked.
"""

import hashlib
import sqlite3
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import orjson
from packaging.version import Version

from ..errors import DependencyError
from .matching import Judge, Verdict
from .osv import Bound, Extent, Quarantined, Record
from .severity import Rating, strongest
from .types import Severity

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE advisory (id TEXT PRIMARY KEY, modified TEXT NOT NULL, withdrawn INTEGER NOT NULL, aliases TEXT NOT NULL,
        severity TEXT NOT NULL, severity_source TEXT NOT NULL, summary TEXT NOT NULL, malicious INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE extent (package TEXT, id TEXT, versions TEXT NOT NULL, ranges TEXT NOT NULL, unevaluable TEXT NOT NULL,
        PRIMARY KEY (package, id)) WITHOUT ROWID;
    CREATE TABLE quarantined (package TEXT, id TEXT, reason TEXT NOT NULL);
"""
_INDEXES = "CREATE INDEX quarantined_package ON quarantined (package);"
_HINT = "import advisory data again: `custody advisories import FILE`"
_MOST_CACHED = 4_096


class Built(NamedTuple):
    """What went into a new index."""

    sha256: str
    records: int
    quarantined: int
    as_of: datetime | None
    """The newest change of any record."""


@dataclass(frozen=True, slots=True)
class Match:
    """One advisory that concerns a version."""

    id: str
    aliases: tuple[str, ...]
    rating: Rating
    summary: str
    malicious: bool
    certain: bool
    """False where the advisory cannot be judged for this version."""
    reason: str
    """Why it cannot."""
    fixed_in: tuple[str, ...]
    """Later versions in which it is fixed, nearest first."""


class _Row(NamedTuple):
    id: str
    aliases: tuple[str, ...]
    rating: Rating
    summary: str
    malicious: bool
    judge: Judge


def build_index(path: Path, records: Iterable[Record | Quarantined]) -> Built:
    """Writes a new index file and says what is in it; of two records with one id the second is quarantined."""
    kept: dict[str, Record] = {}
    refused: list[Quarantined] = []
    for record in records:
        if isinstance(record, Quarantined):
            refused.append(record)
        elif (before := kept.setdefault(record.id, record)) is not record and before != record:
            packages = tuple(extent.package for extent in record.extents)
            refused.append(Quarantined(record.id, "a second record of this id", packages))
    connection = sqlite3.connect(path)
    try:
        connection.executescript(_SCHEMA)
        with connection:
            _write(connection, kept, refused)
        connection.executescript(_INDEXES)
    finally:
        connection.close()
    return Built(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        records=len(kept),
        quarantined=len(refused),
        as_of=max((record.modified for record in kept.values() if record.modified is not None), default=None),
    )


def _write(connection: sqlite3.Connection, records: dict[str, Record], refused: list[Quarantined]) -> None:
    connection.executemany(
        "INSERT INTO advisory VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                record.id,
                record.modified.isoformat() if record.modified else "",
                record.withdrawn,
                orjson.dumps(record.aliases).decode(),
                rating.severity,
                rating.source,
                record.summary,
                record.malicious,
            )
            for record in records.values()
            for rating in [_rating_with_aliases(record, records)]
        ),
    )
    connection.executemany(
        "INSERT INTO extent VALUES (?, ?, ?, ?, ?)",
        (
            (
                extent.package,
                record.id,
                orjson.dumps(extent.versions).decode(),
                orjson.dumps([[[bound.kind, bound.version] for bound in bounds] for bounds in extent.ranges]).decode(),
                extent.unevaluable,
            )
            for record in records.values()
            for extent in record.extents
        ),
    )
    connection.executemany(
        "INSERT INTO quarantined VALUES (?, ?, ?)",
        ((package, record.id, record.reason) for record in refused for package in record.packages or ("",)),
    )


def _rating_with_aliases(record: Record, records: dict[str, Record]) -> Rating:
    """The record's own rating, or the score of the same vulnerability under another id."""
    others = [records[alias].rating for alias in record.aliases if alias in records]
    scored = [
        Rating(rating.severity, f"alias_{rating.source}") for rating in others if rating.source in {"cvss4", "cvss3"}
    ]
    return strongest([record.rating, *scored])


class AdvisoryIndex:
    """An index file, opened for reading after its digest was checked.

    Args:
        path: the file.
        sha256: the digest that it must have, hex.

    Raises:
        DependencyError: the file is missing or is not what was built.
    """

    def __init__(self, path: Path, *, sha256: str) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DependencyError("the advisory index cannot be read", hint=_HINT) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DependencyError("the advisory index is not what was imported: its digest is wrong", hint=_HINT)
        self.sha256 = sha256
        # INVARIANT: read from these very bytes, so that the file cannot change between check and use
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        self._connection.deserialize(content)
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[_Row, ...]] = {}

    def matches(self, package: str, version: str) -> tuple[Match, ...]:
        """Advisories that concern this version of the package (canonical name), withdrawn ones left out; sorted by id."""
        candidate = Version(version)
        found: list[Match] = []
        for row in self._rows_of(package):
            verdict = row.judge.judge(candidate)
            if verdict is Verdict.UNAFFECTED:
                continue
            certain = verdict is Verdict.AFFECTED
            fixed = tuple(str(fix) for fix in row.judge.fixes if fix > candidate)
            reason = "" if certain else row.judge.unevaluable
            found.append(Match(row.id, row.aliases, row.rating, row.summary, row.malicious, certain, reason, fixed))
        return tuple(found)

    def quarantined(self, package: str) -> tuple[str, ...]:
        """Why advisories that seem to be about this package could not be read: id and reason of each."""
        with self._lock:
            rows = self._execute(
                "SELECT id, reason FROM quarantined WHERE package = ? ORDER BY id, reason LIMIT 20", package
            )
        return tuple(f"{row[0] or 'a record without an id'}: {row[1]}" for row in rows)

    def samples(self, count: int) -> list[tuple[str, Extent]]:
        """Some advisories with what they are about, spread over the index, for its self-test: (id, extent)."""
        with self._lock:
            rows = self._execute(
                "SELECT e.package, e.id, e.versions, e.ranges, e.unevaluable FROM extent e JOIN advisory a USING (id)"
                " WHERE NOT a.withdrawn ORDER BY e.unevaluable <> '', e.id LIMIT ?",
                count,
            )
        return [(str(row[1]), _read_extent(row[0], *row[2:])) for row in rows]

    def _rows_of(self, package: str) -> tuple[_Row, ...]:
        with self._lock:
            rows = self._rows.get(package)
            if rows is None:
                if len(self._rows) >= _MOST_CACHED:
                    self._rows.clear()
                rows = self._rows[package] = self._load(package)
            return rows

    def _load(self, package: str) -> tuple[_Row, ...]:
        return tuple(
            _Row(
                id=row[0],
                aliases=tuple(orjson.loads(row[1])),
                rating=Rating(Severity(row[2]), row[3]),
                summary=row[4],
                malicious=bool(row[5]),
                judge=Judge(_read_extent(package, *row[6:])),
            )
            for row in self._execute(
                "SELECT a.id, a.aliases, a.severity, a.severity_source, a.summary, a.malicious, e.versions, e.ranges, e.unevaluable"
                " FROM extent e JOIN advisory a USING (id) WHERE e.package = ? AND NOT a.withdrawn ORDER BY a.id",
                package,
            )
        )

    def _execute(self, statement: str, parameter: str | int) -> list[tuple[str, ...]]:
        try:
            return self._connection.execute(statement, (parameter,)).fetchall()
        except sqlite3.Error as error:
            raise DependencyError("the advisory index cannot be read", hint=_HINT) from error


def _read_extent(package: str, versions: str, ranges: str, unevaluable: str) -> Extent:
    bounds = tuple(tuple(Bound(kind, version) for kind, version in part) for part in orjson.loads(ranges))
    return Extent(package, tuple(orjson.loads(versions)), bounds, unevaluable)
