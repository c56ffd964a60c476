"""Every program that is started inside the jail, by following its processes with ptrace(2), for a runner that is not root.

The first process is seized before it has its job, so nothing of the program is missed. When it forks the program it is let
go; the program and everything it starts stay traced, which the kernel sees to: the filter refuses the one flag of clone that
would leave the trace, and the tracer's death kills them all. Nothing is stopped but for a moment at a fork, an exec or a
signal, and every signal is passed on as it came. At an exec the kernel has put the new program in place and has not run it:
what /proc shows then, nobody has touched.

One thread asks, waits and answers, because the kernel ties a tracee to a thread. It must never wait for a process that is
not its tracee, keep a signal back or make one up.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .commands import Started, Starts
from .kernel import (
    PTRACE_CONT,
    PTRACE_DETACH,
    PTRACE_LISTEN,
    PTRACE_SEIZE,
    ptrace,
    ptrace_message,
    ptrace_signal_code,
)

__all__ = ["CommandTrace"]

SOURCE = "ptrace"
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x10 | 0x100000
"""Follow fork, vfork, clone and exec; kill the tracees when the tracer ends (PTRACE_O_EXITKILL)."""
_BIRTHS = frozenset({1, 2, 3})
"""Fork, vfork and clone."""
_EXEC, _STOP = 4, 128
_MINE = 0x40000000 | 0x20000000
"""__WALL and __WNOTHREAD: tracees of every kind, and no child of another thread."""
_MOST_UNBORN = 20_000
_SEIZE_SECONDS = 10.0
_END_SECONDS = 5.0


@dataclass(slots=True)
class _Member:
    program: int | None
    """Which of the started programs it is, or is a part of."""
    started: Started | None = None
    told: bool = False
    """Whether its parent has told of it."""
    early: Started | None = None
    """What it started before that: by whom is known for certain only then."""


class CommandTrace(Starts):
    """Follows the processes of one jail."""

    def __init__(self) -> None:
        super().__init__(SOURCE)
        self._first: int | None = None
        self._members: dict[int, _Member] = {}
        self._seized = threading.Event()
        self._unborn: dict[int, _Member] = {}
        """Ended before the fork that made them was told of."""
        self._failure = ""
        self._sent_bad_call: set[int] = set()
        """Processes that are about to end by a SIGSYS that somebody sent."""
        self.peak = 0
        """Most processes and threads that were alive at once, the first process not counted."""
        self._thread: threading.Thread | None = None

    def follow(self, first: int) -> str:
        """Takes hold of the first process, which has no job yet; says why not, or nothing if it worked."""
        self._first = first
        self._thread = threading.Thread(target=self._trace, name="custody-tracer", daemon=True)
        self._thread.start()
        if not self._seized.wait(_SEIZE_SECONDS):
            return "the tracer did not get ready in time"
        return self._failure

    def close(self) -> None:
        """Waits for the end of the trace; every process of the jail is dead by now."""
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
            self.lost = self.lost or self._thread.is_alive()

    def _trace(self) -> None:
        assert self._first is not None  # noqa: S101 - for the type checker: `follow` has set it
        try:
            ptrace(PTRACE_SEIZE, self._first, _OPTIONS)
        except OSError as error:
            self._failure = f"the jail cannot be traced: {error.strerror}"
            return
        finally:
            self._seized.set()
        while True:
            try:
                process, status = os.waitpid(-1, _MINE)
            except ChildProcessError:
                return
            now = time.monotonic_ns()
            with suppress(ProcessLookupError):  # killed while we looked
                if os.WIFSTOPPED(status):
                    self._stopped(process, os.WSTOPSIG(status), status >> 16, now)
                else:
                    self._gone(process, status, now)

    def _stopped(self, process: int, number: int, event: int, now: int) -> None:
        if event in _BIRTHS:
            self._born(ptrace_message(process), process)
        elif process != self._first:
            self._born(process)
        match event:
            case 0:  # a signal on its way
                if number == signal.SIGSYS and _will_end_by(process, number):
                    self._sent_bad_call.add(process)
                if number == signal.SIGXCPU and ptrace_signal_code(process) > 0:  # whether it dies of it or not
                    self.burnt.ask(_group_of(process))
                ptrace(PTRACE_CONT, process, number)
            case _ if event == _STOP and number != signal.SIGTRAP:  # it stays stopped until another signal comes
                ptrace(PTRACE_LISTEN, process)
            case _ if event in _BIRTHS and process == self._first:
                self._first = None
                ptrace(PTRACE_DETACH, process)
            case _ if event == _EXEC:
                self._executed(process, now)
                ptrace(PTRACE_CONT, process)
            case _:
                ptrace(PTRACE_CONT, process)

    def _born(self, process: int, parent: int | None = None) -> None:
        """Told twice: by its parent, which may be the later of the two, and by itself."""
        gone = self._unborn.pop(process, None)
        if parent is not None and gone is not None:
            if gone.early is not None:
                self.attribute(gone.early, self._program_of(parent))
            return
        member = self._members.get(process)
        if member is None:  # if it speaks first, whose child it is can be seen, though not if that one chose to hide it
            seen = _parent_of(process) if parent is None else parent
            member = self._members[process] = _Member(self._program_of(seen))
        if parent is not None and not member.told:
            member.told = True
            if member.early is not None:
                self.attribute(member.early, self._program_of(parent))
            elif member.started is None:
                member.program = self._program_of(parent)
        self.peak = max(self.peak, len(self._members))

    def _program_of(self, process: int | None) -> int | None:
        if process is not None and process == self._first:
            return 0
        member = self._members.get(process) if process is not None else None
        return member.program if member is not None else None

    def _executed(self, process: int, now: int) -> None:
        former = ptrace_message(process)
        if former != process:  # another thread than the first one did: it has taken that one's place and number
            self._leave(former)
        member = self._members.setdefault(process, _Member(None))
        member.started = self.begin(process, now, parent=member.program)
        member.program = member.started.number if member.started is not None else None
        if not member.told and member.early is None:
            member.early = member.started

    def _gone(self, process: int, status: int, now: int) -> None:
        sent = process in self._sent_bad_call
        self._sent_bad_call.discard(process)
        self.ended(self._leave(process).started, status, now, sent=sent)

    def _leave(self, process: int) -> _Member:
        member = self._members.pop(process, None) or _Member(None)
        if not member.told and process != self._first:
            if len(self._unborn) < _MOST_UNBORN:
                self._unborn[process] = member
            else:  # their parents were killed before they could tell: a program can do that for as long as it runs
                self.lost = True
        return member


def _will_end_by(process: int, number: int) -> bool:
    """Whether the signal that it is about to take was sent by a process, and ends this one for certain.

    INVARIANT: nobody can change that any more. The process stands still, it has no other thread, and the filter refuses to
    make a process that shares how signals are taken with another. What the filter itself sends has a code above 0, if it is
    seen here at all.
    """
    if ptrace_signal_code(process) > 0:
        return False
    fields = _status_of(process)
    taken = int(fields.get("SigCgt", "0"), 16) | int(fields.get("SigIgn", "0"), 16)
    return fields.get("Threads") == "1" and not taken >> (number - 1) & 1


def _parent_of(process: int) -> int | None:
    """Whose child or thread it is; None if that cannot be seen."""
    fields = _status_of(process)
    if not fields:
        return None
    group = int(fields["Tgid"])
    return group if group != process else int(fields["PPid"])


def _group_of(task: int) -> int:
    """The process that a thread belongs to."""
    return int(_status_of(task).get("Tgid", task))


def _status_of(process: int) -> dict[str, str]:
    """What /proc says of a process; nothing if it is gone."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
