"""What changed in a writable mount: a list of everything in it before the run, one after, and the difference.

It walks by directory descriptors and follows no link, as the tree may have been made to mislead it. Whoever else writes there
meanwhile is in the difference too: it says what changed during the run. It must never take more time than its caps allow;
what they left out is said.
"""

import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..redaction import Redactor
from .names import shown
from .types import ObservedFile

__all__ = ["Manifest", "changes", "take_manifest"]

SOURCE = "manifest"
_ENTRIES = 20_000
_DEPTH = 32
_FILE_BYTES = 16 * 1024 * 1024
_ALL_BYTES = 64 * 1024 * 1024
_CHUNK = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Noted:
    """One thing in the tree."""

    kind: int
    size: int
    mode: int
    inode: int
    changed_ns: int
    sha256: str = ""
    """Of a file's content or a link's target; empty if it was too large, or too much together."""


@dataclass(slots=True)
class Manifest:
    """Everything in one tree, by relative name."""

    entries: dict[str, Noted] = field(default_factory=dict)
    complete: bool = True
    """Whether nothing was left out for a cap or an error."""
    taken_ns: int = field(default_factory=time.time_ns)
    """When the listing began."""

    def names(self, target: str) -> dict[int, str]:
        """What is in the tree by its inode, under the name that the jail has for it."""
        return {noted.inode: _place(target, name) for name, noted in self.entries.items()}


def take_manifest(path: Path, before: Manifest | None = None) -> Manifest:
    """Lists the tree, or the one file; what is certainly the same as before is not read again."""
    walk = _Walk(before)
    try:
        top = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        walk.manifest.complete = False
        return walk.manifest
    try:
        found = os.fstat(top)
        if stat.S_ISDIR(found.st_mode):
            walk.enter(f"/proc/self/fd/{top}/.", None, "", 0, found.st_dev)
        else:
            walk.note(str(path), None, "", found)
    finally:
        os.close(top)
    return walk.manifest


def changes(target: str, before: Manifest, after: Manifest, redactor: Redactor | None = None) -> list[ObservedFile]:
    """What is there now and was not, is other than it was, and is gone; by the names that the jail had for them."""
    found: list[ObservedFile] = []

    def observed(name: str, action: str, sha256: str = "") -> ObservedFile:
        path = shown(_place(target, name), redactor)
        return ObservedFile(path=path, action=action, source=SOURCE, program_controlled=False, sha256=sha256)

    for name in sorted(before.entries.keys() | after.entries.keys()):
        old, new = before.entries.get(name), after.entries.get(name)
        if new is None:
            # an incomplete list does not know what is gone
            if after.complete:
                found.append(observed(name, "deleted"))
        elif old is None:
            if before.complete:
                found.append(observed(name, "created", new.sha256))
        elif _differs(old, new):
            found.append(observed(name, "changed", new.sha256))
    return found


def _place(target: str, name: str) -> str:
    return f"/mnt/{target}/{name}" if name else f"/mnt/{target}"


def _differs(old: Noted, new: Noted) -> bool:
    if (old.kind, old.mode) != (new.kind, new.mode):
        return True
    if stat.S_ISDIR(old.kind):
        return False  # what changed in a directory is told by what is in it
    if old.sha256 and new.sha256:
        return old.sha256 != new.sha256
    return (old.size, old.inode, old.changed_ns) != (new.size, new.inode, new.changed_ns)


class _Walk:
    def __init__(self, before: Manifest | None) -> None:
        self.manifest = Manifest()
        self._before = before.entries if before is not None else {}
        self._left = _ALL_BYTES

    def enter(self, name: str, directory: int | None, prefix: str, depth: int, device: int) -> None:
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            self.manifest.complete = False
            return
        try:
            with os.scandir(inner) as entries:
                names = [entry.name for entry, _ in zip(entries, range(_ENTRIES + 1), strict=False)]
            for entry in sorted(names):
                if len(self.manifest.entries) >= _ENTRIES:
                    self.manifest.complete = False
                    return
                self._visit(entry, inner, f"{prefix}{entry}", depth, device)
        except OSError:
            self.manifest.complete = False
        finally:
            os.close(inner)

    def _visit(self, name: str, directory: int, path: str, depth: int, device: int) -> None:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        self.note(name, directory, path, found)
        if stat.S_ISDIR(found.st_mode) and found.st_dev == device:  # what is mounted below is not in the jail
            if depth < _DEPTH:
                self.enter(name, directory, f"{path}/", depth + 1, device)
            else:
                self.manifest.complete = False

    def note(self, name: str, directory: int | None, path: str, found: os.stat_result) -> None:
        """Writes down one thing, with the digest of its content within the caps."""
        noted = Noted(
            stat.S_IFMT(found.st_mode),
            found.st_size,
            stat.S_IMODE(found.st_mode),
            found.st_ino,
            found.st_ctime_ns,
        )
        old = self._before.get(path)
        if old is not None and (old.inode, old.changed_ns, old.size) == (noted.inode, noted.changed_ns, noted.size):
            sha256 = old.sha256
        elif stat.S_ISLNK(found.st_mode):
            sha256 = hashlib.sha256(os.fsencode(os.readlink(name, dir_fd=directory))).hexdigest()
        elif stat.S_ISREG(found.st_mode) and found.st_size <= min(_FILE_BYTES, self._left):
            sha256 = self._digest(name, directory)
        else:
            sha256 = ""
        self.manifest.entries[path] = Noted(noted.kind, noted.size, noted.mode, noted.inode, noted.changed_ns, sha256)

    def _digest(self, name: str, directory: int | None) -> str:
        digest = hashlib.sha256()
        try:
            file = os.open(name, _FLAGS, dir_fd=directory)
        except OSError:
            return ""
        try:
            seen = 0
            while part := os.read(file, _CHUNK):
                seen += len(part)
                if seen > _FILE_BYTES:
                    return ""
                digest.update(part)
        except OSError:
            return ""
        finally:
            os.close(file)
        self._left -= seen
        return digest.hexdigest()
