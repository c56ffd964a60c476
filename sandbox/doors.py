"""Sockets of this machine that lie in a granted tree.

A network namespace does not keep a program from connecting to one: who may write to the socket may speak to the service
behind it, through a read-only mount as well, and be handed open files by it. It must never follow a link.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Doors", "find_doors"]

_MOST = 50_000
"""Entries that are looked at: some 30 milliseconds."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What was found in one tree."""

    first: Path | None
    complete: bool
    """Whether the whole tree was looked at."""


def find_doors(place: Path) -> Doors:
    """Looks for a socket at a place and in all that lies below it."""
    if place.is_socket():
        return Doors(place, complete=True)
    waiting, looked_at, complete = [str(place)] if place.is_dir() else [], 0, True
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    looked_at += 1
                    if looked_at > _MOST:
                        return Doors(None, complete=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif stat.S_ISSOCK(0 if _is_plain(entry) else entry.stat(follow_symlinks=False).st_mode):
                        return Doors(Path(entry.path), complete=complete)
        except OSError:  # what the runner cannot read, the jail can read even less, unless it has another uid
            complete = False
    return Doors(None, complete=complete)


def _is_plain(entry: "os.DirEntry[str]") -> bool:
    """What the directory itself says: no further call for the most of them."""
    return entry.is_file(follow_symlinks=False) or entry.is_symlink()
