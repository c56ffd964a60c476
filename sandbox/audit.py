"""Kernel audit records of the system-call filter, read as they are multicast.

The audit multicast group delivers every record; the kernel log shows ten in five seconds and drops the rest. Needs
CAP_AUDIT_READ. Records are attributed by the run's own outside uid; it must never take over a record of another uid.
"""

import re
import secrets
import select
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .syscalls import syscall_name
from .types import DeniedSyscall

__all__ = ["AuditReader", "Denial", "fold_denials", "open_audit"]

_NETLINK_AUDIT = 9
_GROUP_READLOG = 1
_SECCOMP = 1326
_GET = 1000
_MARK = 1107
_REQUEST, _ACKNOWLEDGE, _ERROR = 1, 4, 2
_STATUS = struct.Struct("=10I")
"""struct audit_status (linux/audit.h), as far as it is old enough to be everywhere."""
_RATE_LIMIT, _LOST, _WAIT = 4, 6, 9
_SETTLE_SECONDS = 5.0
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
        self._mark = b""
        self.counts: dict[Denial, int] = {}
        self.lost = False
        self.complete = False
        """Whether it is certain that no record is missing; only known once it was asked for by `settle`."""

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

    def settle(self) -> None:
        """Waits, a bounded time, until no record that the kernel has made by now can still be on its way.

        Records come in the order in which they were made: a mark of our own, sent when every process of the jail is dead, comes
        after all of theirs. It is a record of a kind that the kernel takes also where auditing is switched off.
        """
        self._mark = f"custody-mark-{secrets.token_hex(16)}".encode()
        if not _send_mark(self._mark):
            return
        poll, end = select.poll(), time.monotonic() + _SETTLE_SECONDS
        poll.register(self._socket, select.POLLIN)
        while self._mark and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.drain()
        self.complete = not (self._mark or self.lost) and _kernel_drops_nothing()

    def close(self) -> None:
        """Leaves the multicast group."""
        self._socket.close()

    def _take(self, message: bytes) -> None:
        kind = _kind(message)
        if kind == _MARK and self._mark and self._mark in message:
            self._mark = b""
        if kind != _SECCOMP:
            return
        found = _RECORD.search(message[_HEADER:])
        if found is None or int(found[1]) != self._uid:
            return
        number = int(found[5])
        name = syscall_name(number) if found[4] == _ARCH_X86_64 else f"arch {found[4].decode('ascii')}"
        denial = Denial(number, name, int(found[3]) != 0, _command(found[2]))
        room = _MOST_KINDS * (1 + denial.killed)  # however many are refused, the one that kills is told
        if denial in self.counts or len(self.counts) < room:
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


def _send_mark(text: bytes) -> bool:
    """Puts a record of our own into the kernel's queue; False if this process may not."""
    answer = _ask(_MARK, _REQUEST | _ACKNOWLEDGE, b"op=" + text + b"\0")
    return _kind(answer) == _ERROR and int.from_bytes(answer[_HEADER : _HEADER + 4], "little") == 0


def _kernel_drops_nothing() -> bool:
    """Whether killed calls are logged, and whoever makes a record waits for room rather than losing it; or none was ever lost."""
    try:
        logged = Path("/proc/sys/kernel/seccomp/actions_logged").read_text(encoding="ascii").split()
    except OSError:
        return False
    answer = _ask(_GET, _REQUEST, b"")
    if "kill_process" not in logged or _kind(answer) != _GET or len(answer) < _HEADER + _STATUS.size:
        return False
    status = _STATUS.unpack_from(answer, _HEADER)
    return bool(status[_RATE_LIMIT] == 0 < status[_WAIT] or status[_LOST] == 0)


def _ask(kind: int, flags: int, body: bytes) -> bytes:
    """The kernel's answer to one request; empty if there is none."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_AUDIT) as sock:
            sock.settimeout(_SETTLE_SECONDS)
            sock.send(struct.pack("=IHHII", _HEADER + len(body), kind, flags, 1, 0) + body)
            return sock.recv(4096)
    except OSError:
        return b""


def _kind(message: bytes) -> int:
    return int.from_bytes(message[4:6], "little")


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
