"""Kernel audit records of the system-call filter, read as they are multicast.

The audit multicast group delivers every record; the kernel log shows ten in five seconds and drops the rest. Needs
CAP_AUDIT_READ. Records are attributed by the run's own outside uid; it must never take over a record of another uid.
"""

import re
import socket
from contextlib import suppress
from typing import NamedTuple

from .syscalls import syscall_name
from .types import DeniedSyscall

__all__ = ["AuditReader", "Denial", "fold_denials", "open_audit"]

_NETLINK_AUDIT = 9
_GROUP_READLOG = 1
_SECCOMP = 1326
_HEADER = 16
_BUFFER = 4 * 1024 * 1024
_RECORD = re.compile(rb"\buid=(\d+) .*?\bcomm=(\S+) .*?\bsig=(\d+) arch=([0-9a-f]+) syscall=(\d+) ")
_ARCH_X86_64 = b"c000003e"
_HEX_COMM = re.compile(rb"(?:[0-9A-F]{2})+")
_MOST_KINDS = 200
_AT_ONCE = 1000
PROBES = frozenset({"clone3"})
"""Calls that C libraries try and do without: refused, counted, and no sign of anything."""


class Denial(NamedTuple):
    """One kind of denial."""

    number: int
    name: str
    killed: bool
    command: str


class AuditReader:
    """Collects the denials of one outside uid."""

    def __init__(self, sock: socket.socket, uid: int) -> None:
        self._socket = sock
        self._uid = uid
        self.counts: dict[Denial, int] = {}
        self.lost = False

    def fileno(self) -> int:
        """For polling."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Takes over what has arrived, a bounded part of it: a program that floods must not keep the watch from its clock."""
        for _ in range(_AT_ONCE):
            try:
                message = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: the kernel dropped records because we were too slow
                self.lost = True
                continue
            self._take(message)

    def close(self) -> None:
        """Leaves the multicast group."""
        self._socket.close()

    def _take(self, message: bytes) -> None:
        if int.from_bytes(message[4:6], "little") != _SECCOMP:
            return
        found = _RECORD.search(message[_HEADER:])
        if found is None or int(found[1]) != self._uid:
            return
        number = int(found[5])
        name = syscall_name(number) if found[4] == _ARCH_X86_64 else f"arch {found[4].decode('ascii')}"
        denial = Denial(number, name, int(found[3]) != 0, _command(found[2]))
        if denial in self.counts or len(self.counts) < _MOST_KINDS:
            self.counts[denial] = self.counts.get(denial, 0) + 1
        else:
            self.lost = True


def open_audit(uid: int) -> AuditReader | None:
    """A reader that sees records from now on; None where this process may not."""
    sock: socket.socket | None = None
    try:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_AUDIT
        )
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
        sock.bind((0, _GROUP_READLOG))
    except OSError:
        if sock is not None:
            sock.close()
        return None
    return AuditReader(sock, uid)


def fold_denials(counts: dict[Denial, int]) -> tuple[DeniedSyscall, ...]:
    """What is told of the denials; killing ones first, probes of C libraries left out."""
    told = [(denial, count) for denial, count in counts.items() if denial.killed or denial.name not in PROBES]
    return tuple(
        DeniedSyscall(
            number=denial.number,
            name=denial.name,
            action="killed" if denial.killed else "refused",
            command=denial.command,
            source="kernel_audit",
            count=count,
        )
        for denial, count in sorted(told, key=lambda item: (not item[0].killed, item[0]))
    )


def _command(raw: bytes) -> str:
    """The process name, which the program chooses: quoted, or hex where it holds odd bytes."""
    if raw.startswith(b'"'):
        raw = raw.strip(b'"')
    elif _HEX_COMM.fullmatch(raw):
        raw = bytes.fromhex(raw.decode("ascii"))
    return raw.decode("utf-8", "replace")[:32]
