"""A window of the ledger, judged; plain data, standard library only.

Text in here came from programs and people: it is hostile until a template has escaped it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Anomaly", "Rendered", "Review", "Severity", "Window"]


class Severity(StrEnum):
    """How bad; `unknown` ranks as high."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Window:
    """Which entries a review judges: those with `since` <= time < `until`, below the tree size `size`."""

    since: datetime
    until: datetime
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionNeeded:
    """Something that a person must decide."""

    what: str
    why: str
    who: str
    severity: Severity
    entries: tuple[int, ...]
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One finding of a detector, explained well enough to be acted on."""

    id: str
    """Stable: the same observation in a later review has the same id."""
    detector: str
    severity: Severity
    title: str
    principal: str
    observed: str
    baseline: str
    why: str
    benign: str
    next_step: str
    confidence: int
    """Per cent."""
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run that was denied, blocked, failed or stopped."""

    run: str
    time: datetime
    principal: str
    program: str
    end: str
    """The end, and the outcome class where it was executed."""
    rules: tuple[str, ...]
    reason: str
    asked: tuple[str, ...]
    """Hosts, mounts and packages that it asked for."""
    tried: tuple[str, ...]
    """What it was observed to do."""
    got: tuple[str, ...]
    """What of it succeeded."""
    severity: Severity
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRow:
    """One package of the window."""

    name: str
    version: str
    state: str
    advisories: tuple[str, ...]
    severity: Severity
    fixed_in: str
    latest: str
    """A version, or `unknown: ` and the reason, or `never computed`."""
    as_of: str
    runs: int
    principals: tuple[str, ...]
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One headline figure."""

    name: str
    value: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """One bar of the chart."""

    day: str
    executed: int
    failed: int
    denied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of the window, whatever became of it."""

    run: str
    time: datetime
    principal: str
    program: str
    profile: str
    end: str
    severity: Severity
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What is known of the ledger's integrity."""

    size: int
    root: str
    consistent: bool
    problems: tuple[str, ...]
    anchored_to: int | None
    command: str
    """The command that checks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One window of the ledger, judged."""

    id: str
    title: str
    """The verdict in one sentence."""
    verdict: str
    severity: Severity
    window: Window
    figures: tuple[Figure, ...]
    decisions: tuple[DecisionNeeded, ...]
    attempts: tuple[Attempt, ...]
    packages: tuple[PackageRow, ...]
    anomalies: tuple[Anomaly, ...]
    days: tuple[DayCount, ...]
    runs: tuple[RunRow, ...]
    seal: Seal
    limits: tuple[str, ...]
    """What this review did not see."""
    not_a_real_audit: bool
    """Whether any audit in the window used data of class `demo`."""
    evidence: tuple[tuple[int, str, str, str, str], ...]
    """(index, kind, time, actor, leaf hash) of every entry that is referred to."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A review as files."""

    html: bytes
    json: bytes
    html_sha256: str
    json_sha256: str
