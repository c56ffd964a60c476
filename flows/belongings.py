"""Whether a home is ours alone: whoever can write it, or put another in its place, can make himself a principal, or rules of his own.

It must never change anything: what is not ours is refused, with the reason and the way out.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ConfigurationError
from ..ledger import LedgerFiles

__all__ = ["replaceable", "require_ours"]

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def require_ours(home: Path, files: Sequence[Path], ledger: LedgerFiles) -> None:
    """Refuse a home that others could have written.

    Args:
        home: the directory of everything.
        files: in it, that decide who may do what.
        ledger: where its database and its keys lie.

    Raises:
        ConfigurationError: a part of it belongs to somebody else, can be written by somebody else, or is
            another name of a file that lies elsewhere.
    """
    for path in (home, *files, ledger.keys, ledger.database.parent):
        _require_owned(path, follow=True)
    for path in _files_of(ledger):
        _require_owned(path, follow=False)


def _files_of(ledger: LedgerFiles) -> Iterator[Path]:
    """Everything that the ledger reads and writes by its name."""
    yield ledger.database
    for suffix in ("-wal", "-shm", "-journal"):
        yield ledger.database.with_name(ledger.database.name + suffix)
    try:
        with os.scandir(ledger.keys) as found:
            yield from sorted(Path(entry.path) for entry in found)
    except OSError:
        return  # what is missing is said where it is needed


def _require_owned(path: Path, *, follow: bool) -> None:
    try:
        found = path.stat(follow_symlinks=follow)
    except OSError:
        return  # what is missing is said where it is needed
    if stat.S_ISLNK(found.st_mode):
        raise ConfigurationError(
            f"`{path}` is a link to another place, where others may write",
            hint="put the file itself there; to have the ledger on another disk, put the whole home there and set CUSTODY_HOME",
        )
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"`{path}` belongs to uid {found.st_uid}, and custody runs as uid {os.geteuid()}",
            hint="run custody as its owner, or `chown` it if it is yours; `custody verify` works on a copy of somebody else's home",
        )
    if found.st_mode & _BY_OTHERS:
        raise ConfigurationError(
            f"`{path}` can be written by others than its owner: its mode is {stat.S_IMODE(found.st_mode):04o}",
            hint=f"look whether anything in it was changed, then `chmod go-w {path}`",
        )
    if stat.S_ISREG(found.st_mode) and not follow and found.st_nlink > 1:
        raise ConfigurationError(
            f"`{path}` has {found.st_nlink} names, and by any of them it can be written",
            hint=f"a second name is no copy; make one with `cp`, then remove the other name (`find -samefile {path}`)",
        )


def replaceable(folders: Sequence[Path]) -> Path | None:
    """A folder, among those that these lie in, where everybody can rename what is in it; None if there is none.

    It is no refusal: whoever can put another home in the place of this one needs one that belongs to us, and a pin meets him.
    """
    for folder in folders:
        for place in Path(os.path.realpath(folder)).parents:
            mode = place.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return place
    return None
