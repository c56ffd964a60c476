"""A stretch of entries at once: read, judged, compared with its rows of the index and with its payloads, and hashed.

Two readings of the same rules. This one is quick and answers only with what it found beyond doubt; wherever it gives no answer,
`Walk` and `Contents` read the entries one after the other and name what is wrong. So it must never answer where they would find
something; it may refuse for anything that it does not know how to judge. It needs nothing but the driver's own connection, so
that a process of its own can do it (`reading`).
"""

import hashlib
import sqlite3
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import orjson

from ..errors import EvidenceError
from .bounds import LONGEST_OF_MANY, LONGEST_VALUE, bounded, bounded_leaf, payload_row
from .events import Event
from .leaf import payload_refs
from .pages import Page, PageReader
from .payloads import require_committed
from .tree import TILE_WIDTH, fold_row

__all__ = ["SECTION", "Section", "SectionReader"]

SECTION = TILE_WIDTH
"""Entries that are read at once: even if each is as long as can be, they are 8 MiB."""

_LEAVES = (
    f"SELECT {bounded_leaf()} "  # noqa: S608 - because our own words are put in
    f"FROM entry WHERE idx BETWEEN ? AND ? ORDER BY idx LIMIT {SECTION + 1}"
)
_ENTRIES = _LEAVES.replace(" END FROM", " END, event_id FROM")
_INDEX = (
    "SELECT CAST(json_group_array(json_array(kind, run, actor, outcome, time_us, seq)) AS BLOB) "
    "FROM event_index WHERE idx BETWEEN ? AND ?"
)
"""All rows as one text, in half the time of a value for each column: SQLite writes every type in a way of its own, bytes not at all,
so that equal texts are equal values. In another order than that of the numbers it is not the text that is expected."""
_HEAD = struct.Struct("<qqqQII")
_sha256 = hashlib.sha256


class Section(NamedTuple):
    """What is beyond doubt of some entries in a row; times are in microseconds."""

    hashes: bytes
    """Of the leaves, one after the other."""
    root: bytes = b""
    """Of these, if they are a full tile and the reader was asked for it; else empty."""
    oldest: int = 0
    newest: int = 0
    back: int = 0
    """By how much an entry is older than one before it in the section, at most; zero or less."""
    payloads: int = 0
    """Payloads that were referred to for the first time."""
    rotations: tuple[int, ...] = ()
    """Entries that change the key."""

    def __bytes__(self) -> bytes:
        numbers = (self.oldest, self.newest, self.back, self.payloads, len(self.rotations), len(self.hashes))
        rotations = struct.pack(f"<{len(self.rotations)}q", *self.rotations)
        return b"".join((_HEAD.pack(*numbers), rotations, self.hashes, self.root))

    @classmethod
    def parse(cls, packed: bytes) -> "Section":
        """What `bytes()` made."""
        oldest, newest, back, payloads, changes, hashes = _HEAD.unpack_from(packed)
        rotations = struct.unpack_from(f"<{changes}q", packed, _HEAD.size)
        start = _HEAD.size + 8 * changes
        return cls(packed[start : start + hashes], packed[start + hashes :], oldest, newest, back, payloads, rotations)


class SectionReader:
    """Reads sections from one connection.

    Args:
        database: the driver's own connection.
        contents: whether more is looked at than the hashes of the leaves.
        rooted: whether the roots of full tiles are computed, for whoever has less time for it.
    """

    def __init__(self, database: sqlite3.Connection, *, contents: bool, rooted: bool = False) -> None:
        self._database = database
        self.contents = contents
        self._rooted = rooted
        self._pages = PageReader()

    def read(self, first: int, count: int) -> Section | None:
        """The entries of these numbers, or None if there is the least doubt about one of them."""
        before = bounded(self._database, LONGEST_OF_MANY)
        try:
            return self._read_all(first, count) if self.contents else self._read_leaves(first, count)
        except (sqlite3.Error, OverflowError, UnicodeError):
            return None  # met again, and named, by the other reading
        except TypeError:
            return None  # a leaf that is not bytes, or longer than any may be
        finally:
            bounded(self._database, before)

    def _read_leaves(self, first: int, count: int) -> Section | None:
        leaves = [*chain.from_iterable(self._rows(_LEAVES, first, count))]
        return self._hashed(leaves) if len(leaves) == count else None

    def _read_all(self, first: int, count: int) -> Section | None:
        entries = self._rows(_ENTRIES, first, count)
        bounded(self._database, LONGEST_VALUE)  # all rows are one value there
        ((index,),) = self._rows(_INDEX, first, count)
        bounded(self._database, LONGEST_OF_MANY)
        if len(entries) != count:  # numbers are unique: so many between two are all that there can be
            return None
        leaves, event_ids = zip(*entries, strict=True)
        page = self._pages.read(leaves)
        if page is None or page.ids != [*event_ids] or index != _indexed(page):
            return None
        fresh = 0
        for place, event in page.referring:
            found = self._payloads(first + place, event)
            if found is None:
                return None
            fresh += found
        times = page.times_us
        return self._hashed(leaves)._replace(
            oldest=min(times),
            newest=max(times),
            back=page.furthest_back(times[0]),
            payloads=fresh,
            rotations=tuple(first + place for place, kind in enumerate(page.kinds) if kind == "ledger:key_rotated"),
        )

    def _rows(self, statement: str, first: int, count: int) -> list[tuple[Any, ...]]:
        return self._database.execute(statement, (first, first + count - 1)).fetchall()

    def _hashed(self, leaves: Sequence[bytes]) -> Section:
        hashes = b"".join([_sha256(b"\x00" + leaf).digest() for leaf in leaves])
        return Section(hashes, fold_row(hashes) if self._rooted and len(leaves) == TILE_WIDTH else b"")

    def _payloads(self, place: int, event: Event) -> int | None:
        """How many payloads the entry was the first to refer to; None if one of its payloads is not as it should be."""
        fresh = 0
        for ref in payload_refs(event):
            found = payload_row(self._database, ref)
            if found is None:
                return None
            first, key, content = found
            if type(first) is not int or not 0 <= first <= place:
                return None
            try:
                require_committed(ref, key, content)
            except EvidenceError:
                return None
            fresh += first == place
        return fresh


def _indexed(page: Page) -> bytes:
    """The rows of the index that the leaves give."""
    columns = (page.kinds, page.runs, page.actors, page.outcomes, page.times_us, page.sequences)
    return orjson.dumps([*zip(*columns, strict=True)])
