"""The few kernel calls that Python's standard library lacks.

It must never be given a name that came out of a jail.
"""

import ctypes
import os
from pathlib import Path

__all__ = ["bind", "mount_tmpfs", "own_mount_namespace", "process_children", "process_start"]

_CLONE_NEWNS = 0x00020000
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def own_mount_namespace() -> None:
    """Gives the calling *thread* a private copy of the mount table; the rest of the process keeps the old one.

    Linux keeps the mount namespace per thread, and a child belongs to the namespace of the thread that started it: what is
    mounted here is seen by that child alone, and is gone when thread and child are.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-rprivate")


def mount_tmpfs(target: Path, *, mode: int, size_bytes: int) -> None:
    """Mounts an empty file system in memory over the target."""
    options = f"mode={mode:o},size={size_bytes}".encode()
    _check(
        _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", _MS_NOSUID | _MS_NODEV, options), f"tmpfs on `{target}`"
    )


def bind(source: int, target: Path) -> None:
    """Binds what an open descriptor points at to the target, without what is mounted below it."""
    _check(
        _libc.mount(f"/proc/self/fd/{source}".encode(), os.fsencode(target), None, _MS_BIND, None),
        f"bind on `{target}`",
    )


def process_children(pid: int) -> tuple[int, ...]:
    """The children of a process, in the order they were started; none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return ()
    return tuple(int(word) for word in text.split())


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, which with the pid names it for good; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
