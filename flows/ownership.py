"""Which process is working on which run: one locked file per run.

The kernel drops a lock when its holder dies, so a lock that can be taken means that the owner is gone; nothing is guessed from names,
process numbers or ages. The file exists from before `run:submitted` until after the run's end or hold is durable.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ..errors import LedgerError

__all__ = ["Ownership", "boot_id", "orphaned", "process_started"]


class Ownership:
    """A lock on one run, held by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path, run: str) -> Self | None:
        """Own the run; None if another process does."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls._lock(folder / f"{run}.lock", os.O_CREAT)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Own a run whose owner is gone; None if it is not, or if somebody else was quicker."""
        return cls._lock(path, 0)

    @classmethod
    def _lock(cls, path: Path, flags: int) -> Self | None:
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
            except FileNotFoundError:
                return None
            except OSError as error:
                hint = "check its owner, its free space, and whether it is mounted read-only"
                raise LedgerError(
                    f"`{path.parent}` cannot be written: {(error.strerror or '').lower()}", hint=hint
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # the file may have been removed by its last owner between open and flock: then the lock means nothing
                if os.fstat(descriptor).st_nlink == 1:
                    return cls(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            os.close(descriptor)
            if not flags:
                return None

    @property
    def run(self) -> str:
        """The run that is owned."""
        return self._path.stem

    def abandon(self) -> None:
        """Let go without an end: what died here is closed as unknown by whoever comes next."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def release(self) -> None:
        """Give the run up: its end or hold is durable, or another process is to take it on."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def orphaned(folder: Path) -> Iterator[Ownership]:
    """Every run whose owner is gone, now owned by this process."""
    for path in sorted(folder.glob("*.lock")):
        ownership = Ownership.adopt(path)
        if ownership is not None:
            yield ownership


def boot_id() -> str:
    """The kernel's id of this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def process_started() -> str:
    """Start time of this process in clock ticks since boot (proc(5), field 22)."""
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()[19]
