"""What must hold within each run, read from the index after the walk has compared it with the leaves.

Constant memory: rows come sorted by run. It must never call a run that is still open a problem; it is listed as not finished.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import Connection

from ..errors import EvidenceError
from .codec import decode_leaf
from .database import Row, rows
from .events import RunFinished
from .findings import Findings

__all__ = ["check_runs"]

_ROWS = (
    "SELECT i.run, i.seq, i.idx, i.kind, CASE WHEN i.kind = 'run:finished' THEN e.leaf END "
    "FROM event_index i JOIN entry e ON e.idx = i.idx WHERE i.run IS NOT NULL ORDER BY i.run, i.seq"
)
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
    newest = -1
    for expected, (_run, sequence, index, kind, leaf) in enumerate(entries):
        place = index if isinstance(index, int) else None
        if sequence != expected:
            findings.add("sequence-gap", f"run `{run}` has number {sequence} where {expected} should stand", place)
        if isinstance(index, int):
            if index <= newest:
                findings.add("sequence-gap", f"run `{run}` is not numbered in the order of its entries", index)
            newest = index
        seen[str(kind)] += 1
        if kind in _ONCE and seen[str(kind)] > 1:
            findings.add(f"{_ONCE[str(kind)]}-twice", f"run `{run}` was {_ONCE[str(kind)]} twice", place)
        if kind == "run:started" and not seen["run:claimed"]:
            findings.add("started-unclaimed", f"run `{run}` was started without a claim", place)
        if kind == "run:finished" and _executed(place, leaf) and not seen["run:started"]:
            findings.add("executed-unstarted", f"run `{run}` was executed without a recorded start", place)
    return seen["run:finished"] > 0


def _executed(index: int | None, leaf: object) -> bool:
    if not isinstance(leaf, bytes):
        return False
    try:
        event = decode_leaf(index or 0, leaf).event
    except EvidenceError:
        return False  # the walk has named it
    return isinstance(event, RunFinished) and event.end == "executed"
