"""What programs of the window could have done at worst, by what they were granted, whatever they did with it.

It must never read a grant out of a request: what was only asked for, or denied, opened nothing and stands among the attempts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum

from ..ledger.events import ExposureRecord, LimitsRecord, PolicyDecided, RunStarted
from .stories import Seen, Story
from .types import ExposureRow, GrantedLimit
from .words import clip, count_of, joined, number, place, shorten

__all__ = ["Opening", "cut_exposures", "exposure_of", "granted_limits_of", "in_words"]

_MOST_ENTRIES = 12
_LEFT_OUT = "… and "
"""Begins the last of a list that an entry had no room for (flows/entries.py)."""
_NOT_RECORDED = "class not recorded"
_NOTHING = ExposureRecord(hosts=(), readable=(), writable=(), packages_with_findings=(), new=())
_UNITS = {"seconds": "s", "mib": "MiB", "kib": "KiB"}
_LIMITS = {
    "wall_seconds": "time",
    "cpu_seconds": "processor time",
    "memory_mib": "memory",
    "output_kib": "output",
    "disk_mib": "disk",
    "artefact_mib": "artefacts together",
}


class Opening(StrEnum):
    """What a grant opens, from what can hurt most to what is only new."""

    WRITE = "write data"
    READ = "read data"
    HOST = "reach host"
    FINDINGS = "use package with findings"
    PACKAGE = "use package"


@dataclass(frozen=True, slots=True)
class _Granted:
    """One run that was granted something, or would be if people agreed."""

    story: Story
    waits: bool
    decided: Seen[PolicyDecided] | None
    started: Seen[RunStarted] | None

    @property
    def entries(self) -> tuple[int, ...]:
        return tuple(seen.entry.index for seen in (self.decided, self.started) if seen is not None)

    @property
    def limits(self) -> LimitsRecord | None:
        """Those of the jail; of the decision as long as nothing was started."""
        if self.started is not None:
            return self.started.event.limits
        return self.decided.event.limits if self.decided is not None else None


@dataclass(slots=True)
class _Exposed:
    runs: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    principals: set[str] = field(default_factory=set)
    new_to: set[str] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)

    def add(self, granted: _Granted, *, is_new: bool) -> None:
        (self.waiting if granted.waits else self.runs).add(granted.story.run)
        self.principals.add(granted.story.principal)
        self.entries.update(granted.entries)
        if is_new:
            self.new_to.add(granted.story.principal)


_Key = tuple[Opening, str, str]
"""What is opened, its name, and the classes of the data."""


def exposure_of(judged: Iterable[Story]) -> tuple[ExposureRow, ...]:
    """One row for each thing outside the jail that a run was granted, or waits to be: the worst kind first, in it what is new first."""
    exposed: dict[_Key, _Exposed] = {}
    for granted in _granted(judged):
        for opening, what, classes, is_new in _opened(granted):
            exposed.setdefault((opening, what, classes), _Exposed()).add(granted, is_new=is_new)
    return tuple(_row(*key, found) for key, found in sorted(exposed.items(), key=_order))


def granted_limits_of(judged: Iterable[Story]) -> tuple[GrantedLimit, ...]:
    """The most of each limit that a run was granted, and which runs were; those that wait for people left out."""
    granted = [one for one in _granted(judged) if not one.waits and one.limits is not None]
    if not granted:
        return ()
    return tuple(_most(each.name, granted) for each in fields(LimitsRecord))


def in_words(rows: Sequence[ExposureRow]) -> str:
    """All rows in one sentence."""
    kinds = (
        (Opening.WRITE, "could write to {}", "place of the machine", "places of the machine"),
        (Opening.READ, "could read {}", "place of the machine", "places of the machine"),
        (Opening.HOST, "could reach {}", "host", ""),
        (Opening.FINDINGS, "could use {} with findings", "package version", ""),
    )
    found = [
        words.format(count_of(count, one, many))
        for opening, words, one, many in kinds
        if (count := sum(row.opening == opening and row.runs > 0 for row in rows))
    ]
    new = sum(bool(row.new_to) for row in rows)
    said = (
        f"At worst, programs of this window {joined(found)}."
        if found
        else "No program of this window was granted a host, a path of the machine, or a package with findings."
    )
    waiting = sum(row.runs == 0 for row in rows)
    told = [
        f"{number(new)} of the {number(len(rows))} below {'was' if new == 1 else 'were'} new to whom it was granted."
        if new
        else "",
        f"{number(waiting)} {'is' if waiting == 1 else 'are'} granted only if people agree." if waiting else "",
    ]
    return " ".join([said, *filter(None, told)])


def cut_exposures(judged: Iterable[Story]) -> Iterator[int]:
    """Entries of decisions that exposed more than they had room to say."""
    for granted in _granted(judged):
        if granted.decided is not None and any(_lists_left_out(granted.decided.event.exposure)):
            yield granted.decided.entry.index


def _granted(judged: Iterable[Story]) -> Iterator[_Granted]:
    for story in judged:
        started = story.first(RunStarted)
        decided = [seen for seen in story.all(PolicyDecided) if seen.event.stage == "run"]
        if started is not None:
            before = [s for s in decided if s.event.result == "allowed" and s.entry.index < started.entry.index]
            yield _Granted(story, waits=False, decided=before[-1] if before else None, started=started)
        elif decided and decided[-1].event.result == "allowed":
            yield _Granted(story, waits=False, decided=decided[-1], started=None)
        elif story.waiting is not None and decided and decided[-1].event.result == "needs_approval":
            yield _Granted(story, waits=True, decided=decided[-1], started=None)


def _opened(granted: _Granted) -> Iterator[tuple[Opening, str, str, bool]]:
    """Kind, name, classes and newness of everything that a grant opens."""
    exposure = granted.decided.event.exposure if granted.decided is not None else _NOTHING
    for opening, verb, places in (
        (Opening.WRITE, "write", exposure.writable),
        (Opening.READ, "read", exposure.readable),
    ):
        for text in _named(places):
            path, classes = _path_and_classes(text)
            yield opening, clip(path, 200), clip(classes, 120), _is_new(f"{verb} {path}", exposure)
    for host in _named(exposure.hosts):
        yield Opening.HOST, clip(host, 120), "", _is_new(f"host {host}", exposure)
    for pin in _named(exposure.packages_with_findings):
        yield Opening.FINDINGS, clip(pin, 120), "", _is_new(f"package {pin}", exposure)
    told = {f"package {pin}" for pin in exposure.packages_with_findings}
    for text in exposure.new:
        if text.startswith("package ") and text not in told:
            yield Opening.PACKAGE, clip(text.removeprefix("package "), 120), "", True
    yield from _untold(granted, exposure)


def _is_new(said: str, exposure: ExposureRecord) -> bool:
    """Whether a decision calls it new; what was cut for room in the entry is compared as far as it goes."""
    return any(said == new or (new.endswith("…") and said.startswith(new[:-1])) for new in _named(exposure.new))


def _untold(granted: _Granted, exposure: ExposureRecord) -> Iterator[tuple[Opening, str, str, bool]]:
    """What the jail was opened for although no decision that is on record says so."""
    if granted.started is None:
        return
    for host in granted.started.event.hosts:
        if (name := place(host.name, host.port)) not in exposure.hosts and not _is_left_out(exposure.hosts):
            yield Opening.HOST, name, "", False
    paths = {_path_and_classes(text)[0] for text in (*exposure.readable, *exposure.writable)}
    for mount in granted.started.event.mounts:
        opening, told = (
            (Opening.WRITE, exposure.writable) if mount.access == "write" else (Opening.READ, exposure.readable)
        )
        if mount.path not in paths and not _is_left_out(told):
            yield opening, clip(mount.path, 200), _NOT_RECORDED, False


def _path_and_classes(text: str) -> tuple[str, str]:
    """A path and its classes, as decisions write them: `/srv/data (production)`."""
    path, bracket, classes = text.rpartition(" (")
    if bracket and classes.endswith(")"):
        return path, classes[:-1]
    return text, _NOT_RECORDED


def _named(texts: Sequence[str]) -> Sequence[str]:
    return texts[:-1] if _is_left_out(texts) else texts


def _is_left_out(texts: Sequence[str]) -> bool:
    return bool(texts) and texts[-1].startswith(_LEFT_OUT)


def _lists_left_out(exposure: ExposureRecord) -> Iterator[bool]:
    for each in fields(exposure):
        yield _is_left_out(getattr(exposure, each.name))


def _order(item: tuple[_Key, _Exposed]) -> tuple[int, bool, str, str]:
    (opening, what, classes), found = item
    return list(Opening).index(opening), not found.new_to, classes, what


def _row(opening: Opening, what: str, classes: str, found: _Exposed) -> ExposureRow:
    return ExposureRow(
        opening=opening.value,
        what=what,
        data_class=classes,
        runs=len(found.runs),
        waiting=len(found.waiting),
        principals=shorten(sorted(found.principals), 4),
        new_to=shorten(sorted(found.new_to), 4),
        entries=tuple(sorted(found.entries)[:_MOST_ENTRIES]),
    )


def _most(name: str, granted: Sequence[_Granted]) -> GrantedLimit:
    def value(one: _Granted) -> int:
        return int(getattr(one.limits, name))

    most = max(map(value, granted))
    reached = [one for one in granted if value(one) == most]
    unit = _UNITS.get(name.rpartition("_")[2], "")
    return GrantedLimit(
        limit=_LIMITS.get(name, name.replace("_", " ")),
        most=f"{number(most)} {unit}".strip(),
        runs=len(reached),
        principals=shorten(sorted({one.story.principal for one in reached}), 4),
        entries=tuple(sorted(one.entries[-1] for one in reached)[:_MOST_ENTRIES]),
    )
