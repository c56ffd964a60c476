"""Runs as stories: the entries of one run, folded into what is known of it at the end of a window.

It must never guess: what no entry says is absent from the story.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from ..ledger.events import (
    CommandObserved,
    EgressAttempted,
    Event,
    FileObserved,
    RunFinished,
    RunHeld,
    RunStarted,
    RunSubmitted,
    SyscallDenied,
)
from ..ledger.types import Entry
from .types import Fate, Window

__all__ = ["Known", "Seen", "Story", "known_at", "prying", "stays_inside"]

_E = TypeVar("_E", bound=Event)

_SECRET_PLACES = (
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/ssh/",
    "/root/",
    "/home/",
    "/proc/1/",
    "/var/run/secrets/",
    "/run/secrets/",
)
_SECRET_PARTS = ("/.ssh/", "/.aws/", "/.kube/", "/.gnupg/", "/.netrc", "/.docker/config.json", "/.custody/")
"""Where machines keep secrets: no program of an agent has business there."""
_MACHINE_SOCKETS = ("unix:/run/", "unix:/var/run/")
"""Where services of a machine listen, container engines among them."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[_E]):
    """An event together with the entry that proves it."""

    entry: Entry
    event: _E


@dataclass(slots=True)
class Story:
    """Everything that the ledger holds of one run, in the order of the entries."""

    run: str
    entries: list[Entry] = field(default_factory=list)

    def all(self, kind: type[_E]) -> list[Seen[_E]]:
        """Every event of this kind."""
        return [Seen(entry, entry.event) for entry in self.entries if isinstance(entry.event, kind)]

    def first(self, kind: type[_E]) -> Seen[_E] | None:
        """The first event of this kind."""
        for entry in self.entries:
            if isinstance(entry.event, kind):
                return Seen(entry, entry.event)
        return None

    def last(self, kind: type[_E]) -> Seen[_E] | None:
        """The last event of this kind."""
        for entry in reversed(self.entries):
            if isinstance(entry.event, kind):
                return Seen(entry, entry.event)
        return None

    @property
    def submitted(self) -> RunSubmitted | None:
        """The request, if the window knows it."""
        seen = self.first(RunSubmitted)
        return seen.event if seen else None

    @property
    def finished(self) -> Seen[RunFinished] | None:
        """The end; the first one, should there be more against the rule."""
        return self.first(RunFinished)

    @property
    def executed(self) -> bool:
        """Whether execution began, as far as the ledger says."""
        end = self.finished
        return (end is not None and end.event.started) or self.first(RunStarted) is not None

    @property
    def waiting(self) -> Seen[RunHeld] | None:
        """What it waits for, if it waits for people now."""
        held = self.last(RunHeld)
        if held is None or self.finished or self.executed:
            return None
        return held

    @property
    def principal(self) -> str:
        """Who asked for it."""
        submitted = self.submitted
        return submitted.principal if submitted else self.entries[0].actor

    @property
    def owner(self) -> str:
        """The accountable person, if the request names one."""
        submitted = self.submitted
        return (submitted.owner or "") if submitted else ""

    @property
    def program(self) -> str:
        """The name of the program, chosen by whoever sent it."""
        submitted = self.submitted
        return (submitted.file_name or "(no name)") if submitted else "(submitted before the entries that were read)"

    @property
    def time(self) -> datetime:
        """When it was submitted."""
        return self.entries[0].time

    @property
    def fate(self) -> Fate:
        """How the figures count it."""
        end = self.finished
        if end is None:
            return Fate.OPEN
        if end.event.end == "executed":
            return Fate.SUCCEEDED if end.event.outcome == "succeeded" else Fate.FAILED
        return Fate.FAILED if end.event.started or end.event.end == "unknown" else Fate.NOT_RUN

    @property
    def refused_egress(self) -> list[Seen[EgressAttempted]]:
        """What it tried to reach and could not; sockets between its own parts left out."""
        refused = [seen for seen in self.all(EgressAttempted) if not seen.event.allowed]
        return [seen for seen in refused if not (seen.event.host.startswith("unix:") and stays_inside(seen.event.host))]

    @property
    def refused_outside(self) -> list[Seen[EgressAttempted]]:
        """Those of them that would have left the jail."""
        return [seen for seen in self.refused_egress if not stays_inside(seen.event.host)]

    @property
    def observed(self) -> list[Entry]:
        """Entries of what it was seen to do."""
        kinds = (EgressAttempted, CommandObserved, FileObserved, SyscallDenied)
        return [entry for entry in self.entries if isinstance(entry.event, kinds)]


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger holds at the end of a window."""

    window: Window
    entries: Sequence[Entry]
    """Every entry before the end of the window, by index."""
    inside: Sequence[Entry]
    """Those in the window."""
    inside_indices: frozenset[int]
    later: Sequence[Entry]
    """Entries below the tree size whose times lie beyond the window: they belong to later ones."""
    stories: Sequence[Story]
    """Every run that is known, by its first entry."""

    @property
    def judged(self) -> list[Story]:
        """The runs of the window: ended in it, or open at its end."""
        return [story for story in self.stories if self._belongs(story)]

    @property
    def earlier(self) -> list[Story]:
        """Runs that ended before the window: what baselines are made of."""
        return [story for story in self.stories if not self._belongs(story)]

    def _belongs(self, story: Story) -> bool:
        end = story.finished
        return end is None or end.entry.index in self.inside_indices


def stays_inside(host: str) -> bool:
    """Whether an address is the jail's own: loopback, or a socket that is not one of the machine's services."""
    if host.startswith("unix:"):
        return not host.startswith(_MACHINE_SOCKETS)
    return host in {"localhost", "::1", "0.0.0.0"} or host.startswith("127.")  # noqa: S104 - because nothing is bound here


def prying(story: Story) -> list[Seen[FileObserved]]:
    """Files of secrets that it was observed to ask for; whether it got them is another question."""
    return [
        seen
        for seen in story.all(FileObserved)
        if seen.event.path.startswith(_SECRET_PLACES) or any(part in seen.event.path for part in _SECRET_PARTS)
    ]


def known_at(entries: Iterable[Entry], window: Window) -> Known:
    """Sort, cut off at the window's end, and fold into stories."""
    stored = sorted((entry for entry in entries if entry.index < window.size), key=lambda entry: entry.index)
    known = [entry for entry in stored if entry.time < window.until]
    later = [entry for entry in stored if entry.time >= window.until]
    stories: dict[str, Story] = {}
    for entry in known:
        if entry.run is not None:
            stories.setdefault(entry.run, Story(entry.run)).entries.append(entry)
    inside = _inside(known, window)
    return Known(window, known, inside, frozenset(e.index for e in inside), later, list(stories.values()))


def _inside(known: Sequence[Entry], window: Window) -> list[Entry]:
    """Entries of the window; one that was written during it with an older time counts, or no review would ever see it."""
    first = next((entry.index for entry in known if entry.time >= window.since), None)
    return [] if first is None else [entry for entry in known if entry.index >= first]
