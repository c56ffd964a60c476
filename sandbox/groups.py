"""Control groups (v1) that the runner owns: made for one run, joined before nsjail starts, read and removed after it.

It must never share a group between two runs, and never touch a group that no lease of ours names.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CONTROLLERS",
    "Counters",
    "GroupError",
    "Groups",
    "find_parents",
    "keyed",
    "kill_members",
    "number",
    "remove_group",
]

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
_MIB = 1024 * 1024
_PERIOD_US = 100_000
_OWN_PROCESSES = 2
"""nsjail and the trusted first process."""
_KILL_SECONDS = 5.0


class GroupError(Exception):
    """A control group could not be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the kernel counted for one group; None where it keeps no such count."""

    oom_kills: int = 0
    memory_peak: int | None = None
    process_refusals: int = 0
    process_peak: int | None = None
    cpu_ns: int | None = None


def find_parents(mounts: Path = Path("/proc/mounts"), own: Path = Path("/proc/self/cgroup")) -> dict[str, Path]:
    """For each v1 controller the group that this process is in, below which it may make its own."""
    mounted: dict[str, Path] = {}
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[2] == "cgroup":  # noqa: PLR2004 - columns of mounts(5)
            mounted |= {name: Path(fields[1]) for name in fields[3].split(",") if name in CONTROLLERS}
    parents: dict[str, Path] = {}
    for line in own.read_text(encoding="utf-8", errors="replace").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in mounted:
                inside = mounted[name] / path.lstrip("/")
                parents[name] = inside if inside.is_dir() and ".." not in path else mounted[name]
    return parents


class Groups:
    """The groups of one run, one for each controller (v1)."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self.paths = paths

    @classmethod
    def make(cls, name: str, parents: dict[str, Path], *, memory_mib: int, processes: int) -> "Groups":
        """Makes and limits the groups.

        Raises:
            GroupError: if one cannot be made or limited; none is left then.
        """
        groups = cls({controller: parent / name for controller, parent in parents.items()})
        try:
            for path in dict.fromkeys(groups.paths.values()):
                if path.is_dir():
                    kill_members(path)
                    path.rmdir()
                path.mkdir(mode=0o755)
            groups._limit(memory_mib, processes)
        except OSError as error:
            groups.remove()
            raise GroupError(f"{error.filename or name}: {error.strerror}") from error
        return groups

    def join(self) -> None:
        """Moves the calling thread in, so that the child it starts is born inside.

        It names itself by 0: a thread that is named by its number could be about to fork, exec or end, and the kernel waits for
        every processor before it moves that one. 0.1 ms against 13 ms (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`).
        """
        for path in dict.fromkeys(self.paths.values()):
            (path / "tasks").write_text("0", encoding="ascii")

    def adopt(self, processes: tuple[int, ...]) -> None:
        """Does nothing: nsjail was born inside, and so was everything that it started."""

    def members(self) -> frozenset[int]:
        """Every process in the groups."""
        return frozenset(pid for path in self.paths.values() for pid in _members(path))

    def kill(self) -> bool:
        """Kills every member until none is left; False if some would not die in time."""
        return all(kill_members(path) for path in dict.fromkeys(self.paths.values()))

    def counters(self) -> Counters:
        """The kernel's counts; to be read before the groups are removed."""
        memory, pids = self.paths.get("memory"), self.paths.get("pids")
        return Counters(
            oom_kills=keyed(memory, "memory.oom_control", "oom_kill") or 0,
            memory_peak=number(memory, "memory.max_usage_in_bytes"),
            process_refusals=keyed(pids, "pids.events", "max") or 0,
            process_peak=number(pids, "pids.peak"),
            cpu_ns=self.cpu_ns(),
        )

    def cpu_ns(self) -> int | None:
        """Processor time of everything that ever was in the group."""
        return number(self.paths.get("cpuacct"), "cpuacct.usage")

    def remove(self) -> tuple[str, ...]:
        """Removes the groups; returns those that could not be."""
        return tuple(str(path) for path in dict.fromkeys(self.paths.values()) if not remove_group(path))

    def _limit(self, memory_mib: int, processes: int) -> None:
        if memory := self.paths.get("memory"):
            (memory / "memory.limit_in_bytes").write_text(str(memory_mib * _MIB), encoding="ascii")
            with suppress(OSError):  # without swap accounting the file is absent; there is no swap to cap then
                (memory / "memory.memsw.limit_in_bytes").write_text(str(memory_mib * _MIB), encoding="ascii")
        if pids := self.paths.get("pids"):
            (pids / "pids.max").write_text(str(processes + _OWN_PROCESSES), encoding="ascii")
        if cpu := self.paths.get("cpu"):
            (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_US), encoding="ascii")
            (cpu / "cpu.cfs_quota_us").write_text(str(_PERIOD_US), encoding="ascii")


def kill_members(path: Path) -> bool:
    """Kills every process in a group, again until none is left; False if some would not die in time."""
    end = time.monotonic() + _KILL_SECONDS
    while members := set(_members(path)) - {os.getpid()}:
        _kill(members)
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def remove_group(path: Path) -> bool:
    """Removes an empty group; a moment may pass until the kernel has let go of its last member."""
    end = time.monotonic() + _KILL_SECONDS
    while True:
        try:
            path.rmdir()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        else:
            return True


def _kill(members: Iterable[int]) -> None:
    for pid in members:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _members(path: Path) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in (path / "cgroup.procs").read_text(encoding="ascii").split())
    except OSError:
        return ()


def number(folder: Path | None, name: str) -> int | None:
    """A file that holds one number; None if there is no such file."""
    try:
        return int((folder / name).read_text(encoding="ascii")) if folder is not None else None
    except (OSError, ValueError):
        return None


def keyed(folder: Path | None, name: str, key: str) -> int | None:
    """One line of a file of names and numbers; None if it is absent."""
    try:
        text = (folder / name).read_text(encoding="ascii") if folder is not None else ""
    except OSError:
        return None
    return next((int(words[1]) for line in text.splitlines() if (words := line.split())[:1] == [key]), None)
