"""Every opening of a file in a granted mount, from the kernel (fanotify).

The mark is on the whole file system: marks on mounts and inodes miss the bind mounts that the jail has. Of its events those
count that came through one of the jail's own mounts, which is told by the number of the mount: nobody outside the jail can
reach a file through it, and no program in the jail can leave it or make another. Needs CAP_SYS_ADMIN. It must never take
over an event that came through another mount.

INVARIANT: the descriptors that come with the events are closed by a thread that has a table of descriptors of its own. They are
of any file of the file system, the ledger's database among them, and closing one in the process's table would take away every
lock that SQLite has on it (fcntl(2), "Record locking"): another process would then delete the log that this one writes to.
"""

import os
import select
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .kernel import fanotify, mark_filesystem, mount_id, own_descriptors
from .types import ObservedFile

__all__ = ["FileWatch", "open_files"]

SOURCE = "fanotify"
_EVENT = struct.Struct("=IBBHQii")
_AT_ONCE = 200
"""Reads until we look whether to stop; more than the kernel's queue holds."""
_CHUNK = 4096
_MOST = 2000
_QUEUE_OVERFLOW = 0x4000
_BELOW = "/mnt/"


class FileWatch:
    """Collects the openings in the mounts of one jail, until it is told to finish; its findings are complete after that."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mounts: dict[int, int] = {}
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="file-watch", daemon=True)
        self.counts: dict[str, int] = {}
        self.total = 0
        self.lost = False
        self.failure = ""

    def start(self) -> None:
        """Begins to read; `failure` says why not, if it cannot."""
        self._thread.start()
        self._ready.wait()

    def admit(self, directory: int) -> None:
        """Counts events through the mount of this open file from now on; the file stays open so that its number stays taken."""
        self._mounts[mount_id(directory)] = directory

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
        for directory in self._mounts.values():
            os.close(directory)
        self._mounts = {}

    def files(self) -> tuple[ObservedFile, ...]:
        """What was opened, each file once, in the order of first sight."""
        return tuple(
            ObservedFile(path=path, action="opened", source=SOURCE, program_controlled=False) for path in self.counts
        )

    def _take(self, file: int) -> None:
        with suppress(OSError, StopIteration):
            # the name is the jail's own; most events of the file system end here
            name = str(Path(f"/proc/thread-self/fd/{file}").readlink())
            if not name.startswith(_BELOW) or mount_id(file) not in self._mounts:
                return
            self.total += 1
            shown = _clean(name)
            if shown in self.counts or len(self.counts) < _MOST:
                self.counts[shown] = self.counts.get(shown, 0) + 1


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


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:400])
