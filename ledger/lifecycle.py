"""What must hold among entries: how the ledger began, within each run, and while a service runs.

Read from the index after the walk has compared it with the leaves; constant memory, as rows come sorted. It must never call a run
that is still open a problem, nor silence while no service runs: both are said.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import Connection

from ..errors import EvidenceError
from .bounds import bounded_leaf
from .codec import decode_leaf
from .database import Row, rows
from .events import (
    Event,
    LedgerClockSetBack,
    LedgerHeartbeat,
    LedgerOpened,
    RunFinished,
    ServiceStarted,
    ServiceStopped,
)
from .findings import Findings
from .keychain import KeyChain

__all__ = ["check_opening", "check_runs", "check_services"]

_ROWS = (
    f"SELECT i.run, i.seq, i.idx, i.kind, CASE WHEN i.kind = 'run:finished' THEN {bounded_leaf('e.leaf')} END "  # noqa: S608 - because our own words are put in
    "FROM event_index i JOIN entry e ON e.idx = i.idx WHERE i.run IS NOT NULL ORDER BY i.run, i.seq"
)
_OPENINGS = (
    f"SELECT i.idx, {bounded_leaf('e.leaf')} FROM event_index i JOIN entry e ON e.idx = i.idx "  # noqa: S608 - as above
    "WHERE i.kind = 'ledger:opened' ORDER BY i.idx"
)
_SINCE_THE_FIRST_SERVICE = (
    "SELECT i.idx, i.time_us, CASE WHEN i.kind IN ('service:started', 'service:stopped', 'ledger:heartbeat', 'ledger:clock_set_back') "  # noqa: S608 - as above
    f"THEN {bounded_leaf('e.leaf')} END "
    "FROM event_index i JOIN entry e ON e.idx = i.idx "
    "WHERE i.idx >= (SELECT min(idx) FROM event_index WHERE kind = 'service:started') ORDER BY i.idx"
)
_MISSED_HEARTBEATS = 3
"""Intervals without any entry that make a gap: one may be late on a busy machine, three in a row are silence."""
_ONCE = {"run:claimed": "claimed", "run:started": "started", "run:finished": "ended"}


def check_runs(connection: Connection, findings: Findings) -> None:
    """Each run: sequence from 0 without gaps, at most one claim, start and end, nothing executed that was not claimed."""
    runs = open_runs = 0
    for run, entries in groupby(rows(connection, _ROWS), key=lambda row: row[0]):
        runs += 1
        open_runs += not _check_run(str(run), entries, findings)
    findings.checks.append(
        f"{runs} runs: sequence without gaps, one claim, one start and one end at most, nothing executed unclaimed"
    )
    if open_runs:
        findings.not_checked.append(f"how {open_runs} runs end: they have no end yet")


def _check_run(run: str, entries: Iterator[Row], findings: Findings) -> bool:
    """Whether the run has its end."""
    seen: Counter[str] = Counter()
    newest, newest_place = -1, None
    for expected, (_run, sequence, index, kind, leaf) in enumerate(entries):
        place = index if isinstance(index, int) else None
        if sequence != expected:
            findings.add("sequence-gap", f"run `{run}` has number {sequence} where {expected} should stand", place)
        if isinstance(index, int):
            if index <= newest:
                findings.add("sequence-gap", f"run `{run}` is not numbered in the order of its entries", index)
            newest = index
        seen[str(kind)] += 1
        newest_place = place
        if kind in _ONCE and seen[str(kind)] > 1:
            findings.add(f"{_ONCE[str(kind)]}-twice", f"run `{run}` was {_ONCE[str(kind)]} twice", place)
        if kind == "run:started" and not seen["run:claimed"]:
            findings.add("started-unclaimed", f"run `{run}` was started without a claim", place)
        if kind == "run:finished" and _executed(place, leaf) and not seen["run:started"]:
            findings.add("executed-unstarted", f"run `{run}` was executed without a recorded start", place)
    if seen["run:claimed"] and not seen["run:started"] and not findings.has("executed-unstarted"):
        # both are written in one batch, or neither
        findings.add("claimed-unstarted", f"run `{run}` was claimed without a recorded start", newest_place)
    return seen["run:finished"] > 0


def _executed(index: int | None, leaf: object) -> bool:
    event = _event(index, leaf)
    return isinstance(event, RunFinished) and event.end == "executed"


def _event(index: object, leaf: object) -> Event | None:
    if not isinstance(leaf, bytes):
        return None
    try:
        return decode_leaf(index if isinstance(index, int) else 0, leaf).event
    except EvidenceError:
        return None  # the walk has named it


def check_opening(connection: Connection, findings: Findings, keys: KeyChain) -> None:
    """The first entry, and no other, opens the ledger, under the name and the first key of the chain that is trusted."""
    opened = False
    for index, leaf in rows(connection, _OPENINGS):
        if index != 0:
            findings.add("opened-twice", f"entry {index} opens a ledger that was open", _place(index))
            continue
        opened, event = True, _event(index, leaf)
        if isinstance(event, LedgerOpened) and (event.origin, event.verifier_key) != (keys.origin, str(keys.first)):
            findings.add("opening-mismatch", "the first entry opens a ledger of another name or key", 0)
    if opened:
        findings.checks.append("the first entry opens this ledger, under its name and first key")
    else:
        findings.not_checked.append("how the ledger began: its first entry is not `ledger:opened`")


def check_services(connection: Connection, findings: Findings) -> None:
    """While a service runs there is an entry at least every few heartbeats: else something is missing between them."""
    watch = _Watch(findings)
    for index, time_us, leaf in rows(connection, _SINCE_THE_FIRST_SERVICE):
        watch.see(_place(index), time_us, _event(index, leaf) if leaf is not None else None)
    watch.finish()


class _Watch:
    """Which services run, and when something was last written while one did."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._running: set[str] = set()
        self._interval_us = 0
        self._last_us = 0
        self._services = self._unsaid = 0

    def see(self, index: int | None, time_us: object, event: Event | None) -> None:
        """One entry."""
        if isinstance(event, ServiceStarted) and event.service in self._running:
            self._running.remove(event.service)  # it ended without a word, so nobody knows since when it did not run
            self._unsaid += 1
        if isinstance(event, LedgerHeartbeat) and self._running and event.interval_seconds > 0:
            self._interval_us = event.interval_seconds * 1_000_000
        if not isinstance(time_us, int):
            return
        if isinstance(event, LedgerClockSetBack):
            self._last_us = time_us
        silence = time_us - self._last_us
        if self._running and self._interval_us and silence > _MISSED_HEARTBEATS * self._interval_us:
            message = (
                f"nothing was written for {silence // 1_000_000} seconds before entry {index}, while a service ran"
            )
            self._findings.add("heartbeat-gap", message, index)
        self._last_us = max(self._last_us, time_us)
        if isinstance(event, ServiceStarted):
            self._services += 1
            self._running.add(event.service)
        elif isinstance(event, ServiceStopped):
            self._running.discard(event.service)
        if not self._running:
            self._interval_us = 0

    def finish(self) -> None:
        """What is to be said of it all."""
        if self._services:
            self._findings.checks.append(f"{self._services} services: an entry every few heartbeats while each ran")
        if self._unsaid:
            self._findings.not_checked.append(
                f"since when {self._unsaid} services did not run: they ended without saying so"
            )


def _place(index: object) -> int | None:
    return index if isinstance(index, int) else None
