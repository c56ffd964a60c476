"""What the entries say, compared with what was derived from them: leaf, index row, time and payloads.

Two readings of the same rules. `all_in_order` reads a page of entries quickly and answers only yes or no; wherever it says no,
`entry` reads one after the other and names what is wrong. So it must never answer yes where `entry` would find something; it may
answer no for anything that it does not know how to judge quickly.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

from ..errors import EvidenceError
from .codec import Parsed, parse_leaf, payload_refs
from .database import Row, rows
from .events import Event
from .findings import Findings
from .pages import PageReader
from .payloads import require_committed
from .projection import project
from .writing import CLOCK_TOLERANCE

__all__ = ["Contents"]

_PAYLOAD = "SELECT idx, hmac_key, CASE WHEN length(content) = ? THEN content END FROM payload WHERE id = ?"
"""What is longer than it may be is not even loaded: a hostile database must not exhaust the checker."""
_TOLERANCE_US = CLOCK_TOLERANCE // timedelta(microseconds=1)


class Contents:
    """The content side of a walk over the entries, in order."""

    def __init__(self, connection: Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._newest_us: int | None = None
        self._pages = PageReader()
        self.unknown = 0
        """Entries of kinds that this release does not know."""
        self.payloads = 0
        """Payloads that an entry referred to for the first time."""
        self.rotations: list[int] = []
        """Entries that change the key."""

    def all_in_order(self, first: int, entries: Sequence[Row], index: Sequence[Row]) -> bool:
        """Whether these entries, from `first` on, and their index rows are beyond doubt; only then are they taken in."""
        places, leaves, event_ids = zip(*entries, strict=True)
        numbers = range(first, first + len(entries))
        if places != tuple(numbers) or {*map(type, leaves)} != {bytes}:
            return False
        page = self._pages.read(leaves)
        if page is None or page.ids != event_ids:
            return False
        derived = zip(
            numbers, page.kinds, page.runs, page.actors, page.outcomes, page.times_us, page.sequences, strict=True
        )
        newest = page.times_us[0] if self._newest_us is None else self._newest_us
        if [*derived] != index or page.furthest_back(newest) < -_TOLERANCE_US:
            return False
        found = [self._payloads_in_order(first + place, event) for place, event in page.referring]
        if None in found:
            return False
        self.payloads += sum(count for count in found if count is not None)
        self._newest_us = max(newest, *page.times_us)
        self.rotations += [first + place for place, kind in enumerate(page.kinds) if kind == "ledger:key_rotated"]
        return True

    def _payloads_in_order(self, place: int, event: Event) -> int | None:
        """How many payloads the entry was the first to refer to; None if one of its payloads is not as it should be."""
        fresh = 0
        for ref in payload_refs(event):
            found = next(rows(self._connection, _PAYLOAD, (ref.bytes, ref.id)), None)
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

    # ------------------------------------------------------------ one by one, with names for what is wrong

    def entry(self, place: int, leaf: bytes, row: Row, indexed: Row | None) -> None:
        """Read one entry that was stored as the row."""
        try:
            parsed = parse_leaf(place, leaf)
        except EvidenceError as error:
            self._findings.add("leaf-unreadable", error.message, place)
            return
        if indexed != project(place, parsed) or row[2] != parsed.id or row[0] != place:
            self._findings.add("index-changed", f"what the index says of entry {place} is not what it says", place)
        if parsed.event is None:
            self.unknown += 1
        else:
            self._refs(place, parsed.event)
        if parsed.kind == "ledger:key_rotated":
            self.rotations.append(place)
        self._time(place, parsed)

    def _time(self, place: int, parsed: Parsed) -> None:
        newest = parsed.time_us if self._newest_us is None else self._newest_us
        if parsed.time_us < newest - _TOLERANCE_US:
            self._findings.add("time-backwards", f"entry {place} is older than the entries before it", place)
        self._newest_us = max(newest, parsed.time_us)

    def _refs(self, place: int, event: Event) -> None:
        for ref in payload_refs(event):
            found = next(rows(self._connection, _PAYLOAD, (ref.bytes, ref.id)), None)
            if found is None:
                self._findings.add("payload-missing", f"payload `{ref.id}` of entry {place} is missing", place)
                continue
            first, key, content = found
            try:
                require_committed(ref, key, content)
            except EvidenceError as error:
                self._findings.add("payload-changed", f"{error.message}: entry {place}", place)
            if first == place:
                self.payloads += 1
            elif not isinstance(first, int) or not 0 <= first < place:
                self._findings.add("payload-changed", f"payload `{ref.id}` names a wrong entry", place)
