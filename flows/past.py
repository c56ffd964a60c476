"""What is kept of one principal's past, so that a decision costs the same on a ledger of any size.

Rules of this page:
- It is a fold over the principal's entries in the order of the ledger, and nothing else: sums in buckets of time, what was granted, how many runs.
- What was folded is kept beside the log as derived state: no evidence, and gone at any time. The fold goes on where it ended; without it, or where
  it does not say enough, everything is read again. Either way the answer is the same.
- Windows end at full minutes, ten minutes and hours, so that whole buckets answer for them; they are never shorter than their name says.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..ledger import Entry, Ledger, events
from .following import follow, time_of, us_of

__all__ = ["WINDOWS", "Past", "Sum", "Window", "past_of"]

_VERSION = 1
_KINDS = (
    "run:submitted",
    "run:started",
    "run:finished",
    "dependencies:resolved",
    "egress:attempted",
    "artefact:collected",
)
_RECENT_STARTS = 200
"""Among so many last starts a thing counts as known; what was granted only earlier counts as new again."""
_MOST_KNOWN = 2000
"""So many things are known at most; those that were granted longest ago count as new again."""
_SLACK = timedelta(hours=1)
"""Buckets are kept so much longer than their window: a clock that is a little behind asks for older ones."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time back from a decision, and the width of the buckets that it is counted in."""

    length: timedelta
    width: timedelta

    def begin(self, now: datetime) -> int:
        """Where it begins, in microseconds: the last full bucket before its length."""
        return _floor(us_of(now - self.length), self.width)


WINDOWS = (
    Window(timedelta(hours=1), timedelta(minutes=1)),
    Window(timedelta(days=1), timedelta(minutes=10)),
    Window(timedelta(days=30), timedelta(hours=1)),
)
"""Hour, day and month."""


@dataclass(slots=True)
class Sum:
    """A usage that grows; milliseconds until the end, so that many short runs are not rounded away."""

    runs: int = 0
    cpu_ms: int = 0
    bytes_out: int = 0
    artefact_bytes: int = 0

    def add(self, other: "Sum") -> None:
        """Add another one."""
        self.runs += other.runs
        self.cpu_ms += other.cpu_ms
        self.bytes_out += other.bytes_out
        self.artefact_bytes += other.artefact_bytes

    def figures(self) -> list[int]:
        """As it is kept."""
        return [self.runs, self.cpu_ms, self.bytes_out, self.artefact_bytes]


_Buckets = dict[tuple[int, str | None], Sum]
"""Begin of the bucket and the human who answered for the principal then; None where no submission had said it yet."""


@dataclass(slots=True)
class Past:
    """One principal's entries, folded."""

    newest_us: int = 0
    """Time of the last entry in it."""
    owner: str | None = None
    """Who answers for the principal, as its last submission said."""
    runs: int = 0
    """Every run that it ever submitted."""
    starts: int = 0
    known: dict[str, int] = field(default_factory=dict)
    """Thing that was granted -> number of the last start that it was granted to."""
    pins: dict[str, list[str]] = field(default_factory=dict)
    """Packages of runs that have not started yet."""
    buckets: tuple[_Buckets, ...] = field(default_factory=lambda: tuple({} for _ in WINDOWS))
    kept_from: list[int] = field(default_factory=lambda: [0 for _ in WINDOWS])
    """Buckets that begin earlier were dropped."""

    def add(self, entry: Entry) -> None:
        """Fold one more entry; they come in the order of the ledger."""
        self.newest_us = us_of(entry.time)
        match entry.event:
            case events.RunSubmitted(owner=owner):
                self.owner = owner or entry.actor
                self.runs += 1
            case events.DependenciesResolved(pins=pins) if entry.run:
                self.pins[entry.run] = [f"package {pin.name}=={pin.version}" for pin in pins]
            case events.RunStarted():
                self._start(entry.run or "", entry.event)
            case events.RunFinished():
                self.pins.pop(entry.run or "", None)
            case _:
                pass
        if (used := _used(entry.event)) is not None:
            for buckets, window in zip(self.buckets, WINDOWS, strict=True):
                key = _floor(us_of(entry.time), window.width), self.owner
                buckets.setdefault(key, Sum()).add(used)

    def granted(self, kind: str) -> tuple[str, ...]:
        """What its last starts were granted of one kind, sorted: `host`, `package`, `read` or `write`."""
        known = (thing.partition(" ") for thing, start in self.known.items() if start > self.starts - _RECENT_STARTS)
        return tuple(sorted(what for of, _, what in known if of == kind))

    def reaches(self, now: datetime) -> bool:
        """Whether no bucket was dropped that a decision at this time asks for."""
        begins = (window.begin(now) for window in WINDOWS)
        return all(begin >= kept for begin, kept in zip(begins, self.kept_from, strict=True))

    def spent(self, now: datetime, *, owned_by: str | None = None, owner_by_default: str = "") -> tuple[Sum, ...]:
        """What was used in each window; with an owner only what that human answers for.

        Args:
            now: the time of the decision.
            owned_by: the human.
            owner_by_default: who answers for the principal by the directory, where no submission had said it yet.
        """
        sums = []
        for buckets, window in zip(self.buckets, WINDOWS, strict=True):
            total, begin = Sum(), window.begin(now)
            for (start, owner), used in buckets.items():
                if start >= begin and (owned_by is None or owned_by == (owner or owner_by_default)):
                    total.add(used)
            sums.append(total)
        return tuple(sums)

    def to_bytes(self) -> bytes:
        """As it is kept, without buckets that no decision from now on can ask for."""
        newest = time_of(self.newest_us)
        begins = [
            max(kept, window.begin(newest - _SLACK)) for kept, window in zip(self.kept_from, WINDOWS, strict=True)
        ]
        kept = [
            [[start, owner, *used.figures()] for (start, owner), used in buckets.items() if start >= begin]
            for buckets, begin in zip(self.buckets, begins, strict=True)
        ]
        value = {
            "newest_us": self.newest_us,
            "owner": self.owner,
            "runs": self.runs,
            "starts": self.starts,
            "known": self.known,
            "pins": self.pins,
            "kept_from": begins,
            "buckets": kept,
        }
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Past | None":
        """What `to_bytes` gave; None if these are no such bytes."""
        try:
            value = json.loads(content)
            past = cls(
                newest_us=int(value["newest_us"]),
                owner=_text_or_none(value["owner"]),
                runs=int(value["runs"]),
                starts=int(value["starts"]),
                known={str(thing): int(start) for thing, start in value["known"].items()},
                pins={str(run): [str(pin) for pin in pins] for run, pins in value["pins"].items()},
                buckets=tuple(_buckets(rows) for rows in value["buckets"]),
                kept_from=[int(begin) for begin in value["kept_from"]],
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return past if len(past.buckets) == len(past.kept_from) == len(WINDOWS) else None

    def _start(self, run: str, started: events.RunStarted) -> None:
        self.starts += 1
        things = [
            *(f"host {host.name}:{host.port}" for host in started.hosts),
            *(f"{mount.access} {mount.path}" for mount in started.mounts),
            *self.pins.pop(run, ()),
        ]
        self.known |= dict.fromkeys(things, self.starts)
        if len(self.known) > _MOST_KNOWN:
            latest = sorted(self.known.items(), key=lambda item: (-item[1], item[0]))
            self.known = dict(latest[:_MOST_KNOWN])


def _buckets(rows: list[list[object]]) -> _Buckets:
    return {
        (int(str(start)), _text_or_none(owner)): Sum(*(int(str(figure)) for figure in figures))
        for start, owner, *figures in rows
    }


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def past_of(ledger: Ledger, actor: str, *, now: datetime) -> Past:
    """The past of a principal up to the newest entry, with every bucket that a decision at this time asks for."""
    return follow(
        ledger,
        f"past/{actor}",
        version=_VERSION,
        kinds=_KINDS,
        actor=actor,
        empty=Past,
        kept=lambda content: past if (past := Past.from_bytes(content)) is not None and past.reaches(now) else None,
    )


def _used(event: events.Event | None) -> Sum | None:
    match event:
        case events.RunSubmitted():
            return Sum(runs=1)
        case events.RunFinished(usage=usage, stdout=stdout, stderr=stderr):
            seen = sum(output.seen for output in (stdout, stderr) if output is not None)
            return Sum(cpu_ms=_cpu_ms(usage), bytes_out=seen)
        case events.EgressAttempted(bytes_up=sent):
            return Sum(bytes_out=sent or 0)
        case events.ArtefactCollected(bytes=size):
            return Sum(artefact_bytes=size)
        case _:
            return None


def _cpu_ms(usage: events.UsageRecord | None) -> int:
    """CPU time; where it could not be measured the wall time stands for it, so that nothing is free for being unseen."""
    if usage is None:
        return 0
    return usage.wall_ms if usage.cpu_ms is None else usage.cpu_ms


def _floor(microseconds: int, width: timedelta) -> int:
    size = width // timedelta(microseconds=1)
    return microseconds // size * size
