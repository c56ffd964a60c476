"""The few kernel calls that Python's standard library lacks.

It must never be given a name that came out of a jail.
"""

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "FAN_OPEN",
    "PTRACE_CONT",
    "PTRACE_DETACH",
    "PTRACE_LISTEN",
    "PTRACE_SEIZE",
    "OpenFile",
    "bind",
    "bind_owned",
    "count_tasks",
    "fanotify",
    "mark_filesystem",
    "mount_tmpfs",
    "open_file",
    "own_descriptors",
    "own_mount_namespace",
    "process_children",
    "process_start",
    "ptrace",
    "ptrace_message",
    "ptrace_signal_code",
]

_CLONE_FILES = 0x00000400
_CLONE_NEWNS = 0x00020000
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_CLONE_NEWUSER = 0x10000000
_SYS_CLONE = 56
_SYS_STATX = 332
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_PAGE = 4096
_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_INODE, _STATX_BIRTH, _STATX_MOUNT = 0x100, 0x800, 0x1000
_STATX_BYTES = 256
_STATX = struct.Struct("=I28xQ40xqI52xQ")
"""struct statx (linux/stat.h): what is known, inode, time of birth, mount."""
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_FROM_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x100000
_FAN_CLOEXEC = 0x1
_FAN_NONBLOCK = 0x2
_FAN_MARK_ADD = 0x1
_FAN_MARK_FILESYSTEM = 0x100
FAN_OPEN = 0x20
PTRACE_CONT = 7
PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_LISTEN = 0x4208
_PTRACE_GETEVENTMSG = 0x4201
_PTRACE_GETSIGINFO = 0x4202

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.fanotify_init.argtypes = (ctypes.c_uint, ctypes.c_uint)
_libc.fanotify_mark.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p)
_libc.syscall.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class _MountAttributes(ctypes.Structure):
    """struct mount_attr (linux/mount.h)."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("namespace", ctypes.c_uint64),
    )


def own_mount_namespace() -> None:
    """Gives the calling *thread* a private copy of the mount table; the rest of the process keeps the old one.

    Linux keeps the mount namespace per thread, and a child belongs to the namespace of the thread that started it: what is
    mounted here is seen by that child alone, and is gone when thread and child are.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-rprivate")


def own_descriptors(kept: Iterable[int]) -> None:
    """Gives the calling *thread* a private table of descriptors that holds these alone; the process keeps its own.

    Linux counts the record locks of fcntl(2) by table: a thread that has its own can close a descriptor of a file without
    taking away the locks that the process has on it.
    """
    _check(_libc.unshare(_CLONE_FILES), "unshare")
    first = 0
    for descriptor in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, descriptor)
        first = descriptor + 1


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


def bind_owned(source: int, target: Path, *, owner: int, group: int, shown: int) -> None:
    """Binds like `bind`, but what belongs to the owner is the user's `shown` in there, and what that user makes is the owner's.

    An idmapped mount (mount_setattr(2), Linux 5.12 and later, on file systems that can).
    """
    tree = _system_call(_SYS_OPEN_TREE, source, b"", _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH, what="open_tree")
    try:
        namespace = _identity_namespace(f"{owner} {shown} 1", f"{group} {shown} 1")
        try:
            attributes = _MountAttributes(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
            _system_call(
                _SYS_MOUNT_SETATTR,
                tree,
                b"",
                _AT_EMPTY_PATH,
                ctypes.byref(attributes),
                ctypes.c_size_t(ctypes.sizeof(attributes)),
                what="mount_setattr",
            )
        finally:
            os.close(namespace)
        _system_call(
            _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_FROM_EMPTY_PATH, what="move_mount"
        )
    finally:
        os.close(tree)


def _identity_namespace(users: str, groups: str) -> int:
    """A user namespace with these maps, as a descriptor: it takes a process to make one, which does nothing and is killed."""
    child = _system_call(_SYS_CLONE, _CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0, what="clone")
    if child == 0:
        while True:
            _libc.pause()
    try:
        Path(f"/proc/{child}/uid_map").write_text(users, encoding="ascii")
        Path(f"/proc/{child}/gid_map").write_text(groups, encoding="ascii")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def fanotify() -> int:
    """A descriptor from which file events are read; needs CAP_SYS_ADMIN."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_LARGEFILE
    descriptor: int = _libc.fanotify_init(_FAN_CLOEXEC | _FAN_NONBLOCK, flags)
    _check(min(descriptor, 0), "fanotify_init")
    return descriptor


def mark_filesystem(descriptor: int, path: Path) -> None:
    """Asks for every opening on the file system that the path lies on, through whichever mount."""
    _check(
        _libc.fanotify_mark(descriptor, _FAN_MARK_ADD | _FAN_MARK_FILESYSTEM, FAN_OPEN, _AT_FDCWD, os.fsencode(path)),
        f"fanotify_mark on `{path}`",
    )


class OpenFile(NamedTuple):
    """What an open file is, and the way to it."""

    mount: int
    """Number of the mount that it was reached through; one in the jail's namespace is the jail's alone."""
    inode: int
    born_ns: int | None
    """When it was made, by the clock of the file system; None where that is not kept."""


def open_file(descriptor: int) -> OpenFile:
    """Asks the kernel (statx(2), whose number of the mount is there since Linux 5.8), and no file system over a network."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    wanted = _STATX_INODE | _STATX_BIRTH | _STATX_MOUNT
    _system_call(_SYS_STATX, descriptor, b"", _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC, wanted, found, what="statx")
    known, inode, seconds, nanoseconds, mount = _STATX.unpack_from(found)
    if not known & _STATX_MOUNT:
        raise OSError(errno.ENOSYS, "statx does not tell mounts")
    return OpenFile(mount, inode, seconds * 1_000_000_000 + nanoseconds if known & _STATX_BIRTH else None)


def ptrace(request: int, process: int, data: int = 0) -> None:
    """One request to one tracee, by the thread that traces it."""
    _check(min(_libc.ptrace(request, process, None, data), 0), "ptrace")


def ptrace_message(process: int) -> int:
    """The number that belongs to the event at which a tracee stands."""
    message = ctypes.c_ulong()
    _check(
        min(_libc.ptrace(_PTRACE_GETEVENTMSG, process, None, ctypes.cast(ctypes.byref(message), ctypes.c_void_p)), 0),
        "ptrace",
    )
    return message.value


def ptrace_signal_code(process: int) -> int:
    """Where the signal comes from that a tracee is about to take (`si_code` of sigaction(2))."""
    information = (ctypes.c_int * 32)()
    _check(min(_libc.ptrace(_PTRACE_GETSIGINFO, process, None, ctypes.cast(information, ctypes.c_void_p)), 0), "ptrace")
    return information[2]


def process_children(pid: int) -> tuple[int, ...]:
    """The children of a process, in the order they were started; none if it is gone."""
    try:
        return tuple(map(int, _read(f"/proc/{pid}/task/{pid}/children").split()))
    except OSError:
        return ()


def count_tasks(pid: int, most: int) -> int:
    """How many threads a process and all that descends from it have, zombies too; no more than `most` are counted."""
    count, waiting = 0, [pid]
    while waiting and count < most:
        folder = f"/proc/{waiting.pop()}/task"
        with suppress(OSError):
            threads = os.listdir(folder)  # noqa: PTH208 - names alone are wanted
            count += len(threads)
            for thread in threads:
                waiting += map(int, _read(f"{folder}/{thread}/children").split())
    return count


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, which with the pid names it for good; None if it is gone."""
    try:
        stat = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def _read(path: str) -> bytes:
    """A file of /proc, without the layers of a file object: it is read in the middle of every run."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, _PAGE), b""))
    finally:
        os.close(descriptor)


def _system_call(number: int, *arguments: object, what: str) -> int:
    result: int = _libc.syscall(number, *arguments)
    _check(min(result, 0), what)
    return result


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
