"""Starts nsjail for one specification and hands back the descriptors to talk to it.

nsjail is started from a thread of its own. As root that thread first takes a private mount namespace and binds every source
below an empty file system there: the jail's uid can reach an interpreter, an environment or a mount that lies under a home
of mode 0700, submounts do not come along, and nothing has to be unmounted, because the namespace ends with its last process.
The thread also joins the run's control groups, so that nsjail is born in them; then it ends. An unprivileged runner needs
none of this: the jail's uid is its own.

It must never pass a descriptor that the jail does not need, and never an environment.
"""

import os
import stat
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import SandboxError
from .groups import Groups
from .kernel import bind, bind_owned, mount_tmpfs, own_mount_namespace
from .spec import Bind, JailSpec, staged_source

__all__ = ["Descriptors", "Jail", "launch"]

_STAGING_MODE = 0o1777
"""nsjail, already without privileges, makes its temporary root there."""
_STAGING_BYTES = 1024 * 1024
_NAME_SERVICES = Path("/etc/nsswitch.conf")


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


class _Pipes:
    """Both ends of every pipe, until the inner ones are nsjail's alone."""

    def __init__(self) -> None:
        self.inner: dict[str, int] = {}
        self._outer: dict[str, int] = {}

    def add(self, name: str, *, inner: int, outer: int) -> None:
        self.inner[name] = inner
        self._outer[name] = outer

    def outer(self, process: int) -> Descriptors:
        ends = Descriptors(**self._outer, process=process)
        for descriptor in self._outer.values():
            os.set_blocking(descriptor, False)
        self._outer = {}
        return ends

    def close_inner(self) -> None:
        for descriptor in self.inner.values():
            os.close(descriptor)
        self.inner = {}

    def close(self) -> None:
        self.close_inner()
        for descriptor in self._outer.values():
            os.close(descriptor)
        self._outer = {}


def _make_pipes() -> _Pipes:
    pipes = _Pipes()
    try:
        for name in ("stdout", "stderr", "log", "relay", "events"):
            outer, inner = os.pipe2(os.O_CLOEXEC)
            pipes.add(name, inner=inner, outer=outer)
        inner, outer = os.pipe2(os.O_CLOEXEC)
        pipes.add("control", inner=inner, outer=outer)
    except OSError as error:
        pipes.close()
        raise SandboxError(f"no pipe can be made: {error.strerror}", hint="raise the limit of open files") from error
    # written without blocking, so that a program that floods its records loses records instead of waiting for us
    os.set_blocking(pipes.inner["events"], False)
    return pipes


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
    pipes = _make_pipes()
    started: list[subprocess.Popen[bytes]] = []
    failures: list[OSError | SandboxError] = []

    def start() -> None:
        try:
            if spec.staged:
                _stage(spec, outside_uid)
            else:
                _take_names(os.geteuid())
            if groups is not None:
                groups.join()
            started.append(_start(nsjail, spec, text, outside_uid, pipes))
        except (OSError, SandboxError) as error:
            failures.append(error)

    thread = threading.Thread(target=start, name="custody-jail-launcher")
    thread.start()
    try:
        thread.join()
        pipes.close_inner()
        _check_started(failures)
        return Jail(started[0], pipes.outer(os.pidfd_open(started[0].pid)))
    except BaseException:  # also an interrupt: nothing that was started stays
        thread.join()
        for process in started:
            process.kill()
            process.wait()
        pipes.close()
        raise


def _check_started(failures: list[OSError | SandboxError]) -> None:
    for failure in failures:
        if isinstance(failure, SandboxError):
            raise failure
        raise SandboxError(f"the jail could not be started: {failure}", hint="see `custody doctor`") from failure


def _start(nsjail: Path, spec: JailSpec, text: str, outside_uid: int, pipes: _Pipes) -> "subprocess.Popen[bytes]":
    configuration = os.memfd_create("custody-jail", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(configuration), "wb") as file:
            file.write(text.encode())
        inner = pipes.inner
        passed = (inner["control"], inner["relay"], inner["events"])
        shown = (inner["log"],) if spec.log_inside else ()
        inside = f"{spec.inside_uid}:{outside_uid}:1"
        users = (
            ["-u", inside, "-g", inside]
            if "user" in spec.namespaces
            else ["-u", str(outside_uid), "-g", str(outside_uid)]
        )
        command = [str(nsjail), "-L", str(inner["log"]), "-C", f"/proc/self/fd/{configuration}", *users]
        for descriptor in (*passed, *shown):
            command += ["--pass_fd", str(descriptor)]
        if spec.root_writable:
            command.append("--rw")
        return subprocess.Popen(
            [*command, "--", *spec.command, *(str(descriptor) for descriptor in passed)],
            stdin=subprocess.DEVNULL,
            stdout=inner["stdout"],
            stderr=inner["stderr"],
            pass_fds=(*passed, inner["log"], configuration),
            env={},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(configuration)


def _stage(spec: JailSpec, outside_uid: int) -> None:
    own_mount_namespace()
    binds = [(index, mount) for index, mount in enumerate(spec.mounts) if isinstance(mount, Bind) and not mount.device]
    sources: list[tuple[int, Bind, int]] = []
    try:
        for index, mount in binds:
            sources.append((index, mount, os.open(mount.source, os.O_PATH | os.O_CLOEXEC)))
            _check_same(mount, sources[-1][-1])
        _hide_name_service()
        mount_tmpfs(spec.staging, mode=_STAGING_MODE, size_bytes=_STAGING_BYTES)
        for index, mount, source in sources:
            target = staged_source(spec, index, mount)
            found = os.fstat(source)
            if stat.S_ISDIR(found.st_mode):
                os.mkdir(target, 0o755)  # noqa: PTH102 - in the middle of every run
            else:
                os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            if mount.owned and found.st_uid != 0:
                _bind_owned(source, target, found, outside_uid)
            else:
                bind(source, target)
    finally:
        for _, _, source in sources:
            os.close(source)


def _hide_name_service() -> None:
    """Nsjail looks up the numbers of its users as names first: from the plain files alone, asking nobody over a network.

    Without it the machine's own choice of services is loaded at every start, and one that does not answer holds up every run.
    """
    if _NAME_SERVICES.exists():
        empty = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
        try:
            bind(empty, _NAME_SERVICES)
        finally:
            os.close(empty)


def _check_same(mount: Bind, source: int) -> None:
    """Its owner may have put a link in the way since it was judged, and root would follow that anywhere."""
    if mount.judged and os.readlink(f"/proc/self/fd/{source}") != str(mount.source):  # noqa: PTH115 - a descriptor's own name
        shown = str(mount.source).encode("unicode_escape").decode("ascii")[:200]
        raise SandboxError(
            f"the mount `{shown}` leads elsewhere than when it was judged", hint="find out who changed it"
        )


def _bind_owned(source: int, target: Path, found: os.stat_result, outside_uid: int) -> None:
    """What a user other than root granted for writing can be written; files made there are that user's."""
    try:
        bind_owned(source, target, owner=found.st_uid, group=found.st_gid, shown=outside_uid)
    except OSError:  # not every file system can: then its own permissions decide, for a stranger
        bind(source, target)


def _take_names(uid: int) -> None:
    """Takes the two fixed names below /tmp that nsjail uses without privileges, before another user of the machine does.

    It mounts over them in a namespace of its own, so what lies there is never read; a stranger's would only stop every run.
    """
    if uid == 0 or Path(f"/run/user/{uid}").is_dir():
        return  # nsjail prefers that place, where nobody else can write
    for name in ("root", "tmp"):
        place = Path("/tmp") / f"nsjail.{uid}.{name}"  # noqa: S108 - nsjail's own choice
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise SandboxError(
                f"another user of this machine has taken `{place}`, which nsjail needs", hint="have it removed by root"
            )
