"""What detectors see of a run: one plain record, mapped from the entries in one place.

It must never carry the texts that a program wrote; names and counts are enough.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...ledger.events import EgressAttempted, PolicyDecided, RunFinished, RunSubmitted
from ..stories import Known, Seen, Story, prying, stays_inside
from ..types import Anomaly

__all__ = ["Detector", "Pry", "Reach", "RunRecord", "anomaly_id", "capped", "records_of"]

_REFUSED_ENDS = frozenset({"denied", "blocked"})
_MOST_ENTRIES = 20


@dataclass(frozen=True, slots=True)
class Reach:
    """One place that a run tried to reach."""

    host: str
    port: int
    allowed: bool
    count: int
    asked: bool
    """Its request asked for it."""
    announced: bool
    """Its code names it."""
    local: bool
    """It stays inside the jail, where loopback is the program's own."""
    entry: int


@dataclass(frozen=True, slots=True)
class Pry:
    """One file of secrets that a run asked for."""

    path: str
    announced: bool
    """Its code names it."""
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run that has ended, as detectors see it."""

    run: str
    time: datetime
    """Of its submission: when somebody tried."""
    judged: bool
    """Whether it belongs to what is judged; if not, it is baseline."""
    principal: str
    owner: str
    program: str
    code_sha256: str
    end: str
    """The end, or the outcome class where it was executed."""
    refused: bool
    """Denied or blocked before it started."""
    rules: tuple[str, ...]
    """Deciding rules where a decision ended it, sorted."""
    reaches: tuple[Reach, ...]
    pries: tuple[Pry, ...]
    undeclared: tuple[str, ...]
    """What the jail saw that no fact of the code announced."""
    event_id: str
    """Of the entry that ended it: names findings in a way that a later review repeats."""
    entries: tuple[int, ...]
    """Request, decisions and end."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of finding."""

    id: str
    sentence: str
    """What it looks for."""
    limits: str
    """What it cannot see."""
    find: Callable[[Sequence[RunRecord]], Iterable[Anomaly]]
    """Pure: takes records in order of their times; those that are not judged are baseline."""


def records_of(known: Known) -> list[RunRecord]:
    """Every run that has ended; open ones have nothing to be judged by yet."""
    return [_record(known, story, end) for story in known.stories if (end := story.finished) is not None]


def _record(known: Known, story: Story, finished: Seen[RunFinished]) -> RunRecord:
    end = finished.event
    submitted = story.submitted
    frame = (RunSubmitted, PolicyDecided, RunFinished)
    return RunRecord(
        run=story.run,
        time=story.time,
        judged=finished.entry.index in known.inside_indices,
        principal=story.principal,
        owner=story.owner,
        program=story.program,
        code_sha256=submitted.code_sha256 if submitted else "",
        end=(end.outcome or "unknown") if end.end == "executed" else end.end,
        refused=end.end in _REFUSED_ENDS,
        rules=tuple(sorted(set(end.rules))),
        reaches=_reaches(story),
        pries=_pries(story),
        undeclared=end.undeclared,
        event_id=finished.entry.id,
        entries=tuple(entry.index for entry in story.entries if isinstance(entry.event, frame)),
    )


def _reaches(story: Story) -> tuple[Reach, ...]:
    submitted = story.submitted
    asked = {(host.name, host.port) for host in submitted.hosts} if submitted else set()
    named = set(submitted.facts.hosts) if submitted else set()
    return tuple(
        Reach(
            host=e.host,
            port=e.port,
            allowed=e.allowed,
            count=e.count,
            asked=(e.host, e.port) in asked,
            announced=e.host in named,
            local=stays_inside(e.host),
            entry=seen.entry.index,
        )
        for seen in story.all(EgressAttempted)
        for e in (seen.event,)
    )


def _pries(story: Story) -> tuple[Pry, ...]:
    submitted = story.submitted
    asked = tuple(mount.path for mount in submitted.mounts) if submitted else ()
    named = set(submitted.facts.paths) if submitted else set()
    found = [seen for seen in prying(story) if not seen.event.path.startswith(asked)]
    return tuple(Pry(seen.event.path, seen.event.path in named, seen.entry.index) for seen in found)


def anomaly_id(detector: str, principal: str, first: RunRecord) -> str:
    """`A-` and ten hex digits that the same observation has in every review."""
    text = f"{detector}\n{principal}\n{first.event_id}"
    return f"A-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def capped(entries: Iterable[int]) -> tuple[int, ...]:
    """At most 20 entries, without repeats, in order."""
    return tuple(sorted(set(entries)))[:_MOST_ENTRIES]
