"""Sockets of this machine that lie in a granted tree.

A network namespace does not keep a program from connecting to one: who may write to the socket may speak to the service
behind it, through a read-only mount as well, and be handed open files by it. It must never follow a link.

One that nobody holds any more is no door, and never will be again: a service that starts anew makes another one. Programs leave
such in writable mounts, and must not be able to close those to every later run by it.
"""

import os
import socket
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
        return Doors(place if _is_held(str(place)) else None, complete=True)
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
                    elif not _is_plain(entry) and _is_socket(entry) and _is_held(entry.path):
                        return Doors(Path(entry.path), complete=complete)
        except OSError:  # what the runner cannot read, the jail can read even less, unless it has another uid
            complete = False
    return Doors(None, complete=complete)


def _is_plain(entry: "os.DirEntry[str]") -> bool:
    """What the directory itself says: no further call for the most of them."""
    return entry.is_file(follow_symlinks=False) or entry.is_symlink()


def _is_socket(entry: "os.DirEntry[str]") -> bool:
    return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)


def _is_held(path: str) -> bool:
    """Whether some process has the socket of this name; asking by a datagram socket, it is never spoken to.

    The kernel refuses the connection if there is none, and otherwise for the type, or not at all (unix(7), net/unix/af_unix.c).
    """
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.connect(f"/proc/self/fd/{place}")  # names of sockets are short, and no link is followed here
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    finally:
        os.close(place)
    return True
