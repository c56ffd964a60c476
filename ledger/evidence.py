"""Opening a database as evidence: without changing it, also on a medium or in a directory that cannot be written.

It must never be used for the ledger's own work: what it opens may come from anybody.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, create_mock_engine
from sqlalchemy.exc import DBAPIError

from ..errors import LedgerError
from .database import make_engine, reading, rows
from .findings import Findings
from .tables import METADATA, REVISION, TRIGGERS

__all__ = [
    "Evidence",
    "check_schema",
    "damage_of",
    "opened_as_evidence",
    "orphans_of",
    "strange_companions",
    "unreadable",
]

_WAIT_SECONDS = 5.0
_COPY_ATTEMPTS = 5
_MOST_ORPHANS = 100
_ALEMBIC_TABLE = (
    "CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n\t"
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)"
)
_MACHINE_FAULTS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_CANTOPEN,
}


class Evidence(NamedTuple):
    """A database that was opened for reading, in one transaction."""

    connection: Connection
    uri: str
    """Where others may open it in the same way, as long as this is open."""


@contextmanager
def opened_as_evidence(database: Path) -> Iterator[Evidence]:
    """One read transaction on the database as it lies there, including what is still in its write-ahead log."""
    database = Path(os.path.realpath(database))  # behind a link the log lies beside the file, not beside the link
    plain = database.absolute().as_uri() + "?mode=ro"
    if _opens(plain):
        yield from _connected(plain)
        return
    log = database.with_name(database.name + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        # nothing is waiting in the log and nobody can write here: the file is all there is
        yield from _connected(plain + "&immutable=1")
        return
    with tempfile.TemporaryDirectory(prefix="custody-verify-") as folder:
        copy = Path(folder) / "copy.db"
        _copy_at_rest(((database, copy), (log, copy.with_name("copy.db-wal"))))
        yield from _connected(copy.as_uri() + "?mode=rw")


def strange_companions(database: Path) -> list[str]:
    """What lies where SQLite keeps its logs and is no file: it would be opened with the database, and perhaps waited for."""
    database = Path(os.path.realpath(database))
    places = [database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", "-journal")]
    return [
        f"beside the database lies `{place.name}`, which is not a plain file"
        for place in places
        if os.path.lexists(place) and not place.is_file()
    ]


def unreadable(error: Exception) -> str | None:
    """What is wrong with the file itself; None if the machine failed and not the file."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", 0)
    if code & 0xFF in _MACHINE_FAULTS and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return None
    return "a value is longer than any may be" if code == sqlite3.SQLITE_TOOBIG else str(origin)


def check_schema(connection: Connection, findings: Findings) -> bool:
    """Compare tables, indexes and triggers with this release's; False if the tables are not ours and must not be read."""
    found = {
        (str(kind), str(name)): sql for kind, name, sql in rows(connection, "SELECT type, name, sql FROM sqlite_schema")
    }
    expected = _expected_schema()
    differing = sorted(key for key in found.keys() | expected.keys() if found.get(key, "-") != expected.get(key, "-"))
    for kind, name in differing:
        state = "missing" if (kind, name) not in found else "foreign" if (kind, name) not in expected else "changed"
        findings.add("schema-changed", f"the {kind} `{name}` of the database is {state}")
    if any(kind in {"table", "view"} for kind, _name in differing):
        return False
    revisions = [revision for (revision,) in rows(connection, "SELECT version_num FROM alembic_version")]
    if revisions != [REVISION]:
        findings.add("schema-changed", f"the database names the schema {revisions!r}, not {REVISION}")
    findings.checks.append("tables, indexes and triggers are those of this release")
    return True


def damage_of(connection: Connection) -> list[str]:
    """What SQLite's own check of the file says: damage that no query of ours would touch."""
    return [
        f"SQLite's integrity check says: {str(line)[:200]}"
        for (line,) in rows(connection, "PRAGMA integrity_check")
        if line != "ok"
    ]


def orphans_of(connection: Connection) -> list[str]:
    """Rows that refer to entries that are not there; a walk over everything that finds nothing has shown that there are none."""
    found = rows(connection, "PRAGMA foreign_key_check")
    return [
        f"row {row_id} of `{table}` refers to an entry that is not there"
        for table, row_id, *_rest in islice(found, _MOST_ORPHANS)
    ]


@cache
def _expected_schema() -> dict[tuple[str, str], object]:
    statements: list[str] = []

    def collect(statement: object, *_args: object, **_kwargs: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))  # type: ignore[attr-defined]  # because SQLAlchemy passes any DDL

    engine = create_mock_engine("sqlite://", collect)
    METADATA.create_all(engine, checkfirst=False)
    memory = sqlite3.connect(":memory:")
    try:
        for statement in (_ALEMBIC_TABLE, *statements, *TRIGGERS):
            memory.execute(statement)
        found = memory.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    finally:
        memory.close()
    return {(kind, name): sql for kind, name, sql in found}


def _copy_at_rest(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Copy files that belong together, as they were at one moment: whoever writes them elsewhere moves pages from one to the other."""
    for _ in range(_COPY_ATTEMPTS):
        before = [_state_of(source) for source, _target in pairs]
        for source, target in pairs:
            shutil.copyfile(source, target)
        if before == [_state_of(source) for source, _target in pairs]:
            return
    raise LedgerError(
        f"`{pairs[0][0]}` is written all the time, and nothing can be locked where it is seen from",
        hint="verify it where it is written, or verify a copy that was made while nobody wrote",
    )


def _state_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _opens(uri: str) -> bool:
    """Whether SQLite can read there; damage is found later, by the checks."""
    engine = make_engine(uri, wait_seconds=_WAIT_SECONDS, read_only=True)
    try:
        with reading(engine) as connection:
            list(rows(connection, "SELECT count(*) FROM sqlite_schema"))
    except (DBAPIError, sqlite3.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
        # the last two: on a full disk SQLite cannot make the index of its log beside it
        return code not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
    else:
        return True
    finally:
        engine.dispose()


def _connected(uri: str) -> Iterator[Evidence]:
    engine = make_engine(uri, wait_seconds=_WAIT_SECONDS, read_only=True)
    try:
        with reading(engine) as connection:
            yield Evidence(connection, uri)
    finally:
        engine.dispose()
