"""Starts nsjail for one specification and hands back the descriptors to talk to it.

nsjail is started from a thread of its own. As root that thread first takes a private mount namespace and binds every source
below an empty file system there: the jail's uid can reach an interpreter, an environment or a mount that lies under a home
of mode 0700, submounts do not come along, and nothing has to be unmounted, because the namespace ends with its last process.
The thread also joins the run's control groups, so that nsjail is born in them; then it ends. An unprivileged runner needs
none of this: the jail's uid is its own.

It must never pass a descriptor that the jail does not need, and never an environment.
"""

import os
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import SandboxError
from .groups import Groups
from .kernel import bind, mount_tmpfs, own_mount_namespace
from .spec import Bind, JailSpec, staged_source

__all__ = ["Descriptors", "Jail", "launch"]

_STAGING_MODE = 0o1777
"""nsjail, already without privileges, makes its temporary root there."""
_STAGING_BYTES = 1024 * 1024


@dataclass(slots=True)
class Descriptors:
    """The runner's ends; each is closed once, by `close`."""

    stdout: int
    stderr: int
    log: int
    relay: int
    events: int
    control: int
    process: int
    """A pidfd of nsjail."""

    def close(self, name: str) -> None:
        """Closes one end, if it is still open."""
        descriptor = getattr(self, name)
        if descriptor >= 0:
            setattr(self, name, -1)
            os.close(descriptor)

    def close_all(self) -> None:
        """Closes what is still open."""
        for name in ("stdout", "stderr", "log", "relay", "events", "control", "process"):
            self.close(name)


@dataclass(slots=True)
class Jail:
    """A started nsjail."""

    process: "subprocess.Popen[bytes]"
    ends: Descriptors


@dataclass(slots=True)
class _Pipes:
    log: tuple[int, int]
    relay: tuple[int, int]
    events: tuple[int, int]
    control: tuple[int, int]
    stdout: tuple[int, int]
    stderr: tuple[int, int]

    def all(self) -> tuple[tuple[int, int], ...]:
        return (self.log, self.relay, self.events, self.control, self.stdout, self.stderr)


def launch(nsjail: Path, spec: JailSpec, text: str, *, outside_uid: int, groups: Groups | None) -> Jail:
    """Starts the jail; it waits for its job on the control descriptor.

    Args:
        nsjail: the binary.
        spec: what `text` was rendered from.
        text: the configuration that nsjail reads, and nothing else.
        outside_uid: who the jail is on this machine.
        groups: control groups that nsjail is born into.

    Raises:
        SandboxError: if it could not be started; nothing is left then.
    """
    pipes = _Pipes(*(os.pipe2(os.O_CLOEXEC) for _ in range(6)))
    started: list[subprocess.Popen[bytes]] = []
    failures: list[OSError] = []

    def start() -> None:
        try:
            if spec.staged:
                _stage(spec)
            if groups is not None:
                groups.join(threading.get_native_id())
            started.append(_start(nsjail, spec, text, outside_uid, pipes))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=start, name="custody-jail-launcher")
    thread.start()
    thread.join()
    inner = (pipes.log[1], pipes.relay[1], pipes.events[1], pipes.control[0], pipes.stdout[1], pipes.stderr[1])
    for descriptor in inner:
        os.close(descriptor)
    outer = [end for pair in pipes.all() for end in pair if end not in inner]
    if failures or not started:
        for descriptor in outer:
            os.close(descriptor)
        cause = failures[0] if failures else OSError("the launcher did not answer")
        raise SandboxError(f"the jail could not be started: {cause}", hint="see `custody doctor`") from cause
    for descriptor in outer:
        os.set_blocking(descriptor, False)
    process = started[0]
    ends = Descriptors(
        stdout=pipes.stdout[0],
        stderr=pipes.stderr[0],
        log=pipes.log[0],
        relay=pipes.relay[0],
        events=pipes.events[0],
        control=pipes.control[1],
        process=os.pidfd_open(process.pid),
    )
    return Jail(process, ends)


def _start(nsjail: Path, spec: JailSpec, text: str, outside_uid: int, pipes: _Pipes) -> "subprocess.Popen[bytes]":
    configuration = os.memfd_create("custody-jail", os.MFD_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            view = memoryview(text.encode())
            while view:
                view = view[os.write(configuration, view) :]
        # written without blocking, so that a program that floods its records loses records instead of waiting for us
        os.set_blocking(pipes.events[1], False)
        passed = (pipes.control[0], pipes.relay[1], pipes.events[1])
        inside = f"{spec.inside_uid}:{outside_uid}:1"
        users = ["-u", inside, "-g", inside] if "user" in spec.namespaces else ["-u", str(outside_uid), "-g", str(outside_uid)]
        command = [str(nsjail), "-L", str(pipes.log[1]), "-C", f"/proc/self/fd/{configuration}", *users]
        for descriptor in passed:
            command += ["--pass_fd", str(descriptor)]
        return subprocess.Popen(
            [*command, "--", *spec.command, *(str(descriptor) for descriptor in passed)],
            stdin=subprocess.DEVNULL,
            stdout=pipes.stdout[1],
            stderr=pipes.stderr[1],
            pass_fds=(*passed, pipes.log[1], configuration),
            env={},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(configuration)


def _stage(spec: JailSpec) -> None:
    own_mount_namespace()
    binds = [(index, mount) for index, mount in enumerate(spec.mounts) if isinstance(mount, Bind) and not mount.device]
    sources = [(index, mount, os.open(mount.source, os.O_PATH | os.O_CLOEXEC)) for index, mount in binds]
    try:
        mount_tmpfs(spec.staging, mode=_STAGING_MODE, size_bytes=_STAGING_BYTES)
        for index, mount, source in sources:
            target = staged_source(spec, index, mount)
            if os.path.isdir(f"/proc/self/fd/{source}"):
                target.mkdir(mode=0o755)
            else:
                target.touch(mode=0o644)
            bind(source, target)
    finally:
        for _, _, source in sources:
            os.close(source)
