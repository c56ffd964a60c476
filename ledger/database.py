"""Connections to the database file: durable, one writer at a time, and errors in plain words.

SQLAlchemy's default on SQLite begins no transaction before the first write, so that reading, computing and writing in two
processes silently loses updates (tests/ledger shows it). Here every transaction begins itself: `BEGIN IMMEDIATE` for writing.
It must never create a database by opening one, and never weaken `synchronous=FULL`: an acknowledged entry survives a power cut.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ..errors import ConfigurationError, EvidenceError, LedgerError
from .bounds import LONGEST_VALUE
from .tables import REVISION, TRIGGERS

__all__ = [
    "Row",
    "all_rows",
    "in_plain_words",
    "make_engine",
    "reading",
    "require_file",
    "require_schema",
    "rows",
    "write",
]

Row = tuple[object, ...]

_READING = "custody_reading"
_PAGE = 128
_SHARED_MEMORY_BYTES = 32 * 1024
"""What SQLite wants at least beside a database in WAL mode (sqlite.org/walformat.html, 2)."""


def make_engine(uri: str, *, wait_seconds: float, read_only: bool) -> Engine:
    """An engine on a `file:` URI of SQLite; nothing is opened yet."""

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=wait_seconds, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_reset_on_return="rollback")

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        only_reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if only_reading else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that sees one state of the database and blocks nobody."""
    with engine.connect().execution_options(**{_READING: True}) as connection, connection.begin():
        yield connection


def rows(connection: Connection, statement: str, parameters: Row = ()) -> Iterator[Row]:
    """Rows straight from the driver, one by one; the driver's own errors may come with any of them."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
        while page := cursor.fetchmany(_PAGE):
            yield from page
    finally:
        with suppress(sqlite3.ProgrammingError):  # an error elsewhere may have closed the database before this was done
            cursor.close()


def all_rows(connection: Connection, statement: str, parameters: Row = ()) -> list[Row]:
    """The same at once, for statements that bound their own number of rows."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
        found: list[Row] = list(cursor.fetchall())
    finally:
        with suppress(sqlite3.ProgrammingError):
            cursor.close()
    return found


def write(connection: Connection, statement: str, parameters: Sequence[Row]) -> None:
    """One statement for each row, straight to the driver, within the connection's transaction."""
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(statement, parameters)
    finally:
        with suppress(sqlite3.ProgrammingError):
            cursor.close()


def require_schema(connection: Connection, database: Path) -> None:
    """Refuse a database that another release made, or in which somebody's own triggers or views would work along with us."""
    found = [row[0] for row in rows(connection, "SELECT version_num FROM alembic_version")]
    if found != [REVISION]:
        shown = ", ".join(str(revision) for revision in found) or "none"
        raise LedgerError(
            f"the ledger `{database}` has schema {shown}, this release of custody knows {REVISION}",
            hint="use the release of custody that wrote it, or a newer one",
        )
    for name, statement in rows(connection, "SELECT name, sql FROM sqlite_schema WHERE type IN ('trigger', 'view')"):
        if statement not in TRIGGERS:
            raise EvidenceError(
                f"the ledger `{database}` holds `{str(name)[:60]!a}`, which is not of this release and would do something of its own",
                hint="keep it as it is and run `custody verify` against an outside pin: the file was changed",
            )


@contextmanager
def in_plain_words(database: Path) -> Iterator[None]:
    """Errors of the driver and of the file system as LedgerErrors."""
    try:
        yield
    except DBAPIError as error:
        raise _explain(error.orig, database) from error
    except sqlite3.Error as error:
        raise _explain(error, database) from error
    except OSError as error:
        raise LedgerError(
            f"the ledger's files cannot be used: {error.strerror}: `{error.filename or database}`",
            hint="look at the disk's free space and at the owner and mode of the files",
        ) from error


def require_file(database: Path) -> None:
    """Refuse where there is no database."""
    if not database.is_file():
        raise ConfigurationError(
            f"there is no ledger at `{database}`",
            hint="put it back from the copy that you keep, it cannot be made again; `custody init` makes a home only where there is none",
        )


_MEANINGS = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "try again; if it stays, look for who holds it open"),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "try again"),
    sqlite3.SQLITE_READONLY: ("is read-only", "look at the owner and mode of the file, its directory and the mount"),
    sqlite3.SQLITE_FULL: ("has no room left on its disk", "free some space; what was about to be recorded is not"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written by the disk", "look at the machine's own log"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "look at the owner and mode of the file and its directory"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "keep it as it is and run `custody verify`"),
    sqlite3.SQLITE_TOOBIG: (
        "holds a value that is longer than any may be",
        "keep it as it is and run `custody verify`",
    ),
    sqlite3.SQLITE_NOTADB: ("is not a database", "keep it as it is and look at where it came from"),
}


def _is_full(folder: Path) -> bool:
    """Whether the disk has no room for another page."""
    try:
        return shutil.disk_usage(folder).free < _SHARED_MEMORY_BYTES
    except OSError:
        return False


def _explain(error: BaseException | None, database: Path) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_IOERR and _is_full(database.parent):
        code = sqlite3.SQLITE_FULL  # without a byte free SQLite fails before it writes, at its index of the log
    meaning, hint = _MEANINGS.get(code, (f"cannot be used: {error}", "run `custody verify` and look at what it says"))
    return LedgerError(f"the ledger `{database}` {meaning}", hint=hint)
