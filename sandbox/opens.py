"""Every opening of a file in a granted mount, from the kernel (fanotify).

The mark is on the whole file system: marks on mounts and inodes miss the bind mounts that the jail has. Of its events those
count that came through one of the jail's own mounts, which is told by the number of the mount: nobody outside the jail can
reach a file through it, and no program in the jail can leave it or make another. Needs CAP_SYS_ADMIN. It must never take
over an event that came through another mount, nor leave one out that came through the jail's: the jail's tree of mounts may be
gone when its last events are read, and each name is therefore told from the mount that it was reached through.

INVARIANT: the descriptors that come with the events are closed by a thread that has a table of descriptors of its own. They are
of any file of the file system, the ledger's database among them, and closing one in the process's table would take away every
lock that SQLite has on it (fcntl(2), "Record locking"): another process would then delete the log that this one writes to.
"""

import os
import select
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .kernel import fanotify, mark_filesystem, open_file, own_descriptors
from .names import shown
from .types import ObservedFile

__all__ = ["FileWatch", "open_files"]

SOURCE = "fanotify"
_EVENT = struct.Struct("=IBBHQii")
_AT_ONCE = 200
"""Reads until we look whether to stop; more than the kernel's queue holds."""
_CHUNK = 4096
_MOST = 2000
_QUEUE_OVERFLOW = 0x4000


@dataclass(slots=True)
class _Granted:
    directory: int
    """Stays open, so that the number of its mount stays taken."""
    target: str
    former: Mapping[int, str] = field(default_factory=dict)
    """Names by inode as they were before the run."""
    listed_ns: int = 0
    """When that was: what was made later has no former name, whatever its inode."""


class FileWatch:
    """Collects the openings in the mounts of one jail, until it is told to finish; its findings are complete after that."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mounts: dict[int, _Granted] = {}
        self._former: dict[str, tuple[Mapping[int, str], int]] = {}
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="file-watch", daemon=True)
        self.counts: dict[str, int] = {}
        self.total = 0
        self.unlisted = 0
        """Openings of files that are not in the list any more."""
        self.lost = False
        self.failure = ""

    def start(self) -> None:
        """Begins to read; `failure` says why not, if it cannot."""
        self._thread.start()
        self._ready.wait()

    def remember(self, target: str, former: Mapping[int, str], listed_ns: int) -> None:
        """Names that files of a writable mount had before the run, by inode, and when they were listed."""
        self._former[target] = (former, listed_ns)

    def admit(self, directory: int, target: str) -> None:
        """Counts events through the mount of this open file from now on, by the name that the mount has in the jail."""
        self._mounts[open_file(directory).mount] = _Granted(directory, target, *self._former.get(target, ()))

    def finish(self) -> None:
        """Takes over what has arrived until now, and no more."""
        if self._thread.is_alive():
            os.eventfd_write(self._stop, 1)
            self._thread.join()

    def _follow(self) -> None:
        try:
            own_descriptors((self._descriptor, self._stop))
        except OSError as error:
            self.failure = f"openings cannot be read apart from the runner: {error.strerror}"
            return
        finally:
            self._ready.set()
        poll = select.poll()
        for descriptor in (self._descriptor, self._stop):
            poll.register(descriptor, select.POLLIN)
        stopping = False
        while not stopping:
            stopping = any(descriptor == self._stop for descriptor, _ in poll.poll())
            self._drain()

    def _drain(self) -> None:
        """Takes over what has arrived, a bounded part of it."""
        for _ in range(_AT_ONCE):
            try:
                events = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return
            except OSError:  # one file of the batch could not be opened for us; the kernel has let go of it
                self.lost = True
                continue
            for length, _, _, _, mask, file, _ in _split(events):
                del length
                if file >= 0:
                    try:
                        self._take(file)
                    finally:
                        os.close(file)
                elif mask & _QUEUE_OVERFLOW:
                    self.lost = True

    def close(self) -> None:
        """Takes the marks away and lets go of the mounts."""
        self.finish()
        os.close(self._stop)
        os.close(self._descriptor)
        for granted in self._mounts.values():
            os.close(granted.directory)
        self._mounts = {}

    def files(self) -> tuple[ObservedFile, ...]:
        """What was opened, each file once, in the order of first sight."""
        return tuple(
            ObservedFile(path=path, action="opened", source=SOURCE, program_controlled=False) for path in self.counts
        )

    def _take(self, file: int) -> None:
        try:
            found = open_file(file)
        except OSError:
            self.lost = True
            return
        granted = self._mounts.get(found.mount)
        if granted is None:  # most events of the file system end here
            return
        self.total += 1
        name = _name_of(file, granted)
        if name is None:
            self.lost = True
        else:
            self._count(name)
        former = granted.former.get(found.inode)
        if former is not None and former != name and (found.born_ns or 0) <= granted.listed_ns:
            self._count(former)

    def _count(self, name: str) -> None:
        name = shown(name)
        if name in self.counts or len(self.counts) < _MOST:
            self.counts[name] = self.counts.get(name, 0) + 1
        else:
            self.unlisted += 1


def _name_of(file: int, granted: _Granted) -> str | None:
    """The name that an open file has in the jail, read from the mount that it was reached through; None if it cannot be told.

    INVARIANT: while the jail's tree of mounts stands, names begin with the place of the mount in it, and afterwards with the
    mount itself. It goes but once, so a place that is the same before and after belongs to the name read in between.
    """
    place = None
    try:
        while (now := _path(f"/proc/self/fd/{granted.directory}")) != place:
            place, name = now, _path(f"/proc/thread-self/fd/{file}")
    except OSError:
        return None
    top = place.rstrip("/")
    if name != place and not name.startswith(f"{top}/"):
        return None  # somebody on the machine has moved it out of the granted tree
    return f"/mnt/{granted.target}{name[len(top) :].rstrip('/')}"


def _path(link: str) -> str:
    return str(Path(link).readlink())


def open_files(sources: Iterable[Path]) -> FileWatch | str:
    """A watch on the file systems of these paths, or why there is none."""
    try:
        descriptor = fanotify()
    except OSError as error:
        return f"fanotify cannot be used: {os.strerror(error.errno or 0)}"
    try:
        for source in sources:
            mark_filesystem(descriptor, source)
    except OSError as error:
        os.close(descriptor)
        return f"the file system cannot be watched: {error.strerror}"
    watch = FileWatch(descriptor)
    watch.start()
    if watch.failure:
        watch.close()
        return watch.failure
    return watch


def _split(events: bytes) -> Iterable[tuple[int, ...]]:
    place = 0
    while place + _EVENT.size <= len(events):
        fields = _EVENT.unpack_from(events, place)
        yield fields
        place += max(fields[0], _EVENT.size)
