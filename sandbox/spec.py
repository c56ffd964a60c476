"""What one jail is made of, and its rendering to nsjail's text configuration.

One function renders and one rule escapes, so that nothing a caller names can become another line of the configuration.
The rendering holds nothing that differs between two runs of the same kind (outside uid and descriptors go on the command
line): equal jails have equal digests.
"""

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

__all__ = [
    "NAMESPACES",
    "Bind",
    "Content",
    "JailSpec",
    "Link",
    "MountPoint",
    "Proc",
    "Rlimits",
    "Tmpfs",
    "digest",
    "quote",
    "render",
]

NAMESPACES = ("net", "user", "ns", "pid", "ipc", "uts", "cgroup")
"""In nsjail's words; `ns` is the mount namespace."""

_SHOWN = tuple(chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\{b:03o}" for b in range(256))  # noqa: PLR2004 - the range of printable ASCII
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of this machine, under a name of its own."""

    source: Path
    target: str
    writable: bool = False
    executable: bool = False
    device: bool = False
    owned: bool = False
    """Whether what belongs to the owner of the source, unless that is root, is shown as the jail's own where it is staged."""
    judged: bool = False
    """Whether the source was judged by its resolved name: if that leads elsewhere by now, it is not bound where it is staged."""


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A sized file system in memory."""

    target: str
    size_bytes: int
    inodes: int
    mode: int = 0o700
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Proc:
    """The process file system, showing nothing but the jail's own processes."""

    target: str = "/proc"
    options: str = "subset=pid,hidepid=2"


@dataclass(frozen=True, slots=True)
class Content:
    """A read-only file with this content."""

    target: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str
    to: str


MountPoint = Bind | Tmpfs | Proc | Content | Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimits:
    """Per-process limits; None leaves it unlimited."""

    address_space_mib: int | None
    cpu_seconds: int
    file_size_mib: int
    open_files: int
    processes: int | None
    core_bytes: int = 1
    """One byte: with none the kernel would still start the machine's own handler for cores, as root, for a program that wants it
    to (core(5), fs/coredump.c). Set by the runner, nsjail counts in megabytes."""
    pending_signals: int | None = 512
    """Timers and queued signals, which the kernel counts against the runner's own user too; set by the runner, nsjail cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JailSpec:
    """Everything that decides what the jail lets through."""

    command: tuple[str, ...]
    """What nsjail starts; three descriptors are added."""
    environment: tuple[tuple[str, str], ...]
    mounts: tuple[MountPoint, ...]
    rlimits: Rlimits
    wall_seconds: int
    """The backstop: the runner's own clock ends a run before."""
    seccomp: str
    """Text of the filter; empty for none."""
    seccomp_log: bool = True
    cwd: str = "/work"
    hostname: str = "jail"
    namespaces: tuple[str, ...] = NAMESPACES
    inside_uid: int = 1000
    keep_capabilities: bool = False
    root_writable: bool = False
    log_inside: bool = False
    """Whether the pipe of nsjail's log is passed into the jail; like the two above never, but to show what it is good for."""
    first: bytes = b""
    """Code of the first process, which it is sent before all else; its digest is a word of the command."""
    staged: bool = False
    """Whether sources are bound below `staging` first, because the jail's uid cannot walk to them."""
    staging: Path = field(default=Path("/tmp"))  # noqa: S108 - an empty file system of the run's own is mounted over it


@functools.lru_cache(maxsize=512)
def quote(text: str | bytes) -> str:
    """The one escaping rule: a text-format string literal of exactly these bytes."""
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return '"' + "".join(map(_SHOWN.__getitem__, raw)) + '"'


@functools.lru_cache(maxsize=32)
def render(spec: JailSpec) -> str:
    """The configuration that nsjail reads."""
    lines = [
        "mode: ONCE",
        f"hostname: {quote(spec.hostname)}",
        f"cwd: {quote(spec.cwd)}",
        f"time_limit: {spec.wall_seconds}",
        "log_level: INFO",
        "nice_level: 0",
        "keep_env: false",
        f"keep_caps: {_boolean(spec.keep_capabilities)}",
        "disable_no_new_privs: false",
        "mount_proc: false",
        "iface_no_lo: false",
        *(f"envar: {quote(f'{name}={value}')}" for name, value in spec.environment),
        *_render_rlimits(spec.rlimits),
        *(f"clone_new{name}: {_boolean(name in spec.namespaces)}" for name in NAMESPACES),
        *(line for index, mount in enumerate(spec.mounts) for line in _render_mount(spec, index, mount)),
    ]
    if spec.seccomp:
        lines += [f"seccomp_string: {quote(line)}" for line in spec.seccomp.splitlines()]
        lines.append(f"seccomp_log: {_boolean(spec.seccomp_log)}")
    lines.append(
        f"exec_bin {{ path: {quote(spec.command[0])} {' '.join(f'arg: {quote(a)}' for a in spec.command[1:])} }}"
    )
    return "\n".join(lines) + "\n"


@functools.lru_cache(maxsize=32)
def digest(text: str) -> str:
    """SHA-256 (hex) of a rendered configuration."""
    return hashlib.sha256(text.encode()).hexdigest()


def staged_source(spec: JailSpec, index: int, mount: Bind) -> Path:
    """Where nsjail finds the source of a bind."""
    return spec.staging / str(index) if spec.staged and not mount.device else mount.source


def _render_rlimits(limits: Rlimits) -> list[str]:
    values = {
        "as": limits.address_space_mib,
        "cpu": limits.cpu_seconds,
        "fsize": limits.file_size_mib,
        "nofile": limits.open_files,
        "nproc": limits.processes,
        "stack": 8,
        "memlock": 64,
        "rtprio": 0,
        "msgqueue": 0,
    }
    # for half of them nsjail takes the value only if told that it is one
    return ["rlimit_core_type: HARD"] + [
        line
        for name, value in values.items()
        for line in (
            (f"rlimit_{name}_type: INF",)
            if value is None
            else (f"rlimit_{name}: {value}", f"rlimit_{name}_type: VALUE")
        )
    ]


def _render_mount(spec: JailSpec, index: int, mount: MountPoint) -> list[str]:
    match mount:
        case Bind():
            fields = {
                "src": quote(str(staged_source(spec, index, mount))),
                "dst": quote(mount.target),
                "is_bind": "true",
                "rw": _boolean(mount.writable),
                "nosuid": "true",
                "nodev": _boolean(not mount.device),
                "noexec": _boolean(not mount.executable),
            }
            if spec.staged:
                return [f"# {index}: {quote(str(mount.source))}", _mount(fields)]
            return [_mount(fields)]
        case Tmpfs():
            options = f"size={mount.size_bytes},nr_inodes={mount.inodes},mode={mount.mode:o}"
            fields = {
                "dst": quote(mount.target),
                "fstype": '"tmpfs"',
                "options": quote(options),
                "rw": _boolean(mount.writable),
            }
        case Proc():
            fields = {"dst": quote(mount.target), "fstype": '"proc"', "options": quote(mount.options), "rw": "false"}
        case Content():
            return [
                _mount(
                    {
                        "dst": quote(mount.target),
                        "src_content": quote(mount.content),
                        "rw": "false",
                        "nosuid": "true",
                        "nodev": "true",
                    }
                )
            ]
        case Link():
            return [_mount({"dst": quote(mount.target), "src": quote(mount.to), "is_symlink": "true"})]
        case _:
            assert_never(mount)
    return [_mount(fields | {"nosuid": "true", "nodev": "true", "noexec": "true"})]


def _mount(fields: dict[str, str]) -> str:
    return "mount { " + " ".join(f"{name}: {value}" for name, value in fields.items()) + " }"


def _boolean(value: bool) -> str:  # noqa: FBT001 - renders one
    return "true" if value else "false"
