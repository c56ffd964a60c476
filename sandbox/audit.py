"""Kernel audit records of the system-call filter, read as they are multicast.

The audit multicast group delivers every record; the kernel log shows ten in five seconds and drops the rest. Needs
CAP_AUDIT_READ. Records are attributed by the run's own outside uid; it must never take over a record of another uid, or of
an earlier run that had the same one.

Records come in the order in which they were made. A mark of our own therefore says where a run begins and where it ends: what
comes before the first mark was made by runs that are over, and when the last one comes, sent when every process of the jail is
dead, nothing of theirs can still be on its way. The mark is a record of a kind that the kernel takes also where auditing is
switched off. That the first one comes is the proof that records are delivered at all: in a network namespace of its own a
process may join the group and never hears a word.
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
_PROOF_SECONDS = 2.0
_NOT_DELIVERED = "the kernel does not deliver audit records to this process"
_SETTINGS_SECONDS = 10.0
_SILENT_SECONDS = 60.0
"""For so long it is believed that nothing is delivered to this process."""
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
        self._ended = False
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

    def begin(self) -> str:
        """Leaves everything out that was made before now; says why not, or nothing if the mark was taken."""
        return "" if self._mark_now() else "the kernel takes no audit records of this process"

    def prove(self) -> str:
        """Waits, a bounded time, until the first mark has come; says why it did not, or nothing: to be called before the job begins."""
        if self._wait_for_mark(_PROOF_SECONDS):
            return ""
        _Silence.until = time.monotonic() + _SILENT_SECONDS
        return _NOT_DELIVERED

    def end(self) -> None:
        """Puts the last mark behind what was made by now: to be called when every process of the program is dead."""
        if not self._ended:
            self._ended = True
            self.lost |= not self._mark_now()

    def settle(self) -> None:
        """Waits, a bounded time, until no record that was made before the last mark can still be on its way."""
        if not self._ended:
            self._wait_for_mark(_PROOF_SECONDS)  # the first: of a jail that never got ready
        self.end()
        self.lost |= not self._wait_for_mark(_SETTLE_SECONDS)
        self.complete = not self.lost and _kernel_drops_nothing()

    def _mark_now(self) -> bool:
        self._mark = f"custody-mark-{secrets.token_hex(16)}".encode()
        return _send_mark(self._mark)

    def _wait_for_mark(self, seconds: float) -> bool:
        if not self._mark:
            return True
        poll, end = select.poll(), time.monotonic() + seconds
        poll.register(self._socket, select.POLLIN)
        while self._mark and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.drain()
        return not self._mark

    def close(self) -> None:
        """Leaves the multicast group."""
        self._socket.close()

    def _take(self, message: bytes) -> None:
        kind = _kind(message)
        if kind == _MARK and self._mark and self._mark in message:
            self._mark = b""
            if not self._ended:
                self.counts, self.lost = {}, False
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


class _Settings:
    """Until when it is taken for known, by the clock, that whoever makes a record waits for room."""

    wait_until = 0.0


class _Silence:
    """Until when it is known, by the clock, that nothing is delivered to this process."""

    until = 0.0


def open_audit(uid: int) -> AuditReader | str:
    """A reader that sees the records that are made from now on, or why there is none."""
    if time.monotonic() < _Silence.until:
        return _NOT_DELIVERED
    try:
        sock = _join()
    except OSError as error:
        return f"the runner may not read kernel audit records: {error.strerror}"
    reader = AuditReader(sock, uid)
    if reason := reader.begin():
        reader.close()
        return reason
    return reader


def _join() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_AUDIT
    )
    try:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
        sock.bind((0, _GROUP_READLOG))
    except OSError:
        sock.close()
        raise
    return sock


def _send_mark(text: bytes) -> bool:
    """Puts a record of our own into the kernel's queue; False if this process may not."""
    answer = _ask(_MARK, _REQUEST | _ACKNOWLEDGE, b"op=" + text + b"\0")
    return _kind(answer) == _ERROR and int.from_bytes(answer[_HEADER : _HEADER + 4], "little") == 0


def _kernel_drops_nothing() -> bool:
    """Whether killed calls are logged, and whoever makes a record waits for room rather than losing it; or none was ever lost.

    The first two are settings of the machine, which are asked for once in a while; the last can be otherwise after any run.
    """
    if time.monotonic() < _Settings.wait_until:
        return True
    try:
        logged = Path("/proc/sys/kernel/seccomp/actions_logged").read_text(encoding="ascii").split()
    except OSError:
        return False
    answer = _ask(_GET, _REQUEST, b"")
    if "kill_process" not in logged or _kind(answer) != _GET or len(answer) < _HEADER + _STATUS.size:
        return False
    status = _STATUS.unpack_from(answer, _HEADER)
    if status[_RATE_LIMIT] == 0 < status[_WAIT]:
        _Settings.wait_until = time.monotonic() + _SETTINGS_SECONDS
        return True
    return bool(status[_LOST] == 0)


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
