"""Every program that is started inside the jail, from the kernel's process connector.

The connector tells of every fork, exec and exit on the machine; a process belongs to the jail if a chain of forks leads from
nsjail to it, which no program can leave. What was started is read from /proc at once; a program that has ended before that
is listed as unknown. Needs root in the first namespaces. It must never take over a process of another run.
"""

import signal
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntFlag
from pathlib import Path
from typing import NamedTuple

from .names import CUT, shown
from .types import ObservedCommand

__all__ = ["CommandWatch", "Started", "Starts", "count_commands", "merge_commands", "open_commands"]

SOURCE = "process_connector"
_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = 1
_LISTEN = 1
_HEADERS = 16 + 20
_EVENT = struct.Struct("=IIQ")
_BUFFER = 4 * 1024 * 1024
_AT_ONCE = 1000
_MOST_QUEUED = 30_000
"""More than fit into the queue: the kernel counts twice its size, and at least 512 bytes for each."""
_MOST = 20_000
_MOST_CHARACTERS = 6 * 1024 * 1024
"""Of paths and arguments, and some for the rest of each line that they will be."""
_LINE = 200
_MOST_PROCESSES = 20_000
_SHARE = 64
"""One start may take so small a part of the room that is left, so that no few of them take it all..."""
_FIRST, _EACH = 24, 400
"""...and at least so many arguments at such a length, which is more than the interpreter tells."""
_KEY, _KEYS = 64, 20
_MOST_COMPARED = 200_000
_FIRST_PROCESS = 1
"""Depth below nsjail; the program and what it starts are deeper."""
_PROGRAM = 2
"""The program's own depth, about which the first process knows better."""


class Happening(IntFlag):
    """Kinds of events (linux/cn_proc.h)."""

    FORK = 0x1
    EXEC = 0x2
    EXIT = 0x80000000


class Started(NamedTuple):
    """Where a started program stands in the list, and when it was started."""

    place: int
    nanoseconds: int

    @property
    def number(self) -> int:
        """As whose child others are listed."""
        return self.place + 1


@dataclass(slots=True)
class Burnt:
    """What is known of processes that had the signal of their limit of processor time."""

    seconds: float = 0.0
    """Most that the kernel held against the limit of one that had the signal, and was asked in time."""
    unknown: bool = False
    """Whether one ended by it of which that could not be asked any more."""

    def ask(self, process: int) -> bool:
        """Takes note of what the kernel holds against a process, which a dead one still has until it is reaped; False if it is gone."""
        try:
            self.seconds = max(self.seconds, time.clock_gettime(~process << 3))  # the clock CPUCLOCK_PROF
        except OSError:
            return False
        return True


class Starts:
    """Programs that were started: a list that is bounded in number and size, and their true number."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._room = _MOST_CHARACTERS
        self.commands: list[ObservedCommand] = []
        self.total = 0
        self.lost = False
        self.bad_calls = 0
        """Processes that ended by SIGSYS, as the system-call filter ends one, unless it is known that it was sent to them."""
        self.burnt = Burnt()

    def begin(self, process: int, nanoseconds: int, *, parent: int | None) -> Started | None:
        """Lists what a process has just become, and by whom; None if the list is full."""
        self.total += 1
        if len(self.commands) >= _MOST or self._room <= 0:
            return None
        seen = _look_at(process, self._source, parent, max(_FIRST * (_EACH + 2), self._room // _SHARE))
        self._room -= _LINE + len(seen.path) + sum(map(len, seen.arguments or ()))
        self.commands.append(seen)
        return Started(len(self.commands) - 1, nanoseconds)

    def attribute(self, started: Started, parent: int | None) -> None:
        """Says by whom a listed program was started, once that is known for certain."""
        self.commands[started.place] = replace(self.commands[started.place], parent=parent)

    def ended(self, started: Started | None, status: int, nanoseconds: int, *, sent: bool = False) -> None:
        """Takes note of the end of a process, whether it was a program of its own, and listed, or not; and whether a signal was sent."""
        self.bad_calls += status & 0x7F == signal.SIGSYS and not sent
        if started is not None:
            self.end(started, status, nanoseconds)

    def end(self, started: Started, status: int, nanoseconds: int) -> None:
        """Adds how it ended, by its wait status."""
        low = status & 0x7F
        self.commands[started.place] = replace(
            self.commands[started.place],
            exit_status=128 + low if low else (status >> 8) & 0xFF,
            wall_ms=max(0, nanoseconds - started.nanoseconds) // 1_000_000,
        )


@dataclass(slots=True)
class _Member:
    depth: int
    threads: int = 1
    """Those that are alive: a process whose first thread has ended lives on in the others, and a program can start from any."""
    started: Started | None = None
    program: int | None = 0
    """Which of the started programs it is, or is a part of."""


class CommandWatch(Starts):
    """Follows the processes of one jail."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(SOURCE)
        self._socket = sock
        self._members: dict[int, _Member] = {}
        self._nsjail = 0

    def fileno(self) -> int:
        """For polling."""
        return self._socket.fileno()

    def follow(self, nsjail: int) -> None:
        """Names the process that everything in the jail descends from."""
        self._nsjail = nsjail
        self._members[nsjail] = _Member(0)

    def knows(self, process: int) -> bool:
        """Whether it was told by now that this process was forked in the jail."""
        self.drain_all()
        return process in self._members

    def drain(self) -> bool:
        """Takes over what has arrived, a bounded part of it; whether there may be more."""
        for _ in range(_AT_ONCE):
            try:
                message = self._socket.recv(4096)
            except BlockingIOError:
                return False
            except OSError:  # ENOBUFS: the kernel dropped events because we were too slow
                self.lost = True
                continue
            self._take(message[_HEADERS:])
        return True

    def drain_all(self) -> None:
        """Takes over everything that has happened until now, which the kernel has put into our queue by then, in order.

        What others start meanwhile does not keep us: after as many as a full queue holds, all that was in it has been taken.
        """
        for _ in range(_MOST_QUEUED // _AT_ONCE):
            if not self.drain():
                return

    def close(self) -> None:
        """Leaves the multicast group."""
        self._socket.close()

    def _take(self, event: bytes) -> None:
        if len(event) < _EVENT.size + 16:
            return
        what, _, nanoseconds = _EVENT.unpack_from(event)
        match what:
            case Happening.FORK:
                _, parent, child, group = struct.unpack_from("=IIII", event, _EVENT.size)
                if child == group:
                    self._forked(parent, child)
                elif (member := self._members.get(group)) is not None:
                    member.threads += 1
            case Happening.EXEC:
                _, process = struct.unpack_from("=II", event, _EVENT.size)
                self._executed(process, nanoseconds)
            case Happening.EXIT:
                _, process, status = struct.unpack_from("=III", event, _EVENT.size)
                self._exited(process, status, nanoseconds)
            case _:
                pass

    def _forked(self, parent: int, child: int) -> None:
        member = self._members.get(parent)
        if member is None:
            if child != self._nsjail:  # whose own start may be told of late
                self._members.pop(child, None)  # its end was lost, and its number is somebody else's now
            return
        if len(self._members) >= _MOST_PROCESSES:
            self.lost = True
            return
        self._members[child] = _Member(member.depth + 1, program=member.program)

    def _executed(self, process: int, nanoseconds: int) -> None:
        member = self._members.get(process)
        if member is None or member.depth <= _FIRST_PROCESS:
            return
        member.started = self.begin(process, nanoseconds, parent=member.program)
        member.program = member.started.number if member.started is not None else None

    def _exited(self, process: int, status: int, nanoseconds: int) -> None:
        member = self._members.get(process)
        if member is None:
            return
        member.threads -= 1
        if member.threads > 0:
            return
        del self._members[process]
        if status & 0x7F == signal.SIGXCPU and member.depth > _PROGRAM:
            self.burnt.unknown |= not self.burnt.ask(process)
        self.ended(member.started, status, nanoseconds)


def open_commands() -> CommandWatch | None:
    """A watch that sees everything from now on; None where this process may not."""
    sock: socket.socket | None = None
    try:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR
        )
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
        sock.bind((0, _CN_IDX_PROC))
        # the shorter request means every kind of event; kernels since 6.6 also take a choice of kinds
        body = struct.pack(
            "=IIIIHHII", _CN_IDX_PROC, 1, 0, 0, 8, 0, _LISTEN, Happening.FORK | Happening.EXEC | Happening.EXIT
        )
        try:
            sock.send(struct.pack("=IHHII", 16 + len(body), 3, 0, 0, 0) + body)
        except OSError:
            body = struct.pack("=IIIIHHI", _CN_IDX_PROC, 1, 0, 0, 4, 0, _LISTEN)
            sock.send(struct.pack("=IHHII", 16 + len(body), 3, 0, 0, 0) + body)
    except OSError:
        if sock is not None:
            sock.close()
        return None
    return CommandWatch(sock)


def merge_commands(kernel: list[ObservedCommand], told: tuple[ObservedCommand, ...]) -> tuple[ObservedCommand, ...]:
    """What the kernel saw, then what the program's interpreter told beyond that: attempts that started nothing."""
    if not told:
        return tuple(kernel)
    seen = _Seen(kernel)
    return (*kernel, *(command for command in told if command.path != "(fork)" and command not in seen))


def count_commands(starts: Starts, merged: tuple[ObservedCommand, ...]) -> int:
    """How many there were: what the interpreter told beyond the list may be what the kernel saw too late, or could not list."""
    known = sum(command.arguments is not None for command in starts.commands)
    beyond = len(merged) - len(starts.commands)
    return starts.total + max(0, beyond - (starts.total - known))


class _Seen:
    """Starts by the beginnings of their arguments, so that each of the interpreter's is found among thousands without a search."""

    def __init__(self, kernel: list[ObservedCommand]) -> None:
        self._exact: dict[tuple[str, ...], list[ObservedCommand]] = {}
        self._near: dict[tuple[str, ...], list[ObservedCommand]] = {}
        self._left = _MOST_COMPARED
        for command in kernel:
            if command.arguments is not None:
                self._exact.setdefault(_key(command.arguments), []).append(command)
                self._near.setdefault(_key(command.arguments[:2]), []).append(command)

    def __contains__(self, told: ObservedCommand) -> bool:
        """Whether it is one of them; what the interpreter tells of a long one is cut, in each argument, in their number, or anywhere."""
        if told.arguments is None:
            return False
        if told.more or any(map(_is_cut, told.arguments)):
            nearby = self._near.get(_key(told.arguments[:2]), [])
        else:
            nearby = self._exact.get(_key(told.arguments), [])
        for start in nearby:
            self._left -= 1
            if self._left < 0:  # made to cost time: it is listed twice rather
                return False
            if _is_same(start, told):
                return True
        return False


def _key(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(argument[:_KEY] for argument in arguments[:_KEYS])


def _is_same(start: ObservedCommand, told: ObservedCommand) -> bool:
    seen, words = start.arguments or (), told.arguments or ()
    whole = len(words) + told.more == len(seen) + start.more
    broken = bool(words) and _is_cut(words[-1])  # maybe in the middle of the line: what came after it is not known
    if not (whole or (broken and len(words) <= len(seen))):
        return False
    return _base(start.path).startswith(_base(told.path)) and all(map(_is_beginning, words, seen))


def _is_beginning(word: str, seen: str) -> bool:
    """Whether an argument as the interpreter tells it is this one of the kernel's, either of which may be cut."""
    return (
        word == seen
        or (_is_cut(seen) and word.startswith(seen[: -len(CUT)]))
        or (_is_cut(word) and seen.startswith(word[: -len(CUT)]))
    )


def _is_cut(word: str) -> bool:
    return word.endswith(CUT)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _look_at(process: int, source: str, parent: int | None, room: int) -> ObservedCommand:
    """What a process has just become; unknown if it is already gone."""
    folder = Path(f"/proc/{process}")
    path, arguments, more = "unknown", None, 0
    with suppress(OSError):
        path = shown(str((folder / "exe").readlink()))
    with suppress(OSError):
        raw = (folder / "cmdline").read_bytes()
        if raw:
            arguments = _fit(raw, room)
            more = raw.count(b"\0") - 1 - len(arguments) if raw.endswith(b"\0") else 0
    return ObservedCommand(
        path=path, arguments=arguments, source=source, program_controlled=False, parent=parent, more=max(0, more)
    )


def _fit(raw: bytes, room: int) -> tuple[str, ...]:
    """As many arguments as there is room for, the first of them at a fair length however long one is."""
    words = raw.removesuffix(b"\0").split(b"\0", room)[1:room]
    kept = []
    for place, word in enumerate(words):
        owed = _EACH * max(0, min(len(words), _FIRST) - place - 1)
        if place >= _FIRST and room <= 0:
            break
        kept.append(shown(word, most=max(room - owed, 0)))
        room -= len(kept[-1]) + 1
    return tuple(kept)
