"""Reading entries by index, id, run, kind, actor or time: streaming, and without blocking whoever writes.

The event index finds entries, their leaves say what they are: an entry that does not fit what it was found by is an
EvidenceError, and so is a gap in the numbers of a run that is read whole. It must never be taken for verification: any other index
row that was removed hides an entry until `verify` runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, Select, func, select

from ..errors import EvidenceError, LedgerError
from .bounds import LONGEST_OF_MANY, loading
from .codec import decode_leaf
from .database import reading
from .projection import microseconds, outcome_of
from .tables import entry as entries_table
from .tables import event_index
from .types import Entry

__all__ = ["Wanted", "count_entries", "entry_at", "entry_by_id", "stream_entries"]

_PAGE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries; everything that is given must hold."""

    start: int = 0
    stop: int | None = None
    run: str | None = None
    kinds: Sequence[str] = ()
    actor: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    """Inclusive."""
    until: datetime | None = None
    """Exclusive."""

    @property
    def is_whole_run(self) -> bool:
        """Whether every entry of one run is wanted, from its first on."""
        return self == Wanted(run=self.run, stop=self.stop) and self.run is not None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in terms of the event index."""
        columns = event_index.c
        conditions: list[ColumnElement[bool]] = []
        if self.run is not None:
            conditions.append(columns.run == self.run)
        if self.kinds:
            conditions.append(columns.kind.in_(sorted(set(self.kinds))))
        if self.actor is not None:
            conditions.append(columns.actor == self.actor)
        if self.outcome is not None:
            conditions.append(columns.outcome == self.outcome)
        if self.since is not None:
            conditions.append(columns.time_us >= microseconds(self.since))
        if self.until is not None:
            conditions.append(columns.time_us < microseconds(self.until))
        return conditions

    def fits(self, entry: Entry) -> bool:
        """Whether the entry itself says what its index row says."""
        return (
            (self.run is None or entry.run == self.run)
            and (not self.kinds or entry.kind in self.kinds)
            and (self.actor is None or entry.actor == self.actor)
            and (self.outcome is None or outcome_of(entry.event) == self.outcome)
            and (self.since is None or entry.time >= self.since)
            and (self.until is None or entry.time < self.until)
        )


def stream_entries(engine: Engine, wanted: Wanted, *, newest_first: bool) -> Iterator[Entry]:
    """Entries page by page, each page a transaction of its own; what is appended after the first page is left out."""
    with reading(engine) as connection:
        size = _size(connection)
    low, high = max(wanted.start, 0), size if wanted.stop is None else min(wanted.stop, size)
    expected = 0
    while low < high:
        with reading(engine) as connection, loading(connection, LONGEST_OF_MANY):
            page = _page(connection, wanted, low, high, newest_first=newest_first)
        if wanted.is_whole_run and not newest_first:
            if [entry.sequence for entry in page] != [*range(expected, expected + len(page))]:
                raise EvidenceError(f"entries of run `{wanted.run}` are missing", hint="run `custody verify`")
            expected += len(page)
        yield from page
        if len(page) < _PAGE:
            return
        if newest_first:
            high = page[-1].index
        else:
            low = page[-1].index + 1


def count_entries(connection: Connection, wanted: Wanted) -> int:
    """How many index rows there are."""
    query = select(func.count()).select_from(event_index).where(*wanted.conditions())
    return connection.execute(query).scalar_one()


def entry_by_id(connection: Connection, event_id: str) -> Entry | None:
    """The entry with the event id."""
    table = entries_table.c
    with loading(connection, LONGEST_OF_MANY):
        row = connection.execute(select(table.idx, table.leaf).where(table.event_id == event_id)).one_or_none()
    if row is None:
        return None
    entry = decode_leaf(row.idx, row.leaf)
    if entry.id != event_id:
        raise EvidenceError(f"entry {entry.index} is not the event `{event_id}`", hint="run `custody verify`")
    return entry


def entry_at(connection: Connection, index: int) -> Entry:
    """The entry of that number."""
    table = entries_table.c
    query = select(table.leaf).where(table.idx == index)
    with loading(connection, LONGEST_OF_MANY):
        row = connection.execute(query).one_or_none() if index < 1 << 63 else None
    if row is None:
        raise LedgerError(f"there is no entry {index}", hint="`custody log show` shows the newest")
    return decode_leaf(index, row.leaf)


def _size(connection: Connection) -> int:
    newest = connection.execute(select(func.max(entries_table.c.idx))).scalar()
    return 0 if newest is None else newest + 1


def _page(connection: Connection, wanted: Wanted, low: int, high: int, *, newest_first: bool) -> list[Entry]:
    index = entries_table.c.idx
    query: Select[tuple[int, bytes]] = select(index, entries_table.c.leaf).where(index >= low, index < high)
    if conditions := wanted.conditions():
        query = query.join(event_index, event_index.c.idx == index).where(*conditions)
    query = query.order_by(index.desc() if newest_first else index).limit(_PAGE)
    page = [decode_leaf(row.idx, row.leaf) for row in connection.execute(query)]
    for entry in page:
        if not wanted.fits(entry):
            raise EvidenceError(f"entry {entry.index} is not what the index says of it", hint="run `custody verify`")
    return page
