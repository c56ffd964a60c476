"""Watches one jail from its start to the death of its last process.

It reads every stream as bytes within its cap, owns the wall clock, and kills for a limit, for a cancel or for an end of its
own; it must never wait without a bound and never conclude anything: it only writes down what it saw.
"""

import hashlib
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from .groups import Groups
from .kernel import count_tasks, process_children, process_start
from .launch import Jail
from .lease import Lease
from .live import LiveRelay
from .observe import Recorder
from .sources import Sources

__all__ = ["Bounds", "Stopped", "Stream", "Watch", "Watched"]

_CHUNK = 65536
_TICK_MS = 25
_LOG_AT_ONCE = 1024 * 1024
_CHECK_SECONDS = 0.1
_LOG_BYTES = 256 * 1024
_RELAY_BYTES = 4096
_EVENT_BYTES = 4 * 1024 * 1024
"""More than this of records is not read: an honest interpreter needs a hundredth of it."""
_START_SECONDS = 30.0
_END_SECONDS = 5.0
_GRACE_SECONDS = 2.5
"""How long the jail may take to fall apart once its program has ended or was killed."""
_PLACES = (("disk", "work"), ("disk", "tmp"), ("disk", "dev/shm"))


class Stopped(StrEnum):
    """Why the runner ended a run."""

    NOT = "not stopped"
    CANCEL = "cancelled"
    WALL = "the wall clock limit was reached"
    OUTPUT = "the output limit was reached"
    CPU = "the processor time limit was reached"
    START = "the jail did not get ready in time"


@dataclass(slots=True, kw_only=True)
class Stream:
    """One stream of the program, as bytes."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    seen: int = 0
    content: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the runner itself enforces."""

    wall_seconds: float
    cpu_seconds: int
    output_bytes: int
    pending_signals: int | None = None
    core_bytes: int = 1
    tasks: int | None = None
    """Processes and threads to look for where no control group counts them."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """What was seen; nothing in here is a conclusion."""

    ready: bool = False
    started: bool = False
    stopped: Stopped = Stopped.NOT
    status: int | None = None
    """Wait status of the program, from the trusted first process."""
    program_cpu_us: int | None = None
    """Of the program and the children that it waited for."""
    whole_cpu_us: int | None = None
    """Of everything that was waited for, what the program left behind among it."""
    counted_cpu_us: int | None = None
    """What the kernel held against the program's own limit."""
    peak_tasks: int = 0
    """Most processes and threads of the program that were seen at once, where no control group counts them."""
    left_behind: int = 0
    """Processes that the program left and that were killed."""
    nsjail_status: int | None = None
    """Exit code of nsjail, negative for a signal."""
    log: bytes = b""
    stdout: Stream = field(default_factory=Stream)
    stderr: Stream = field(default_factory=Stream)
    full: set[str] = field(default_factory=set)
    """`disk` or `inodes`, where a file system of the jail was seen full."""
    wall_ms: int = 0
    work_directory: int = -1
    unfinished: bool = False
    """Whether streams were still open when the runner stopped waiting for them."""


class Watch:
    """The loop for one jail."""

    def __init__(
        self,
        jail: Jail,
        bounds: Bounds,
        first: bytes,
        payload: bytes,
        groups: Groups | None,
        *,
        targets: tuple[str, ...] = (),
    ) -> None:
        self._jail = jail
        self._bounds = bounds
        self._sending = memoryview(first)
        self._payload = payload
        self._groups = groups
        self._targets = targets
        self._sources = Sources()
        self._relay_out: LiveRelay | None = None
        self._demands: Collection[str] = ()
        self._first: int | None = None
        self._first_pid = 0
        self._places: list[int] = []
        self._log = bytearray()
        self._relay = bytearray()
        self._poll = select.poll()
        self._open: dict[int, str] = {}
        self._begun = time.monotonic()
        self._next_check = 0.0
        self._due_at: float | None = None
        self._event_bytes = 0
        self._ended_at: float | None = None
        self.recorder = Recorder()
        self.seen = Watched()

    def run(
        self,
        lease: Lease,
        *,
        cancel: threading.Event | None,
        sources: Sources,
        relay: LiveRelay | None = None,
        demands: Collection[str] = (),
    ) -> Watched:
        """Returns when the last process is dead and every stream is at its end, or was given up."""
        ends = self._jail.ends
        self._open = {getattr(ends, name): name for name in ("stdout", "stderr", "log", "relay", "events", "process")}
        for descriptor, name in self._open.items():
            if name != "log":  # its pipe holds what nsjail says at the start: thirty lines are not worth waking up for
                self._poll.register(descriptor, select.POLLIN)
        self._poll.register(ends.control, select.POLLOUT)
        self._sources, self._relay_out, self._demands = sources, relay, demands
        kernel = {source.fileno(): source for source in sources.polled()}
        for descriptor in kernel:
            self._poll.register(descriptor, select.POLLIN)
        if sources.commands is not None:
            sources.commands.follow(self._jail.process.pid)
        try:
            lease.record(nsjail=self._jail.process.pid, nsjail_start=process_start(self._jail.process.pid))
            while self._open and not self.seen.unfinished:
                arrived = self._poll.poll(_TICK_MS)
                for descriptor, _ in arrived:
                    if descriptor in kernel:
                        kernel[descriptor].drain()
                    else:
                        self._serve(descriptor)
                if not arrived:
                    self._look_at_disks()
                    self._take_log()
                self._check(cancel)
            sources.finish()
        finally:
            self._finish()
        return self.seen

    def _serve(self, descriptor: int) -> None:
        name = self._open.get(descriptor)
        if name is not None:
            if not self._read(name, descriptor):
                self._poll.unregister(descriptor)
                del self._open[descriptor]
        elif descriptor == self._jail.ends.control:
            self._write()

    def _read(self, name: str, descriptor: int) -> bool:
        """Takes what has arrived; False at the end of the stream."""
        if name == "process":
            self.seen.nsjail_status = self._jail.process.wait()
            self._ended_at = time.monotonic()
            self._poll.register(self._jail.ends.log, select.POLLIN)
            return False
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        match name:
            case "stdout":
                self._output("stdout", self.seen.stdout, data)
            case "stderr":
                self._output("stderr", self.seen.stderr, data)
            case "log":
                self._keep_log(data)
            case "events":
                self._look_at_disks()
                self.recorder.feed(data)
                self._event_bytes += len(data)
                if self._event_bytes > _EVENT_BYTES:
                    self.recorder.give_up()
                    return False
            case _:
                self._hear(data)
        return bool(data)

    def _take_log(self) -> None:
        """Empties the pipe of nsjail's log, while nsjail lives."""
        if self._ended_at is None and "log" in self._open.values():
            with suppress(BlockingIOError):
                self._keep_log(os.read(self._jail.ends.log, _LOG_AT_ONCE))

    def _keep_log(self, data: bytes) -> None:
        self._log += data[: max(0, _LOG_BYTES - len(self._log))]

    def _output(self, name: str, stream: Stream, data: bytes) -> None:
        kept = len(self.seen.stdout.content) + len(self.seen.stderr.content)
        stream.digest.update(data)
        stream.seen += len(data)
        fitting = data[: max(0, self._bounds.output_bytes - kept)]
        stream.content += fitting
        if self._relay_out is not None and fitting:
            self._relay_out.feed(name, fitting)
        if self.seen.stdout.seen + self.seen.stderr.seen > self._bounds.output_bytes:
            self._stop(Stopped.OUTPUT)

    def _hear(self, data: bytes) -> None:
        """The words of the trusted first process; bounded all the same."""
        self._relay += data[: max(0, _RELAY_BYTES - len(self._relay))]
        while b"\n" in self._relay:
            line, _, rest = bytes(self._relay).partition(b"\n")
            self._relay = bytearray(rest)
            match line.split():
                case [b"ready"] if not self.seen.ready:
                    self._prepare()
                case [b"started"]:
                    self.seen.started = True
                    self._begun = time.monotonic()
                case [b"exit", status, user, system, counted] if self.seen.status is None:
                    self.seen.status = int(status)
                    self.seen.program_cpu_us = int(user) + int(system)
                    self.seen.counted_cpu_us = int(counted)
                    self.seen.wall_ms = int((time.monotonic() - self._begun) * 1000)
                    self._due_at = time.monotonic() + _GRACE_SECONDS
                    self._look_at_disks()
                case [b"empty", count, waited_for]:
                    self.seen.left_behind, self.seen.whole_cpu_us = int(count), int(waited_for)
                    self._sources.end()

    def _prepare(self) -> None:
        """Gets everything from outside that is needed later, while nothing but our own code has run in the jail."""
        try:
            self._open_inside()
        except OSError as error:
            self._log += f"[E][custody] the jail cannot be entered from outside: {error}\n".encode()
            self._stop(Stopped.START)
        else:
            self.seen.ready = True
            self._sending = memoryview(self._payload)
            self._poll.register(self._jail.ends.control, select.POLLOUT)

    def _open_inside(self) -> None:
        children = process_children(self._jail.process.pid)
        if len(children) != 1:
            raise ProcessLookupError(0, f"nsjail has {len(children)} children")
        self._first, self._first_pid = os.pidfd_open(children[0]), children[0]
        self._limit(children[0])
        root = os.open(f"/proc/{children[0]}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.seen.work_directory = os.open("work", flags, dir_fd=root)
            for _, path in _PLACES:
                self._places.append(os.open(path, flags, dir_fd=root))
            if self._sources.files is not None:
                for name in self._targets:
                    self._sources.files.admit(os.open(f"mnt/{name}", os.O_PATH | os.O_CLOEXEC, dir_fd=root), name)
        finally:
            os.close(root)
        if self._groups is not None:
            self._groups.adopt((self._jail.process.pid, children[0]))
        self._sources.follow(children[0])
        if missing := self._sources.missing(self._demands):
            raise ProcessLookupError(0, missing)

    def _limit(self, first: int) -> None:
        """Limits that nsjail cannot set."""
        if (most := self._bounds.pending_signals) is not None:
            resource.prlimit(first, resource.RLIMIT_SIGPENDING, (most, most))
        hard = resource.prlimit(first, resource.RLIMIT_CPU)[1]
        resource.prlimit(first, resource.RLIMIT_CPU, (self._bounds.cpu_seconds, hard))
        hard = resource.prlimit(first, resource.RLIMIT_CORE)[1]
        core = self._bounds.core_bytes if hard == resource.RLIM_INFINITY else min(self._bounds.core_bytes, hard)
        resource.prlimit(first, resource.RLIMIT_CORE, (core, core))

    def _write(self) -> None:
        try:
            self._sending = self._sending[os.write(self._jail.ends.control, self._sending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._sending = self._sending[:0]
        if not self._sending:
            self._poll.unregister(self._jail.ends.control)

    def _check(self, cancel: threading.Event | None) -> None:
        now = time.monotonic()
        if self._ended_at is None and self.seen.status is None and cancel is not None and cancel.is_set():
            self._stop(Stopped.CANCEL)
        if self._ended_at is None and self.seen.status is None:
            limit = self._bounds.wall_seconds if self.seen.started else _START_SECONDS
            if now - self._begun > limit:
                self._stop(Stopped.WALL if self.seen.started else Stopped.START)
        if self._ended_at is not None:
            self.seen.unfinished = bool(self._open) and now - self._ended_at > _END_SECONDS
        elif self._due_at is not None and now > self._due_at:
            self._kill_hard()
        if now >= self._next_check:
            self._next_check = now + _CHECK_SECONDS
            self._look_at_disks()
            self._take_log()
            self._count_tasks()
            if (
                self._groups is not None
                and self._ended_at is None
                and (self._groups.cpu_ns() or 0) > self._bounds.cpu_seconds * 1_000_000_000
            ):
                self._stop(Stopped.CPU)

    def _count_tasks(self) -> None:
        if self._bounds.tasks is not None and self._first is not None and self._ended_at is None:
            seen = count_tasks(self._first_pid, self._bounds.tasks + 1) - 1
            self.seen.peak_tasks = max(self.seen.peak_tasks, seen)

    def _look_at_disks(self) -> None:
        for place in self._places:
            found = os.fstatvfs(place)
            free = {"disk": found.f_bfree, "inodes": found.f_ffree}
            self.seen.full.update(name for name, left in free.items() if not left)

    def _stop(self, why: Stopped) -> None:
        """Kills the jail, once; the first reason stands."""
        if self.seen.stopped is not Stopped.NOT:
            return
        now = time.monotonic()
        self.seen.stopped = why
        self._due_at = now + _GRACE_SECONDS
        if self.seen.started and self.seen.status is None:
            self.seen.wall_ms = int((now - self._begun) * 1000)
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        else:
            self._jail.process.kill()

    def _kill_hard(self) -> None:
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._jail.process.kill()
        if self._groups is not None:
            self._groups.kill()

    def _finish(self) -> None:
        """Whatever happened: nothing of the jail is alive and no descriptor but the work directory's is open after this."""
        if self.seen.nsjail_status is None:
            self._kill_hard()
            self.seen.nsjail_status = self._jail.process.wait()
        if self._groups is not None:
            self._groups.kill()
        self._look_at_disks()
        if self.seen.started and not self.seen.wall_ms:
            self.seen.wall_ms = int((time.monotonic() - self._begun) * 1000)
        self.seen.log = bytes(self._log)
        while self._places:
            os.close(self._places.pop())
        if self._first is not None:
            # the first process is not dead before every other one is: where nsjail was killed, that may take a moment
            death = select.poll()
            death.register(self._first, select.POLLIN)
            self.seen.unfinished |= not death.poll(_END_SECONDS * 1000)
            os.close(self._first)
            self._first = None
        self._jail.ends.close_all()
