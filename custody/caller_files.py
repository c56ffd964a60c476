"""Files that a caller names: found, read and written with the rights of the caller, never with more.

A home of root serves several people by sudo. Whoever may call custody that way must not read or overwrite by it what only root may:
inside `rights` this process is the user who called sudo, and nothing else happens there: no ledger, no thread, no import.
It must never open a file of the ledger: closing any descriptor of it drops this process's POSIX locks on it (sqlite.org/howtocorrupt.html, 2.2).
"""

import errno
import os
import pwd
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import CustodyError, UsageError

__all__ = ["MOST_BYTES", "CallerFiles", "read_standard_input"]

MOST_BYTES = 32 * 1024 * 1024
"""Of one file that is read whole."""
_OWN = ("ledger", "keys")
_PUBLIC = "verifier.key"
"""The one file of these folders that is meant to be handed out."""
_NOBODYS_GROUP = 65534
_STANDARD_INPUT = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


@dataclass(frozen=True, slots=True)
class CallerFiles:
    """The files of one caller."""

    home: Path
    sudo_uid: int | None
    """The user who called sudo; None if nobody did."""

    @contextmanager
    def rights(self) -> Iterator[None]:
        """This process with the user, group and groups of the caller; as it was before at the end, whatever happened.

        The real user stays root, so that the caller cannot signal or trace this process meanwhile.
        """
        if os.geteuid() != 0 or not self.sudo_uid:
            yield
            return
        group, groups = _groups_of(self.sudo_uid)
        before_group, before = os.getegid(), os.getgroups()
        try:
            os.setgroups(groups)
            os.setegid(group)
            os.seteuid(self.sudo_uid)
            yield
        finally:
            os.seteuid(0)
            os.setegid(before_group)
            os.setgroups(before)

    # ------------------------------------------------------------ reading

    def read(self, path: Path, *, called: str = "", most: int = MOST_BYTES, handed_out: bool = False) -> bytes:
        """A regular file, whole and bounded; standard input by its name too.

        Args:
            path: as the caller typed it.
            called: what it is, for messages.
            most: bytes that it may have.
            handed_out: whether it may be the home's own public key.

        Raises:
            UsageError: it cannot be read by this caller, is no regular file, is custody's own, or is larger.
        """
        if str(path) in _STANDARD_INPUT:
            return read_standard_input(most)
        with _in_words(f"{called} `{path}`".strip(), "read"):
            with self.rights():
                self._refuse_own(path, handed_out=handed_out)
                # not blocking: a named pipe must not hold us
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                _require_regular(path, os.fstat(descriptor).st_mode)
                content = file.read(most + 1)
        return _bounded(content, str(path), most)

    def _refuse_own(self, path: Path, *, handed_out: bool) -> None:
        """Refuse what lies in the ledger's or the keys' folder, by whatever name; asked before it is opened."""
        found = path.stat()
        _require_regular(path, found.st_mode)
        places, real = [_real(self.home) / name for name in _OWN], _real(path)
        if handed_out and real == places[1] / _PUBLIC:
            return
        inside = any(real.is_relative_to(place) for place in places)
        if inside or _same(found) in _files_in(places):
            raise UsageError(
                f"`{path}` is part of the ledger or its keys, and is never given to a program or read as anything else",
                hint="copy what you need with the ledger's own commands: `custody log show`, `custody verify --write-pin FILE`",
            )

    def holds(self, folder: Path, patterns: Sequence[str]) -> bool:
        """Whether a folder has a file whose name is like one of the patterns, as far as this caller may see."""
        with self.rights(), suppress(OSError):
            return any(next(folder.glob(pattern), None) is not None for pattern in patterns)
        return False

    # ------------------------------------------------------------ writing

    def require_writable(self, path: Path) -> None:
        """Refuse a place where the caller could not write a file, before there is anything to lose.

        Raises:
            UsageError: it is a directory or custody's own, or the nearest folder that is there takes no file.
        """
        with _in_words(f"`{path}`", "written"), self.rights():
            self._refuse_own_place(path)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            _probe_nearest(path.absolute().parent)

    def require_new_file(self, path: Path) -> None:
        """Refuse a place where the caller could not write a file, or where there is one already.

        Raises:
            UsageError: there is something, or nothing can be put there.
        """
        with _in_words(f"`{path}`", "written"), self.rights():
            if os.path.lexists(path):
                raise UsageError(f"`{path}` exists already", hint="give a new file")
        self.require_writable(path)

    def require_new_folder(self, folder: Path) -> None:
        """Refuse a place for a new folder where the caller could not write, before there is anything to lose.

        Raises:
            UsageError: there is something in it, or the nearest folder that is there takes no file.
        """
        with _in_words(f"`{folder}`", "written"), self.rights():
            self._refuse_own_place(folder)
            if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
                raise UsageError(
                    f"`{folder}` exists and is not an empty directory", hint="give a new directory for the artefacts"
                )
            _probe_nearest(folder.absolute())

    def write(self, path: Path, content: bytes) -> None:
        """A file of the caller's: complete or not at all, durable before this returns; folders above are made.

        Raises:
            CustodyError: it cannot be written by this caller.
        """
        with _in_words(f"`{path}`", "written", late=True), self.rights():
            self._refuse_own_place(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            _write_new(beside, content, synced=True)
            try:
                beside.replace(path)
            except OSError:
                beside.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def fill_folder(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Write new files below a folder; none leaves it, and none is left half.

        Raises:
            CustodyError: one of them cannot be written by this caller; those before it are there.
        """
        with _in_words(f"`{folder}`", "written", late=True), self.rights():
            folder.mkdir(parents=True, exist_ok=True)
            root = _real(folder)
            for name, content in files.items():
                target = root / name
                if not (_real(target.parent) / target.name).is_relative_to(root) or target == root:
                    raise CustodyError(f"`{name}` would leave `{folder}`", hint="nothing was written for it")
                target.parent.mkdir(parents=True, exist_ok=True)
                _write_new(target, content, synced=False)

    def _refuse_own_place(self, path: Path) -> None:
        real = _real(path)
        if any(real.is_relative_to(_real(self.home) / name) for name in _OWN):
            raise UsageError(
                f"`{path}` lies among the files of the ledger or its keys", hint="give a place outside the home"
            )


def read_standard_input(most: int = MOST_BYTES) -> bytes:
    """What comes in by standard input, whole and bounded.

    Raises:
        UsageError: it is larger.
    """
    return _bounded(sys.stdin.buffer.read(most + 1), "standard input", most)


def _bounded(content: bytes, name: str, most: int) -> bytes:
    if len(content) > most:
        raise UsageError(
            f"`{name}` is larger than {most // 1024 // 1024 or most // 1024} {'MiB' if most >= 1024 * 1024 else 'KiB'}",
            hint="data of that size belongs on a granted mount",
        )
    return content


def _groups_of(uid: int) -> tuple[int, list[int]]:
    """Group and supplementary groups of a user; nobody's if the machine does not know him."""
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return _NOBODYS_GROUP, []
    return known.pw_gid, os.getgrouplist(known.pw_name, known.pw_gid)


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UsageError(f"`{path}` is a directory, not a file", hint="give the file itself")
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"`{path}` is not a regular file", hint="give a file; a program can come from standard input as `-`"
        )


def _same(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _files_in(places: Sequence[Path]) -> set[tuple[int, int]]:
    """Device and inode of every file of these folders that this caller can see."""
    found = set()
    for place in places:
        with suppress(OSError), os.scandir(place) as entries:
            found |= {_same(entry.stat(follow_symlinks=False)) for entry in entries}
    return found


def _real(path: Path) -> Path:
    """Where links lead to; unlike Path.resolve it does not raise for those that lead nowhere."""
    return Path(os.path.realpath(path))


def _probe_nearest(folder: Path) -> None:
    """Whether a file can be made in the nearest folder that is there: only trying says so for every file system."""
    while not os.path.lexists(folder):
        folder = folder.parent
    beside = folder / f".custody-{secrets.token_hex(4)}"
    _write_new(beside, b"", synced=False)
    beside.unlink()


def _write_new(path: Path, content: bytes, *, synced: bool) -> None:
    """A new file, whole or not at all."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _in_words(shown: str, done: str, *, late: bool = False) -> Iterator[None]:
    """What the system says of a file: a UsageError, but where something was done before it."""
    hint = "check the path and its permissions" if done == "read" else "give another place, which you may write"
    kind = CustodyError if late else UsageError
    try:
        yield
    except OSError as error:
        raise kind(f"{shown} cannot be {done}: {(error.strerror or 'unusable').lower()}", hint=hint) from error
    except UnicodeError:
        raise  # the door says what that is
    except ValueError as error:
        raise UsageError("the path holds a NUL byte", hint="check the path") from error
