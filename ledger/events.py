"""The event catalogue: one frozen dataclass per kind of entry, and nothing else.

flows/ writes them, reports/ and the auditors' tools read them; the page docs/events.md is generated from here.

Rules for what stands here, because these bytes outlive the code:
- A kind is `subject:action`. A field is never renamed, retyped or removed: a change is a new version of the kind.
- Fields are str, int, bool, None, tuples of these, PayloadRef, or the small records below. No floats, no free dictionaries.
- Nothing secret, and nothing large: bytes go to payloads, excerpts are redacted and bounded by the writer.
- An event never says more than was known when it was written; what could not be observed is said.

The file is long because it is one list, read from top to bottom by whoever wants to know what can be on record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from .types import PayloadRef

__all__ = ["CATALOGUE", "Event", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the catalogue says of one kind."""

    name: str
    version: int
    ocsf: int
    """OCSF class_uid that an exporter maps it to."""
    max_bytes: int
    """Bound of the whole leaf; at most 32 KiB."""
    since: str
    """First release."""
    controls: tuple[str, ...]
    """Controls that this kind of evidence supports; full names in policies/controls."""


class Record:
    """What events and their parts have in common, written once: generated for each of them it was a fifth of every command's start."""

    __slots__ = ()

    def _names(self) -> tuple[str, ...]:
        return self.__slots__

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names())

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        values = zip(self._names(), self._values(), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in values)})"


class Event(Record):
    """Base of all events."""

    __slots__ = ()
    KIND: ClassVar[Kind]


CATALOGUE: dict[tuple[str, int], type[Event]] = {}
"""(kind, version) -> class; filled on import, never changed after."""

_E = TypeVar("_E", bound=type[Event])

API_ACTIVITY = 6003
AUTHORIZE_SESSION = 3003
PROCESS_ACTIVITY = 1007
NETWORK_ACTIVITY = 4001
FILE_ACTIVITY = 1001
VULNERABILITY_FINDING = 2002
COMPLIANCE_FINDING = 2003
DETECTION_FINDING = 2004
ENTITY_MANAGEMENT = 3004
SCHEDULED_JOB = 1006
INVENTORY = 5020


def kind(
    name: str, *, ocsf: int, version: int = 1, max_bytes: int = 4096, controls: tuple[str, ...] = ()
) -> Callable[[_E], _E]:
    """Enter a class into the catalogue."""

    def enter(cls: _E) -> _E:
        cls.KIND = Kind(name, version, ocsf, max_bytes, "0.1.0", controls)
        if (name, version) in CATALOGUE:
            message = f"{name} version {version} stands twice in the catalogue"
            raise TypeError(message)
        CATALOGUE[name, version] = cls
        return cls

    return enter


# ---------------------------------------------------------------- records: parts of events


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FileRecord(Record):
    """A file by name and content digest."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class InputRecord(Record):
    """A file that came with a request; its bytes are a payload."""

    name: str
    sha256: str
    bytes: int
    content: PayloadRef


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HostRecord(Record):
    """A host and a port."""

    name: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MountRecord(Record):
    """A path of the machine and how it was mounted."""

    path: str
    access: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LimitsRecord(Record):
    """Limits of one run; the fields are those of policies.types.Limits."""

    wall_seconds: int
    cpu_seconds: int
    memory_mib: int
    processes: int
    output_kib: int
    disk_mib: int
    files: int
    open_files: int
    artefact_mib: int
    artefacts: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ReasonRecord(Record):
    """A deciding rule and its public reason."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ItemRecord(Record):
    """One request of a bundle and its answer."""

    action: str
    resource: str
    result: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ExposureRecord(Record):
    """What a grant could do at worst."""

    hosts: tuple[str, ...]
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    packages_with_findings: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CodeRecord(Record):
    """Hints that were taken from the program's text."""

    language: str
    parsed: bool
    error: str
    imports: tuple[str, ...]
    flags: tuple[str, ...]
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OutputRecord(Record):
    """One output stream; the payload holds the first bytes, redacted."""

    sha256: str
    seen: int
    truncated: bool
    redactions: int
    payload: PayloadRef | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class UsageRecord(Record):
    """What a run used; None where it could not be measured."""

    wall_ms: int
    cpu_ms: int | None
    peak_memory_bytes: int | None
    peak_processes: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FindingRecord(Record):
    """One pin with findings."""

    name: str
    version: str
    state: str
    severity: str
    advisories: tuple[str, ...]
    fixed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PinRecord(Record):
    """One pin."""

    name: str
    version: str
    direct: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DataRecord(Record):
    """Identity and age of advisory data."""

    data_class: str
    sha256: str
    source: str
    as_of: str
    age_days: int
    records: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FreshnessRecord(Record):
    """The latest version of one pin, or why it is unknown."""

    name: str
    used: str
    latest: str | None
    reason: str
    yanked: bool | None


# ---------------------------------------------------------------- run: one execution, from submission to its one end


@kind("run:submitted", ocsf=API_ACTIVITY, max_bytes=32768, controls=("AU-2", "AU-3", "AU-12", "A.8.15", "ASI10"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunSubmitted(Event):
    """A request was received; nothing else has happened yet."""

    principal: str
    principal_kind: str
    owner: str | None
    authentication: str
    conductor: str
    """`direct` or `prefect`: which of the two will take it through the steps."""
    request_sha256: str
    language: str
    file_name: str
    code_sha256: str
    code_bytes: int
    code: PayloadRef
    request: PayloadRef
    """Everything else that is needed to run it, as canonical JSON."""
    argument_count: int
    files: tuple[InputRecord, ...]
    requirements_sha256: str | None
    requirement_count: int
    profile: str
    hosts: tuple[HostRecord, ...]
    mounts: tuple[MountRecord, ...]
    limits: LimitsRecord
    facts: CodeRecord
    purpose: str
    ticket: str


@kind("run:held", ocsf=AUTHORIZE_SESSION, max_bytes=8192, controls=("AC-5", "AC-6", "CC6.3", "ASI09"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunHeld(Event):
    """The run waits for people; not an end."""

    decision: str
    roles: tuple[str, ...]
    binding: str
    """Digest that an approval is bound to."""
    expires: str


@kind("run:claimed", ocsf=PROCESS_ACTIVITY, controls=("AU-10",))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunClaimed(Event):
    """One process took the run for execution; only the writer of this very entry may execute."""

    nonce: str
    conductor: str
    pid: int
    boot_id: str
    process_started: str


@kind("run:started", ocsf=PROCESS_ACTIVITY, max_bytes=16384, controls=("AU-2", "AU-12", "SC-39", "ASI05"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunStarted(Event):
    """Execution is about to begin, under this grant."""

    decision: str
    grant_sha256: str
    profile: str
    limits: LimitsRecord
    hosts: tuple[HostRecord, ...]
    mounts: tuple[MountRecord, ...]
    layers: tuple[str, ...]
    lock_sha256: str | None
    environment: str | None
    environment_sha256: str | None


@kind("run:finished", ocsf=PROCESS_ACTIVITY, max_bytes=16384, controls=("AU-2", "AU-3", "AU-12", "A.8.15", "CC7.2"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunFinished(Event):
    """The one end of a run."""

    end: str
    """executed, denied, blocked, unavailable, refused, expired, withdrawn, cancelled, stopped, unknown."""
    started: bool
    """Whether execution had begun."""
    outcome: str | None
    """Outcome class where it was executed."""
    explanation: str
    rules: tuple[str, ...]
    """Deciding rule ids: of the denial that ended it, or of the allowance under which it was executed."""
    exit_code: int | None = None
    signal: int | None = None
    limits_hit: tuple[str, ...] = ()
    usage: UsageRecord | None = None
    stdout: OutputRecord | None = None
    stderr: OutputRecord | None = None
    artefacts: int = 0
    artefacts_refused: tuple[ReasonRecord, ...] = ()
    unobserved: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    spec_sha256: str = ""
    nsjail_sha256: str = ""
    observed_total: int = 0
    """How many observations there were; those beyond the cap are in `overflow`."""
    overflow: PayloadRef | None = None
    undeclared: tuple[str, ...] = ()
    """Observed, but announced by no fact of the code: `process`, `host name`, `file path`."""


@kind("run:late_result", ocsf=PROCESS_ACTIVITY, max_bytes=8192, controls=("AU-12",))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunLateResult(Event):
    """A result that came after the run had been given its end."""

    outcome: str
    explanation: str
    exit_code: int | None
    signal: int | None


@kind("run:cancelled", ocsf=API_ACTIVITY)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunCancelled(Event):
    """Somebody asked for the run to be cancelled; `run:finished` follows."""

    by: str
    reason: str


@kind("run:withdrawn", ocsf=API_ACTIVITY)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunWithdrawn(Event):
    """The requester took a held run back; `run:finished` follows."""

    by: str
    reason: str


# ---------------------------------------------------------------- policy, approval, principal, access


@kind(
    "policy:decided",
    ocsf=AUTHORIZE_SESSION,
    max_bytes=32768,
    controls=("AC-3", "AC-6", "AU-2", "CC6.1", "A.5.15", "ASI02"),
)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PolicyDecided(Event):
    """A decision, with what is needed to explain it and to make it again."""

    decision: str
    stage: str
    """`submit`, `run`, `approve`, `read` or another action that was decided."""
    result: str
    """`allowed`, `needs_approval` or `denied`."""
    rules: tuple[str, ...]
    reasons: tuple[ReasonRecord, ...]
    roles: tuple[str, ...]
    items: tuple[ItemRecord, ...]
    items_total: int
    profile: str
    limits: LimitsRecord | None
    exposure: ExposureRecord
    obligations: tuple[str, ...]
    errors: tuple[str, ...]
    policy_sha256: str
    schema_sha256: str
    engine: str
    inputs: PayloadRef
    subject: str = ""
    """What was decided about, where that is not the run of the entry."""


@kind("policy:changed", ocsf=ENTITY_MANAGEMENT, max_bytes=16384, controls=("CM-3", "CM-5", "CC8.1", "A.8.32"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PolicyChanged(Event):
    """A policy set was put in force."""

    author: str
    policy_sha256: str
    schema_sha256: str
    previous_sha256: str | None
    rules: int
    profiles: tuple[str, ...]
    policy_set: PayloadRef
    """Every file of the set, as canonical JSON of path and text."""
    files: tuple[FileRecord, ...]


@kind(
    "policy:changed", version=2, ocsf=ENTITY_MANAGEMENT, max_bytes=32768, controls=("CM-3", "CM-5", "CC8.1", "A.8.32")
)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PolicyReplaced(Event):
    """A policy set took the place of the one before; version 1 is that of a home's first set."""

    author: str
    decision: str
    """Decision that allowed the change."""
    policy_sha256: str
    schema_sha256: str
    previous_sha256: str
    rules: int
    profiles: tuple[str, ...]
    comment: str
    policy_set: PayloadRef
    """Every file of the set, as canonical JSON of path and text."""
    difference: PayloadRef
    """Unified diff from the set before."""
    files: tuple[FileRecord, ...]
    """At most 100; all are in the payload."""


@kind("policy:rejected", ocsf=ENTITY_MANAGEMENT, max_bytes=8192, controls=("CM-3", "CM-5"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PolicyRejected(Event):
    """A policy set was refused; the one before stays in force."""

    author: str
    policy_sha256: str
    problems: tuple[str, ...]


@kind("approval:granted", ocsf=AUTHORIZE_SESSION, max_bytes=8192, controls=("AC-5", "CC6.3", "A.5.3", "ASI09"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApprovalGranted(Event):
    """A person agreed to exactly what the binding covers."""

    role: str
    approver: str
    authentication: str
    binding: str
    decision: str
    """Decision that allowed the approval itself."""
    comment: str
    expires: str


@kind("approval:refused", ocsf=AUTHORIZE_SESSION, max_bytes=8192, controls=("AC-5", "A.5.3"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApprovalRefused(Event):
    """A person said no."""

    role: str
    approver: str
    authentication: str
    binding: str
    decision: str
    comment: str


@kind("approval:expired", ocsf=AUTHORIZE_SESSION)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApprovalExpired(Event):
    """Nobody answered in time, or the answer was not used in time."""

    binding: str


@kind("approval:consumed", ocsf=AUTHORIZE_SESSION, controls=("AC-5", "AU-10"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApprovalConsumed(Event):
    """An approval was used up by the claim that stands in the same batch."""

    granted: int
    """Index of the entry that granted it."""
    binding: str
    approver: str


@kind("principal:added", ocsf=ENTITY_MANAGEMENT, controls=("AC-2", "A.5.15"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PrincipalAdded(Event):
    """A principal was entered into the directory."""

    principal: str
    principal_kind: str
    owner: str | None
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    by: str


@kind("principal:disabled", ocsf=ENTITY_MANAGEMENT, controls=("AC-2", "A.5.18"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PrincipalDisabled(Event):
    """A principal was disabled."""

    principal: str
    by: str
    reason: str


@kind("access:denied", ocsf=AUTHORIZE_SESSION, max_bytes=8192, controls=("AC-3", "AU-2", "AU-9"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AccessDenied(Event):
    """Somebody was refused something other than a run; unauthenticated failures are counted per source and minute."""

    action: str
    source: str
    rules: tuple[str, ...]
    reason: str
    count: int


# ---------------------------------------------------------------- dependencies, environment, advisories


@kind("dependencies:resolved", ocsf=INVENTORY, max_bytes=32768, controls=("SR-3", "A.8.19", "ASI04"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DependenciesResolved(Event):
    """The lock of a run: what is audited and what is installed."""

    lock_sha256: str
    source: str
    resolver: str
    """`given` where the input was pinned and hashed."""
    total: int
    pins: tuple[PinRecord, ...]
    """At most 200; all are in the payload."""
    lock: PayloadRef


@kind(
    "dependencies:audited",
    ocsf=VULNERABILITY_FINDING,
    max_bytes=32768,
    controls=("RA-5", "SI-2", "A.8.8", "ASI04", "CC7.1"),
)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DependenciesAudited(Event):
    """What the audit of a lock found, and whether it was an audit at all."""

    lock_sha256: str
    real: bool
    """False for demo data: not a real audit."""
    complete: bool
    coverage_error: str
    data: DataRecord | None
    clean: int
    vulnerable: int
    waived: int
    undetermined: int
    unauditable: int
    findings: tuple[FindingRecord, ...]
    """Pins that are not clean, at most 100; all are in the payload."""
    second_opinion: str
    """Tool and version, or empty."""
    second_opinion_agreed: bool | None
    report: PayloadRef


@kind("dependencies:freshness", ocsf=INVENTORY, max_bytes=32768, controls=("SI-2", "A.8.8"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DependenciesFreshness(Event):
    """The latest version of each pin, as the index said at the time."""

    as_of: str
    known: int
    unknown: int
    packages: tuple[FreshnessRecord, ...]
    """At most 100 an entry."""


@kind("dependencies:reaudited", ocsf=VULNERABILITY_FINDING, max_bytes=32768, controls=("RA-5", "SI-2", "A.8.8"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DependenciesReaudited(Event):
    """The lock of past runs, judged by newer advisory data."""

    lock_sha256: str
    data: DataRecord
    newly_vulnerable: tuple[FindingRecord, ...]
    runs: tuple[str, ...]
    runs_total: int
    principals: tuple[str, ...]


@kind("environment:built", ocsf=INVENTORY, controls=("SR-11", "A.8.19", "ASI04"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EnvironmentBuilt(Event):
    """An environment was built from a lock."""

    environment: str
    lock_sha256: str
    tree_sha256: str
    files: int
    bytes: int
    tool: str
    in_jail: bool
    """Whether the building itself happened in a jail."""
    wall_ms: int


@kind("environment:reused", ocsf=INVENTORY, controls=("SR-11",))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EnvironmentReused(Event):
    """A stored environment was checked against its digest and used again."""

    environment: str
    lock_sha256: str
    tree_sha256: str


@kind("environment:rejected", ocsf=DETECTION_FINDING, controls=("SI-7", "SR-11"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EnvironmentRejected(Event):
    """A stored environment was not what was built, or building failed."""

    environment: str
    lock_sha256: str
    reason: str


@kind("environment:removed", ocsf=INVENTORY)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EnvironmentRemoved(Event):
    """A stored environment was deleted."""

    environment: str
    reason: str


@kind("advisories:imported", ocsf=INVENTORY, controls=("RA-5", "A.8.8"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AdvisoriesImported(Event):
    """Advisory data was imported and is now in use."""

    data: DataRecord
    previous_sha256: str | None
    by: str


# ---------------------------------------------------------------- what was observed of a run


@kind("egress:attempted", ocsf=NETWORK_ACTIVITY, controls=("SC-7", "AC-4", "A.8.20"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EgressAttempted(Event):
    """The program tried to reach something."""

    host: str
    port: int
    allowed: bool
    reason: str
    source: str
    program_controlled: bool
    count: int
    bytes_up: int | None = None
    bytes_down: int | None = None
    wall_ms: int | None = None


@kind("command:observed", ocsf=PROCESS_ACTIVITY, max_bytes=16384, controls=("AU-12", "SI-4", "A.8.16"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CommandObserved(Event):
    """The program started another program."""

    number: int
    """Among the starts of the run, counted from 1."""
    parent: int | None
    """The number of the one that started it; 0 for the run's own program, None if unknown."""
    path: str
    arguments: tuple[str, ...] | None
    """None if unknown."""
    source: str
    program_controlled: bool
    exit_status: int | None
    wall_ms: int | None


@kind("file:observed", ocsf=FILE_ACTIVITY, max_bytes=8192, controls=("AU-12", "SI-4"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FileObserved(Event):
    """The program opened or changed a file outside its own workspace."""

    path: str
    action: str
    source: str
    program_controlled: bool
    sha256: str


@kind("artefact:collected", ocsf=FILE_ACTIVITY, controls=("AU-12",))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ArtefactCollected(Event):
    """A file that the program left was taken out of the jail."""

    name: str
    sha256: str
    bytes: int
    redactions: int
    content: PayloadRef


@kind("syscall:denied", ocsf=PROCESS_ACTIVITY, controls=("SC-39", "SI-4", "ASI05"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SyscallDenied(Event):
    """The system-call filter stopped a call."""

    number: int
    name: str
    action: str
    command: str
    source: str
    count: int


@kind("output:redacted", ocsf=DETECTION_FINDING, controls=("A.8.12", "IA-5(7)"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OutputRedacted(Event):
    """Secrets were replaced in what the program wrote."""

    where: str
    count: int


@kind("slot:discarded", ocsf=PROCESS_ACTIVITY)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SlotDiscarded(Event):
    """A prepared jail was thrown away unused."""

    slot: str
    reason: str


# ---------------------------------------------------------------- reviews and findings


@kind("review:completed", ocsf=COMPLIANCE_FINDING, max_bytes=8192, controls=("AU-6", "AU-7", "CA-7", "CC4.1", "A.8.16"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ReviewCompleted(Event):
    """A window of the ledger was judged and rendered."""

    review: str
    since: str
    until: str
    size: int
    """Tree size that was judged."""
    severity: str
    verdict: str
    decisions: int
    anomalies: int
    html_sha256: str
    json_sha256: str
    conductor: str


@kind("review:signed", ocsf=COMPLIANCE_FINDING, controls=("AU-6", "CC4.1"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ReviewSigned(Event):
    """A person signed a review."""

    review: str
    signer: str
    html_sha256: str
    comment: str


@kind("finding:raised", ocsf=DETECTION_FINDING, max_bytes=16384, controls=("SI-4", "AU-6", "A.8.16", "CC7.2"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FindingRaised(Event):
    """A detector found something."""

    finding: str
    detector: str
    severity: str
    principal: str
    title: str
    observed: str
    baseline: str
    why: str
    benign: str
    next_step: str
    confidence: int
    entries: tuple[int, ...]
    review: str


@kind("finding:marked", ocsf=DETECTION_FINDING, controls=("AU-6",))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FindingMarked(Event):
    """A person said what a finding was."""

    finding: str
    mark: str
    """`benign`, `confirmed` or `accepted`."""
    by: str
    reason: str
    until: str


# ---------------------------------------------------------------- the ledger itself


@kind("ledger:opened", ocsf=ENTITY_MANAGEMENT, controls=("AU-9", "A.8.15"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerOpened(Event):
    """The first entry of every ledger."""

    origin: str
    verifier_key: str
    """For information; a verifier never takes a key from the ledger."""
    schema: str
    release: str
    by: str


@kind("ledger:heartbeat", ocsf=ENTITY_MANAGEMENT)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerHeartbeat(Event):
    """The service is alive though nothing happens; counts only between service:started and service:stopped."""

    interval_seconds: int


@kind("ledger:verified", ocsf=COMPLIANCE_FINDING, max_bytes=8192, controls=("AU-9(3)", "AU-10", "SI-7"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerVerified(Event):
    """The whole ledger was checked."""

    size: int
    root: str
    consistent: bool
    anchored_to: int | None
    problems: tuple[ReasonRecord, ...]
    not_checked: tuple[str, ...]


@kind("ledger:read", ocsf=API_ACTIVITY, controls=("AU-9", "AU-9(4)", "AC-6"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerRead(Event):
    """Somebody read from the ledger through a door."""

    what: str
    decision: str
    first: int | None
    last: int | None
    entries: int


@kind("ledger:exported", ocsf=API_ACTIVITY, controls=("AU-9", "A.5.28"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerExported(Event):
    """A part of the ledger was written to a file."""

    format: str
    first: int
    last: int
    sha256: str


@kind("ledger:erased", ocsf=ENTITY_MANAGEMENT, controls=("AU-11", "A.5.33"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerErased(Event):
    """A payload was erased; its commitment stays."""

    payload: str
    by: str
    basis: str


@kind("ledger:key_rotated", ocsf=ENTITY_MANAGEMENT, controls=("AU-9(3)", "AU-10"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LedgerKeyRotated(Event):
    """From here on checkpoints are signed by another key."""

    old_key: str
    new_key: str
    by: str


@kind("ledger:clock_set_back", ocsf=ENTITY_MANAGEMENT, controls=("AU-8", "A.8.17"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerClockSetBack(Event):
    """The machine's clock shows a time long before the newest entry: the times of earlier entries, or of later ones, are wrong."""

    newest: str
    """Time of the newest entry until then, as its leaf has it."""
    seconds: int
    """By how many whole seconds the clock is behind that."""


# ---------------------------------------------------------------- the machinery


@kind("service:started", ocsf=ENTITY_MANAGEMENT)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ServiceStarted(Event):
    """A service began."""

    service: str
    pid: int
    boot_id: str
    release: str


@kind("service:stopped", ocsf=ENTITY_MANAGEMENT)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ServiceStopped(Event):
    """A service ended in order."""

    service: str
    reason: str


@kind("schedule:registered", ocsf=SCHEDULED_JOB, controls=("CA-7", "AU-6"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ScheduleRegistered(Event):
    """A flow was registered with a schedule."""

    deployment: str
    entrypoint: str
    schedule: str
    timezone: str
    by: str


@kind("stop:ordered", ocsf=API_ACTIVITY, controls=("IR-4", "ASI10"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StopOrdered(Event):
    """Somebody ordered that runs stop."""

    scope: str
    target: str
    by: str
    reason: str


@kind("stop:released", ocsf=API_ACTIVITY, controls=("IR-4", "AC-5"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StopReleased(Event):
    """Somebody else released a stop."""

    ordered: int
    by: str
    reason: str


@kind("notification:sent", ocsf=API_ACTIVITY)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NotificationSent(Event):
    """A notification was accepted by its receiver."""

    channel: str
    subject: str
    attempts: int


@kind("notification:failed", ocsf=API_ACTIVITY)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NotificationFailed(Event):
    """A notification could not be delivered."""

    channel: str
    subject: str
    attempts: int
    reason: str


@kind("reconciliation:completed", ocsf=COMPLIANCE_FINDING, max_bytes=8192)
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ReconciliationCompleted(Event):
    """Ledger and machine were compared; what a crash left open was closed and swept."""

    closed: tuple[str, ...]
    """Runs that were given their end."""
    swept: tuple[str, ...]
    """What was removed: processes, mounts, control groups, directories."""
    left: tuple[str, ...]
    """What could not be removed, with the reason."""


@kind("doctor:refused", ocsf=COMPLIANCE_FINDING, max_bytes=8192, controls=("SC-39", "CM-7"))
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DoctorRefused(Event):
    """A layer that a profile demands is missing on this machine."""

    profile: str
    layers: tuple[str, ...]
    causes: tuple[str, ...]
