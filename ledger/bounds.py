"""How much of a database that may come from anybody is loaded at most: a hostile one must not exhaust whoever reads it.

`length()` of SQLite stops at the first NUL of a text, so it says nothing of how long one is: bytes are asked for their type as well,
and texts are compared with their own beginning. What is longer than its statement may load is an error of the driver, which
readers take for damage. It must never let anything through for being short that is not.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .leaf import MAX_LEAF_BYTES, MAX_TEXT
from .payloads import MAX_PAYLOAD_BYTES
from .types import PayloadRef

if TYPE_CHECKING:  # whoever reads along needs no SQLAlchemy, which takes longer to load than all else
    from sqlalchemy import Connection

__all__ = [
    "LONGEST_OF_MANY",
    "LONGEST_ROW",
    "LONGEST_VALUE",
    "bounded",
    "bounded_bytes",
    "bounded_leaf",
    "bounded_text",
    "driver_of",
    "loading",
    "payload_row",
]

LONGEST_OF_MANY = 128 * 1024
"""Bytes of a value where some hundred are held at once; a note has at most 64 KiB, all else is shorter."""
LONGEST_VALUE = 4 * 1024 * 1024
"""Bytes of a value that is looked at and let go again."""
LONGEST_ROW = MAX_PAYLOAD_BYTES + LONGEST_VALUE
"""Bytes of the longest row that the ledger itself writes: a payload."""


def bounded_leaf(column: str = "leaf") -> str:
    """SQL: the leaf, or NULL if it is not bytes or longer than any may be."""
    return bounded_bytes(column, MAX_LEAF_BYTES)


def bounded_bytes(column: str, longest: int) -> str:
    """SQL: the bytes of the column, or NULL if it holds none, or more; a longer value is not even loaded."""
    return f"CASE WHEN typeof({column}) = 'blob' AND length({column}) <= {longest} THEN {column} END"


def bounded_text(column: str, longest: int = MAX_TEXT) -> str:
    """SQL: the text (or number, or NULL) of the column; no bytes at all if it is bytes, longer, or holds a NUL.

    Not NULL: where NULL may stand, what is there would pass for nothing.
    """
    fits = f"typeof({column}) <> 'blob' AND {column} = substr({column}, 1, {longest})"
    return f"CASE WHEN {fits} THEN {column} WHEN {column} IS NOT NULL THEN x'' END"


def bounded(database: sqlite3.Connection, most: int) -> int:
    """Let no statement of the connection load a value of more bytes; how many it was before."""
    return database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most)


@contextmanager
def loading(connection: "Connection", most: int) -> Iterator[None]:
    """The same for a while."""
    database = driver_of(connection)
    before = bounded(database, most)
    try:
        yield
    finally:
        bounded(database, before)


_PAYLOAD = (
    f"SELECT idx, {bounded_bytes('hmac_key', 64)}, "  # noqa: S608 - because our own words are put in
    "CASE WHEN typeof(content) = 'blob' AND length(content) = ? THEN content END FROM payload WHERE id = ?"
)


def payload_row(database: sqlite3.Connection, ref: PayloadRef) -> tuple[object, object, object] | None:
    """Entry, key and content of a payload; what is not as long as its reference says is not loaded."""
    before = bounded(database, LONGEST_VALUE + min(max(ref.bytes, 0), MAX_PAYLOAD_BYTES))
    try:
        found: tuple[object, object, object] | None = database.execute(_PAYLOAD, (ref.bytes, ref.id)).fetchone()
    finally:
        bounded(database, before)
    return found


def driver_of(connection: "Connection") -> sqlite3.Connection:
    """The driver's own connection under one of SQLAlchemy."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(driver)
    return driver
