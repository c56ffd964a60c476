"""One attack: its program, what it is run with, the layer that stops it, and the jail without that layer.

The header of a program names its layer, the record that it must leave, and where they differ from the usual what runs
beside or before it and how its success is told. This file is also used by the process of an unprivileged user.
"""

import hashlib
import marshal
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from custody.policies.types import Access, Grant, Limits, MountRequest
from custody.sandbox import JailSettings, Job, Live, Outcome, Sandbox
from custody.sandbox.artefacts import Caps, Collected
from custody.sandbox.runtime import FIRST
from custody.sandbox.spec import Bind, JailSpec, Proc, Tmpfs
from custody.sandbox.types import Artefact

LIMITS = Limits(
    wall_seconds=8,
    cpu_seconds=8,
    memory_mib=96,
    processes=16,
    output_kib=64,
    disk_mib=4,
    files=128,
    open_files=64,
    artefact_mib=1,
    artefacts=8,
)
ROOMY = replace(LIMITS, processes=400, output_kib=1024, artefact_mib=4, artefacts=100, memory_mib=512)


@dataclass(frozen=True)
class Bait:
    """What lies on the host for the attacks to reach."""

    folder: Path
    """Readable and writable for everybody; granted for reading."""
    secret: Path
    shared: Path
    environment: Path
    address: str
    port: int
    own_port: int
    """On the machine's own address."""
    datagrams: int
    name: str
    free_port: int
    host_name: str

    def arguments(self, attack: str) -> tuple[str, ...]:
        secret = (str(self.secret),)
        return {
            "host_temporary": secret,
            "links": secret,
            "swapped_folder": secret,
            "host_loopback": (str(self.port),),
            "direct_address": (self.address, str(self.own_port)),
            "names": (str(self.datagrams),),
            "host_name": (self.host_name,),
        }.get(attack, (self.name, str(self.free_port)))


@dataclass(frozen=True)
class Attack:
    """A program and its header."""

    path: Path
    layer: str
    record: str
    success: str = "word"
    beside: str = ""
    before: str = ""
    why: str = ""
    """Why nobody can have a record of it, where there is none."""

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"


def read_attack(path: Path) -> Attack:
    fields = dict(re.findall(r"^# (layer|record|success|beside|before|why): (.*)$", path.read_text(), re.MULTILINE))
    assert {"layer", "record"} <= fields.keys(), f"{path.name} has no header"
    return Attack(path, **fields)


@dataclass(frozen=True)
class Carried:
    """What came of an attack, and of what was run before it."""

    outcome: Outcome
    before: Outcome | None = None


def carry_out(
    attack: Attack,
    bait: Bait,
    settings: JailSettings,
    *,
    without: str = "",
    listen: Callable[[str, bytes], None] | None = None,
) -> Carried:
    """Runs the attack in a jail as it is, or without one layer; whoever listens hears it while it runs."""
    # what one attack leaves there must not be in the way of the next
    bait = replace(bait, shared=_fresh(bait.shared), environment=_fresh(bait.environment))
    sandbox = Sandbox(replace(settings, cgroups=False if without == "cgroup" else settings.cgroups))
    limits = ROOMY if without in {"processes", "output", "caps"} else LIMITS
    mounts = (MountRequest(path=str(bait.folder), access=Access.READ, target="bait"),)
    grant = Grant(decision="d", principal="attacker", profile="test", limits=limits, mounts=mounts, live_output=True)
    if without in CONTROLS:
        sandbox._alter = lambda spec: CONTROLS[without](spec, bait)

    def job(path: Path) -> Job:
        return Job(
            run=path.stem,
            code=path.read_bytes(),
            file_name=path.name,
            arguments=bait.arguments(path.stem),
            environment=bait.environment,
        )

    live = Live(write=listen) if listen is not None else None
    with _collected_naively() if without == "collector" else _as_it_is():
        before = sandbox.run(job(attack.path.with_name(attack.before)), grant) if attack.before else None
        beside = job(attack.path.with_name(attack.beside)) if attack.beside else None
        with _running(sandbox, beside, grant) if beside is not None else _as_it_is():
            return Carried(sandbox.run(job(attack.path), grant, live=live), before)


def _fresh(folder: Path) -> Path:
    made = folder / secrets.token_hex(8)
    made.mkdir()
    made.chmod(0o1777)
    return made


def succeeded(attack: Attack, outcome: Outcome) -> bool:
    """Whether the attacker got what he wanted."""
    match attack.success:
        case "word":
            return b"SUCCESS" in outcome.stdout.content
        case "exit":
            return outcome.exit_code == 0
        case "log":
            return "Couldn't launch" in outcome.log_excerpt
        case "content":
            return any(b"a secret of the host" in artefact.content for artefact in outcome.artefacts)
        case "name":
            return any(not artefact.name.isprintable() for artefact in outcome.artefacts)
        case "count":
            return len(outcome.artefacts) > LIMITS.artefacts
        case other:
            raise AssertionError(other)


@contextmanager
def _running(sandbox: Sandbox, job: Job, grant: Grant) -> Iterator[None]:
    """Another run at the same time, from when it says that it is ready."""
    ready, cancel = threading.Event(), threading.Event()

    def listen(stream: str, content: bytes) -> None:
        del stream
        if b"ready" in content:
            ready.set()

    ends: list[Outcome] = []
    other = threading.Thread(
        target=lambda: ends.append(sandbox.run(job, grant, cancel=cancel, live=Live(write=listen)))
    )
    other.start()
    try:
        assert ready.wait(10), "the other run did not get ready"
        yield
    finally:
        cancel.set()
        other.join()
    assert ends[0].outcome == "cancelled", ends[0].stderr.content


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _collected_naively() -> Iterator[None]:
    """Artefacts as a careless collector takes them: by name, through links."""

    def collect(directory: int, name: str, caps: Caps, redactor: object) -> Collected:
        del redactor, caps
        found = Collected()
        for path in Path(f"/proc/self/fd/{directory}/{name}").iterdir():
            if path.is_file():
                content = path.read_bytes()[:1000]
                shown = os.fsencode(path.name).decode("utf-8", "replace")
                found.artefacts.append(Artefact(name=shown, sha256="", bytes=len(content), content=content))
        return found

    with mock.patch("custody.sandbox.jail.collect", collect):
        yield


def _without(namespace: str) -> Callable[[JailSpec, Bait], JailSpec]:
    return lambda spec, _: replace(spec, namespaces=tuple(name for name in spec.namespaces if name != namespace))


def _without_processes_of_its_own(spec: JailSpec, bait: Bait) -> JailSpec:
    # the kernel mounts no /proc for processes that are not the jail's own
    mounts = tuple(mount for mount in spec.mounts if not isinstance(mount, Proc))
    return replace(_without("pid")(spec, bait), mounts=mounts)


def _with_first(old: str, new: str) -> Callable[[JailSpec, Bait], JailSpec]:
    """The trusted first process without one of its precautions."""

    def alter(spec: JailSpec, _: Bait) -> JailSpec:
        text = FIRST.read_text()
        assert text.count(old) == 1
        code = marshal.dumps(compile(text.replace(old, new), "first.py", "exec", optimize=2))
        size, sha256 = str(len(spec.first)), hashlib.sha256(spec.first).hexdigest()
        assert spec.command.count(sha256) == 1
        words = {size: str(len(code)), sha256: hashlib.sha256(code).hexdigest()}
        return replace(spec, first=code, command=tuple(words.get(word, word) for word in spec.command))

    return alter


def _with_host_mounts(spec: JailSpec, bait: Bait) -> JailSpec:
    # a namespace of mounts as careless jails have it: the host's /etc, devices and temporary files
    kept = tuple(m for m in spec.mounts if not m.target.startswith(("/etc", "/dev/n", "/dev/u", "/dev/z", "/dev/shm")))
    folder = bait.secret.parent
    hosts = (Bind(Path("/etc"), "/etc"), Bind(Path("/dev"), "/dev", device=True), Bind(folder, str(folder)))
    return replace(spec, mounts=(*kept, *hosts))


def _with_shared_folders(spec: JailSpec, bait: Bait) -> JailSpec:
    shared = {"/tmp", "/dev/shm"}
    mounts = tuple(
        Bind(bait.shared, mount.target, writable=True) if mount.target in shared else mount for mount in spec.mounts
    )
    return replace(spec, mounts=mounts)


def _with_writable_binds(spec: JailSpec, _: Bait) -> JailSpec:
    writable = {"/mnt/bait", "/environment"}
    mounts = tuple(
        replace(mount, writable=True) if isinstance(mount, Bind) and mount.target in writable else mount
        for mount in spec.mounts
    )
    return replace(spec, mounts=mounts)


def _with_full_proc(spec: JailSpec, _: Bait) -> JailSpec:
    return replace(spec, mounts=tuple(Proc(options="") if isinstance(m, Proc) else m for m in spec.mounts))


def _with_much_disk(spec: JailSpec, _: Bait) -> JailSpec:
    roomy = tuple(
        replace(m, size_bytes=64 * 1024 * 1024, inodes=8192) if isinstance(m, Tmpfs) and m.writable else m
        for m in spec.mounts
    )
    return replace(spec, mounts=roomy)


CONTROLS: dict[str, Callable[[JailSpec, Bait], JailSpec]] = {
    "seccomp": lambda spec, _: replace(spec, seccomp=""),
    "proc": _with_full_proc,
    "network_namespace": _without("net"),
    "uts_namespace": _without("uts"),
    "pid_namespace": _without_processes_of_its_own,
    "mounts": _with_host_mounts,
    "own_file_systems": _with_shared_folders,
    "read_only": _with_writable_binds,
    "read_only_root": lambda spec, _: replace(spec, root_writable=True),
    "disk": _with_much_disk,
    "rlimits": lambda spec, _: replace(spec, rlimits=replace(spec.rlimits, open_files=4096)),
    "pending_signals": lambda spec, _: replace(spec, rlimits=replace(spec.rlimits, pending_signals=None)),
    "cgroup": lambda spec, _: replace(spec, rlimits=replace(spec.rlimits, address_space_mib=None)),
    "environment": lambda spec, _: replace(spec, environment=(*spec.environment, ("CUSTODY_TEST_SECRET", "bait"))),
    "no_capabilities": lambda spec, _: replace(spec, keep_capabilities=True),
    "not_dumpable": _with_first("    set_dumpable(dumpable=False)\n", ""),
    "closed_descriptors": _with_first(
        "    for descriptor in (control, relay, wake, woken):\n        os.close(descriptor)\n", ""
    ),
    "reaping": _with_first(
        'os.write(relay, b"empty %d %d\\n" % (kill_all(), waited_for_us()))',
        'select.select([], [], [], 0.9); os.write(relay, b"empty 0 0\\n")',
    ),
    "log_pipe": lambda spec, _: replace(spec, log_inside=True),
}
"""Beside these are layers that are not in the specification: `processes`, `output` and `caps` of the grant, `collector`."""
ELSEWHERE = frozenset({"processes", "output", "caps", "collector"})
