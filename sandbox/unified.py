"""The control group (v2) of one run: one directory below a delegated one.

A thread cannot be moved alone in v2, so nsjail is not born inside: it and the trusted first process are moved in when that
is ready, before it is sent a byte of the program. What is here was tested against recorded files, not on a live machine; the
self-test of a machine therefore believes only what the kernel has counted.
"""

import os
from pathlib import Path

from .groups import Counters, GroupError, Groups, keyed, kill_members, number

__all__ = ["UnifiedGroup", "find_delegated"]

_NEEDED = frozenset({"memory", "pids"})
_MIB = 1024 * 1024
_PERIOD_US = 100_000
_OWN_PROCESSES = 2


def find_delegated(mounts: Path = Path("/proc/mounts"), own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """The nearest directory, from the runner's own upwards, that hands controllers down and may be written to."""
    roots = [
        fields[1]
        for line in mounts.read_text(errors="replace").splitlines()
        if (fields := line.split())[2:3] == ["cgroup2"]
    ]
    inside = [line[3:] for line in own.read_text(errors="replace").splitlines() if line.startswith("0::")]
    if not roots or not inside or ".." in inside[0]:
        return None
    root = Path(roots[0])
    place = root / inside[0].lstrip("/")
    for folder in (place, *place.parents):
        if _hands_down(folder) and os.access(folder, os.W_OK):
            return folder
        if folder == root:
            break
    return None


class UnifiedGroup(Groups):
    """The same face as for v1."""

    @classmethod
    def make_below(cls, name: str, parent: Path, *, memory_mib: int, processes: int) -> "UnifiedGroup":
        """Makes and limits the group.

        Raises:
            GroupError: if it cannot be made or limited; none is left then.
        """
        group = cls({"unified": parent / name})
        path = group.paths["unified"]
        try:
            if path.is_dir():
                kill_members(path)
                path.rmdir()
            path.mkdir(mode=0o755)
            (path / "memory.max").write_text(str(memory_mib * _MIB), encoding="ascii")
            if (path / "memory.swap.max").exists():
                (path / "memory.swap.max").write_text("0", encoding="ascii")
            (path / "pids.max").write_text(str(processes + _OWN_PROCESSES), encoding="ascii")
            if (path / "cpu.max").exists():
                (path / "cpu.max").write_text(f"{_PERIOD_US} {_PERIOD_US}", encoding="ascii")
        except OSError as error:
            group.remove()
            raise GroupError(f"{error.filename or path}: {error.strerror}") from error
        return group

    def join(self) -> None:
        """Does nothing: v2 moves whole processes."""

    def adopt(self, processes: tuple[int, ...]) -> None:
        """Moves nsjail and the first process in."""
        for process in processes:
            (self.paths["unified"] / "cgroup.procs").write_text(str(process), encoding="ascii")

    def counters(self) -> Counters:
        """The kernel's counts; to be read before the group is removed."""
        path = self.paths["unified"]
        return Counters(
            oom_kills=keyed(path, "memory.events", "oom_kill") or 0,
            memory_peak=number(path, "memory.peak"),
            process_refusals=keyed(path, "pids.events", "max") or 0,
            process_peak=number(path, "pids.peak"),
            cpu_ns=self.cpu_ns(),
        )

    def cpu_ns(self) -> int | None:
        """Processor time of everything that ever was in the group."""
        micro = keyed(self.paths["unified"], "cpu.stat", "usage_usec")
        return micro * 1000 if micro is not None else None


def _hands_down(folder: Path) -> bool:
    try:
        return set((folder / "cgroup.subtree_control").read_text(encoding="ascii").split()) >= _NEEDED
    except OSError:
        return False
