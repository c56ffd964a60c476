"""Whether a place is beyond the home, by whatever name it goes: links, `..`, mounts of one folder at another place, second names of a file.

It must never call outside what it can see to be inside; what no machine can see (a copy that is written back, a server that
reads from the home) is for whoever keeps pins.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["is_outside"]

_ESCAPED = re.compile(r"\\([0-7]{3})")
"""Spaces and the like in mountinfo (proc_pid_mountinfo(5))."""


class _Place(NamedTuple):
    """Where something lies in its file system, whichever mount led there."""

    device: str
    path: Path


def is_outside(path: Path, home: Path) -> bool:
    """Whether a place is beyond the home; it need not be there yet."""
    real, real_home = Path(os.path.realpath(path)), Path(os.path.realpath(home))
    if real.is_relative_to(real_home):
        return False
    try:
        place, home_place = _place_of(real), _place_of(real_home)
        inside = place.device == home_place.device and place.path.is_relative_to(home_place.path)
        return not inside and not _has_a_name_in(real, real_home)
    except (OSError, ValueError):
        return True  # without /proc, or with a mount that was taken away meanwhile, the name is all there is


def _place_of(real: Path) -> _Place:
    rest: list[str] = []
    while not os.path.lexists(real):
        rest.insert(0, real.name)
        real = real.parent
    descriptor = os.open(real, os.O_PATH | os.O_CLOEXEC)
    try:
        about = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
    finally:
        os.close(descriptor)
    (mount,) = re.findall(r"^mnt_id:\s*([0-9]+)$", about, re.MULTILINE)
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        number, _parent, device, root, point, *_more = line.split(" ")
        if number == mount:
            return _Place(device, (_plain(root) / real.relative_to(_plain(point))).joinpath(*rest))
    raise ValueError(mount)


def _plain(escaped: str) -> Path:
    return Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), escaped))


def _has_a_name_in(real: Path, home: Path) -> bool:
    """Whether a file is also one of the home's; only one with several names is worth the search."""
    if not real.is_file():
        return False
    found = real.stat()
    if found.st_nlink == 1 or found.st_dev != home.stat().st_dev:
        return False
    for folder, _folders, _files in os.walk(home):
        with os.scandir(folder) as entries:
            if any(entry.inode() == found.st_ino for entry in entries):
                return True
    return False
