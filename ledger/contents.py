"""What the entries say, compared with what was derived from them: leaf, index row, time and payloads.

Whole sections were read by a `SectionReader` beyond doubt, or are read here one entry after the other, with a name for whatever
is wrong. It must never take in a section whose times do not fit the entries before it.
"""

from sqlalchemy import Connection

from ..errors import EvidenceError
from .bounds import driver_of, payload_row
from .clock import TOLERANCE_US
from .codec import parse_leaf
from .database import Row
from .events import Event, LedgerClockSetBack
from .findings import Findings
from .leaf import Parsed, payload_refs, render_time
from .payloads import require_committed
from .projection import project, time_at
from .sections import Section

__all__ = ["Contents"]


class Contents:
    """The content side of a walk over the entries, in order."""

    def __init__(self, connection: Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._newest_us: int | None = None
        self.unknown = 0
        """Entries of kinds that this release does not know."""
        self.payloads = 0
        """Payloads that an entry referred to for the first time."""
        self.set_back: list[int] = []
        """Entries that say that the clock was set back, where it was."""
        self.rotations: list[int] = []
        """Entries that change the key."""

    def take(self, section: Section) -> bool:
        """Whether the section's times fit what came before; only then it is taken in."""
        newest = section.newest if self._newest_us is None else self._newest_us
        fits = section.back >= -TOLERANCE_US and (self._newest_us is None or section.oldest >= newest - TOLERANCE_US)
        if fits:
            self.payloads += section.payloads
            self.rotations += section.rotations
            self._newest_us = max(newest, section.newest)
        return fits

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
        if parsed.time_us < newest - TOLERANCE_US:
            if isinstance(parsed.event, LedgerClockSetBack) and parsed.event.newest >= render_time(time_at(newest)):
                self.set_back.append(place)
                self._newest_us = parsed.time_us
                return
            self._findings.add("time-backwards", f"entry {place} is older than the entries before it", place)
        self._newest_us = max(newest, parsed.time_us)

    def _refs(self, place: int, event: Event) -> None:
        for ref in payload_refs(event):
            found = payload_row(driver_of(self._connection), ref)
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
