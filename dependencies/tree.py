"""The digest of a tree of files, and the removal of one that was made read-only.

It must never follow a link: a tree with anything in it but plain files and directories has no digest.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = 1024 * 1024


class Tree(NamedTuple):
    """What a tree is."""

    sha256: str
    files: int
    bytes: int


class NotATreeError(Exception):
    """Why there is no digest, naming the file."""


def digest_tree(root: Path) -> Tree:
    """Digest over every path below the root with its kind, whether it is executable, and its content.

    Raises:
        NotATreeError: something in it is neither a plain file with one name nor a directory, or cannot be read.
    """
    total = hashlib.sha256()
    files = size = 0
    for path, status in _walk(root):
        name = os.fsencode(path.relative_to(root))
        if stat.S_ISDIR(status.st_mode):
            total.update(b"d %d %s" % (len(name), name))
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise NotATreeError(f"{path.relative_to(root)} is not a plain file of its own")
        kind = b"x" if status.st_mode & stat.S_IXUSR else b"f"
        total.update(b"%s %d %s %s" % (kind, len(name), name, _digest_file(path)))
        files += 1
        size += status.st_size
    return Tree(total.hexdigest(), files, size)


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below the root, in an order that depends on names only."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: os.fsencode(entry.name))
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            yield Path(entry.path), status
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(Path(entry.path))
    except OSError as error:
        raise NotATreeError(f"{error.filename} cannot be read: {error.strerror}") from error


def _digest_file(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise NotATreeError(f"{path.name} cannot be read: {error.strerror}") from error
    return digest.digest()


def seal_tree(root: Path) -> None:
    """Makes everything read-only, and durable on disk."""
    for path, status in list(_walk(root)):
        if stat.S_ISDIR(status.st_mode):
            continue
        path.chmod(0o555 if status.st_mode & stat.S_IXUSR else 0o444)
        _sync(path)
    for path, status in reversed(list(_walk(root))):
        if stat.S_ISDIR(status.st_mode):
            path.chmod(0o555)
            _sync(path)
    root.chmod(0o555)
    _sync(root)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(root: Path) -> None:
    """Removes a tree, also a sealed one; it may be gone already."""
    if root.is_symlink() or not root.is_dir():
        root.unlink(missing_ok=True)
        return
    root.chmod(0o700)
    for folder, names, _ in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(root)
