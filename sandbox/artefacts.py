"""Takes files out of the jail's output directory, after every process of the jail is dead.

The directory lies on a file system in memory that nsjail mounted with a size and a number of inodes. The runner opens the
file system's root through `/proc/PID/root` of the trusted first process before a line of the program has run; the open
descriptor keeps it alive when the jail and its mount namespace are gone, as root and as an unprivileged user alike, and also
when the run was killed. What is taken is what has the directory's name then: programs empty it by making it anew. It is
hostile: it must never be reached by a path, through a link, or by more than its caps.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import NamedTuple

from ..redaction import Redacted, Redactor
from .sieve import Plain, choose_sink
from .types import Artefact, RefusedArtefact

__all__ = ["Caps", "Collected", "collect"]

_DEPTH = 8
_NAME = 200
_ENTRIES = 4096
_REFUSALS = 100
_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


class Caps(NamedTuple):
    """How much is taken."""

    files: int
    size: int
    """Bytes of all files together."""


@dataclass(slots=True)
class Collected:
    """What was taken and what was left, with the reason."""

    artefacts: list[Artefact] = field(default_factory=list)
    refused: list[RefusedArtefact] = field(default_factory=list)
    refused_total: int = 0
    unsearched: int = 0
    """Artefacts in which secrets were to be redacted, and which are no text."""
    redactor: Redactor | None = None

    def refuse(self, name: str, reason: str) -> None:
        """Lists one refusal; past a number of them they are only counted."""
        self.refused_total += 1
        if len(self.refused) < _REFUSALS:
            self.refused.append(RefusedArtefact(name=shown(name, self.redactor), reason=reason))


def collect(directory: int, name: str, caps: Caps, redactor: Redactor | None) -> Collected:
    """Every regular file below what has this name in the open directory, within the caps, in the order of names."""
    walk = _Walk(caps, redactor)
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        walk.collected.refuse(name, "the directory was moved or removed")
    except NotADirectoryError:
        walk.collected.refuse(name, f"the directory was replaced by {_KINDS.get(stat.S_IFMT(found.st_mode), 'a file')}")
    except OSError as error:
        walk.collected.refuse(name, f"cannot be read: {error.strerror}")
    else:
        try:
            walk.enter(inner, "", 0)
        finally:
            os.close(inner)
    return walk.collected


def shown(name: str, redactor: Redactor | None = None) -> str:
    """A hostile name as printable ASCII, redacted before it is cut."""
    raw = name.encode("utf-8", "surrogateescape")
    return (
        (redactor.redact(raw).content if redactor is not None else raw)
        .decode("utf-8", "backslashreplace")
        .encode("unicode_escape")
        .decode("ascii")[:_NAME]
    )


class _Walk:
    def __init__(self, caps: Caps, redactor: Redactor | None) -> None:
        self.collected = Collected(redactor=redactor)
        self._caps = caps
        self._redactor = redactor
        self._left = caps.size
        self._entries = 0
        self._files: set[str] = set()
        self._taken: set[str] = set()
        """Names of artefacts, and of the directories that they make."""

    def enter(self, directory: int, prefix: str, depth: int) -> None:
        with os.scandir(directory) as entries:
            names = []
            for entry in entries:
                self._entries += 1
                if self._entries > _ENTRIES:
                    self.collected.refuse(prefix or ".", f"more than {_ENTRIES} entries: the rest was not looked at")
                    break
                names.append(entry.name)
        for name in sorted(names):
            self._visit(directory, name, f"{prefix}{name}", depth)

    def _visit(self, directory: int, name: str, path: str, depth: int) -> None:
        if reason := _bad_name(name, path):
            self.collected.refuse(path, reason)
            return
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._descend(directory, name, path, depth)
            elif stat.S_ISREG(found.st_mode):
                self._take(directory, name, path)
            else:
                self.collected.refuse(path, _kind(found.st_mode))
        except OSError as error:
            self.collected.refuse(path, f"cannot be read: {error.strerror}")

    def _descend(self, directory: int, name: str, path: str, depth: int) -> None:
        if depth >= _DEPTH:
            self.collected.refuse(path, f"deeper than {_DEPTH} directories")
            return
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
        try:
            self.enter(inner, f"{path}/", depth + 1)
        finally:
            os.close(inner)

    def _take(self, directory: int, name: str, path: str) -> None:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                self.collected.refuse(path, _kind(found.st_mode))
            elif found.st_nlink != 1:
                self.collected.refuse(path, f"has {found.st_nlink} names")
            elif len(self.collected.artefacts) >= self._caps.files:
                self.collected.refuse(path, f"more than {self._caps.files} artefacts")
            elif found.st_size > self._left:
                self.collected.refuse(path, f"{found.st_size} bytes are more than what is left of {self._caps.size}")
            else:
                self._keep(path, file, found.st_size)
        finally:
            os.close(file)

    def _keep(self, path: str, file: int, size: int) -> None:
        """Reads a part at a time: beside what is handed out there is never more than one of them in memory."""
        digest, left = hashlib.sha256(), size
        part = os.read(file, min(left, _CHUNK))
        into = choose_sink(part, self._redactor)
        self.collected.unsearched += self._redactor is not None and isinstance(into, Plain)
        while part:
            digest.update(part)
            into.feed(part)
            left -= len(part)
            part = os.read(file, min(left, _CHUNK))
        self._left -= size - left
        content = into.finish()
        name, in_name = self._name(path)
        self.collected.artefacts.append(
            Artefact(
                name=name,
                sha256=digest.hexdigest(),
                bytes=size - left,
                content=content,
                redactions=into.count + in_name,
            )
        )

    def _name(self, path: str) -> tuple[str, int]:
        """The name to hand out, redacted and then numbered where that made two the same; how much was redacted."""
        redacted = self._redactor.redact(path.encode()) if self._redactor is not None else Redacted(path.encode(), 0)
        first = name = redacted.content.decode("utf-8", "replace")
        number = 1
        while name in self._taken or any(parent in self._files for parent in _parents(name)):
            number += 1
            name = f"{number}.{first}"
        self._files.add(name)
        self._taken.update((name, *_parents(name)))
        return name, redacted.count


def _parents(name: str) -> list[str]:
    return [name[:place] for place, letter in enumerate(name) if letter == "/"]


def _bad_name(name: str, path: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not name.isprintable() or "\\" in name:
        return "its name has characters that cannot be shown"
    if len(path.encode()) > _NAME:
        return f"its name is longer than {_NAME} bytes"
    return ""


def _kind(mode: int) -> str:
    return f"{_KINDS.get(stat.S_IFMT(mode), 'something')}, not a regular file"
