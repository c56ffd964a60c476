"""A window of the ledger, judged; plain data, standard library only. It is long because it is one list: what stands on a page.

Text in here came from programs and people: it is hostile until a template has escaped it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

__all__ = ["Anomaly", "CompletedReview", "Rendered", "Review", "Severity", "Window"]


class Severity(StrEnum):
    """How bad; `unknown` ranks as high."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return {"critical": 4, "high": 3, "unknown": 3, "medium": 2, "low": 1, "none": 0}[self.value]


class Fate(StrEnum):
    """What became of a run, as the headline figures count it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It was executed and failed, was stopped, or nobody knows."""
    NOT_RUN = "not_run"
    """Denied, blocked, unavailable, refused, expired, withdrawn or cancelled before it started."""
    OPEN = "open"
    """No end yet: it waits for people, or runs."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which entries a review judges: those with `since` <= time < `until`, below the tree size `size`.

    A run belongs to the window in which it ended; a run without an end belongs to every window in which it is open.
    """

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
    """RFC 3339, or empty where nothing sets a date."""
    command: str = ""
    """The command that carries the decision out, where there is one."""
    anchor: str = ""
    """Where on the page the details are; empty for none."""


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
    """At most 20."""
    entries_total: int
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorNote:
    """One detector that looked at the window."""

    id: str
    sentence: str
    limits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run that failed, was stopped, did not run, or was refused something while it ran."""

    run: str
    time: datetime
    principal: str
    owner: str
    program: str
    purpose: str
    fate: Fate
    end: str
    """The end in words, with exit code, signal or limit."""
    headline: str
    """What happened, in one line."""
    rules: tuple[str, ...]
    reason: str
    asked: tuple[str, ...]
    """Hosts, mounts, packages and limits that it asked for."""
    announced: tuple[str, ...]
    """What its code let expect; hints, not requests."""
    tried: tuple[str, ...]
    """What it was observed to do."""
    got: tuple[str, ...]
    """What of it succeeded."""
    excerpt: str
    """The last lines that it wrote, bounded; empty for none."""
    severity: Severity
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRow:
    """One version of one package that runs of the window asked for."""

    name: str
    version: str
    state: str
    """`clean`, `vulnerable`, `waived`, `undetermined`, `unauditable`, or `not audited`."""
    real: bool
    """False where the verdict came from demo data."""
    advisories: tuple[str, ...]
    severity: Severity
    fixed_in: tuple[str, ...]
    freshness: str
    """`current`, `outdated`, `unknown`, or `never computed`."""
    latest: str
    """The latest version where it is known."""
    freshness_note: str
    """Why it is unknown, or that the version in use was yanked."""
    as_of: str
    """When the index was asked."""
    runs: int
    """Runs that asked for it."""
    executed: int
    """Runs that were executed with it."""
    principals: tuple[str, ...]
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRow:
    """One thing outside the jail that runs of the window were granted, or wait to be, and could have used at worst."""

    opening: str
    """`write data`, `read data`, `reach host`, `use package with findings`, or `use package` for one that is only new."""
    what: str
    """The path, `host:port` or `name==version`."""
    data_class: str
    """Classes of the data behind a path; empty for everything else."""
    runs: int
    """Runs that were granted it."""
    waiting: int
    """Runs that would be granted it if people agreed."""
    principals: tuple[str, ...]
    new_to: tuple[str, ...]
    """Those of them that had never been granted it when it was decided."""
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedLimit:
    """The most of one limit that a run of the window was granted."""

    limit: str
    most: str
    """With its unit."""
    runs: int
    """Runs that were granted as much."""
    principals: tuple[str, ...]
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditData:
    """One state of the advisory data, and how many audits of the window rest on it."""

    data_class: str
    """`live`, `imported`, `demo`, or `none`."""
    real: bool
    """False for demo data: not a real audit."""
    source: str
    as_of: str
    age_days: int
    records: int
    audits: int
    incomplete: int
    """Audits that did not cover every pin."""
    disagreed: int
    """Audits in which the second opinion did not agree."""
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One answer of a person in the window."""

    run: str
    granted: bool
    approver: str
    role: str
    requester: str
    comment: str
    time: datetime
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something other than a run that was refused at a door."""

    actor: str
    action: str
    source: str
    rules: tuple[str, ...]
    reason: str
    count: int
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a headline figure."""

    count: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One headline figure."""

    name: str
    value: int
    note: str
    anchor: str
    """Where its details are."""
    parts: tuple[Part, ...] = ()
    """What the value is made of, and adds up to; empty where it is not taken apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of the chart: a stretch of time, or one run."""

    label: str
    since: datetime
    succeeded: int
    failed: int
    not_run: int
    wall_ms: int | None = None
    """How long the one run took; None where it never ran or the bar is a stretch of time."""
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The runs that ended in the window, in order of their ends."""

    unit: str
    """`run`, `10 seconds`, `minute`, `hour`, `day` or `week`: what one bar stands for."""
    bars: tuple[Bar, ...]
    usual: int | None
    """Failed and not run in one bar that earlier time stays below (95 of 100); None without enough history."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of the window, whatever became of it."""

    run: str
    time: datetime
    """Of its submission."""
    principal: str
    program: str
    profile: str
    conductor: str
    fate: Fate
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
    checks: tuple[str, ...]
    not_checked: tuple[str, ...]
    anchored_to: int | None
    command: str
    """The command that checks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One thing that this review did not see."""

    text: str
    entries: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCount:
    """How many entries of one kind the window holds."""

    kind: str
    entries: int
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One entry that something on the page refers to."""

    index: int
    kind: str
    time: datetime
    actor: str
    run: str
    says: str
    leaf_hash: str


class Claim(Protocol):
    """Anything on the page that entries prove."""

    @property
    def entries(self) -> tuple[int, ...]:
        """The entries that prove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One window of the ledger, judged."""

    id: str
    organisation: str
    title: str
    """The verdict in one sentence."""
    verdict: str
    """The verdict in a few more."""
    severity: Severity
    window: Window
    figures: tuple[Figure, ...]
    decisions: tuple[DecisionNeeded, ...]
    attempts: tuple[Attempt, ...]
    refusals: tuple[Refusal, ...]
    packages: tuple[PackageRow, ...]
    audits: tuple[AuditData, ...]
    exposure: tuple[ExposureRow, ...]
    """What programs could have done at worst."""
    granted_limits: tuple[GrantedLimit, ...]
    anomalies: tuple[Anomaly, ...]
    detectors: tuple[DetectorNote, ...]
    """Which looked."""
    approvals: tuple[Approval, ...]
    chart: Chart
    runs: tuple[RunRow, ...]
    seal: Seal
    limits: tuple[Limit, ...]
    """What this review did not see."""
    kinds: tuple[KindCount, ...]
    not_a_real_audit: bool
    """Whether any audit in the window used data of class `demo`."""
    evidence: tuple[EvidenceRow, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A review as files."""

    html: bytes
    json: bytes
    html_sha256: str
    json_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedReview:
    """A review that the ledger knows of."""

    review: str
    time: datetime
    since: str
    until: str
    severity: str
    verdict: str
    decisions: int
    anomalies: int
    html_sha256: str
    entry: int
    signed_by: tuple[str, ...]
