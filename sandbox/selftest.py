"""Says for each layer of this machine whether it is there, by running a jail and looking from inside.

It must never call a layer present that the jail did not show; a missing one comes with its cause and its cure.
"""

import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from ..errors import SandboxError
from ..policies.types import Access, Grant, Limits, MountRequest
from .cures import cure_of_no_jail, cure_of_rights, is_nsjail
from .types import JailSettings, Job, Layer, LayerState, Outcome, OutcomeClass

__all__ = ["PROBE_FILE", "layers_from_probe", "probe_grant", "probe_job"]


class _Seen(TypedDict):
    """What the probe prints; our own program in a jail that runs nothing else."""

    namespaces: dict[str, str]
    status: dict[str, str]
    proc: list[str]
    open_files: int
    uid_map: list[str]
    refused: int


_NAMESPACES = {
    "user_namespace": "user",
    "mount_namespace": "mnt",
    "pid_namespace": "pid",
    "network_namespace": "net",
    "ipc_namespace": "ipc",
    "uts_namespace": "uts",
    "cgroup_namespace": "cgroup",
}
PROBE_FILE = "probe"
_SECCOMP_FILTER = "2"
_ARCHITECTURE = "x86_64"
_OPEN_FILES = 64
_PROBE = b"""
import json, os, resource, socket, sys
def status():
    with open("/proc/self/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
def refused():
    try:
        socket.socket(40, socket.SOCK_STREAM).close()
    except OSError as error:
        return error.errno
    return 0
if os.path.isdir("/mnt/self-test"):
    open("/mnt/self-test/probe").close()
names = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", "pass"], {}), 0)
print(json.dumps({
    "namespaces": {name: os.readlink("/proc/self/ns/" + name) for name in names},
    "status": status(),
    "proc": sorted(os.listdir("/proc")),
    "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "uid_map": open("/proc/self/uid_map").read().split(),
    "refused": refused(),
}))
"""


def probe_job() -> Job:
    """The program of the self-test."""
    return Job(run="self-test", code=_PROBE, file_name="probe.py")


def probe_grant(folder: Path | None) -> Grant:
    """A grant of next to nothing, for the self-test alone; the folder is mounted if there is one."""
    limits = Limits(
        wall_seconds=20, cpu_seconds=10, memory_mib=256, processes=16, open_files=_OPEN_FILES, disk_mib=4, output_kib=64
    )
    mounts = (MountRequest(path=str(folder), access=Access.READ, target="self-test"),) if folder is not None else ()
    return Grant(decision="self-test", principal="custody", profile="self-test", limits=limits, mounts=mounts)


def layers_from_probe(
    probe: Callable[[], Outcome], *, root: bool, settings: JailSettings | None = None
) -> tuple[Layer, ...]:
    """Runs the probe and reads what it shows; the settings say what is switched off on purpose."""
    nsjail = settings.nsjail if settings is not None else None
    try:
        outcome = probe()
    except SandboxError as error:
        refused = isinstance(error.__cause__, PermissionError)
        own = cure_of_no_jail() if "custody doctor" in error.hint else error.hint  # this is what doctor says
        return _all_missing(str(error), (refused and cure_of_rights()) or own)
    seen: _Seen | None = None
    with suppress(ValueError):
        seen = json.loads(outcome.stdout.content)
    if outcome.outcome is not OutcomeClass.SUCCEEDED or seen is None:
        said = outcome.stderr.content.decode("utf-8", "replace").strip().splitlines()
        if nsjail is not None and not is_nsjail(nsjail):
            return _all_missing(
                f"`{nsjail}` is not nsjail", "name the binary of nsjail with `sandbox.nsjail`, or leave it out"
            )
        return _all_missing(": ".join([outcome.explanation, *said[-1:]]), cure_of_no_jail())
    return tuple(
        _switched_off(layer, settings) if settings is not None and layer.state is LayerState.MISSING else layer
        for layer in (*_inner(seen), *_outer(outcome, seen, root=root))
    )


def _switched_off(layer: Layer, settings: JailSettings) -> Layer:
    """The layer, with the setting as the cause if it is one."""
    if layer.name.startswith("cgroup_") and layer.name != "cgroup_namespace" and settings.cgroups is False:
        setting = "sandbox.cgroups"
    elif layer.name == "command_watch" and not settings.watch_commands:
        setting = "sandbox.watch_commands"
    else:
        return layer
    return replace(
        layer, cause=f"the setting `{setting}` switches it off", cure=f"set `{setting}` to true, or leave it out"
    )


def _inner(seen: _Seen) -> list[Layer]:
    status = seen["status"]
    layers = [
        _layer(
            name,
            seen["namespaces"].get(kind) not in {None, str(Path(f"/proc/self/ns/{kind}").readlink())},
            "the jail shares it with the host",
            "check the kernel's configuration of namespaces",
        )
        for name, kind in _NAMESPACES.items()
    ]
    filtered = status.get("Seccomp") == _SECCOMP_FILTER and seen["refused"] != 0
    if platform.machine() == _ARCHITECTURE:
        cause, cure = "the filter is not in force", "use a kernel with CONFIG_SECCOMP_FILTER"
    else:
        # numbers in the filters are this architecture's: elsewhere they would name other calls
        filtered, cause, cure = False, f"the filters are for {_ARCHITECTURE}", f"run on {_ARCHITECTURE}"
    layers.append(_layer("seccomp", filtered, cause, cure))
    only_own = not any(name.isdecimal() and int(name) > 2 for name in seen["proc"]) and "kallsyms" not in seen["proc"]  # noqa: PLR2004 - first process and program
    layers.append(
        _layer("proc", only_own, "/proc shows more than the jail's own processes", "use a kernel of 5.8 or later")
    )
    capabilities = status.get("CapEff", "").strip("0") + status.get("CapBnd", "").strip("0")
    layers.append(
        _layer(
            "no_capabilities",
            not capabilities and status.get("NoNewPrivs") == "1",
            "the program has capabilities",
            "report this",
        )
    )
    layers.append(_layer("rlimits", seen["open_files"] == _OPEN_FILES, "limits are not in force", "report this"))
    return layers


def _outer(outcome: Outcome, seen: _Seen, *, root: bool) -> list[Layer]:
    cause = "this process may not make control groups, or the kernel counted nothing in one"
    cure = "run as root, or let systemd delegate memory, pids and cpu; or accept per-process limits"
    usage = outcome.usage
    # version 2 was tested against recorded files alone: what the kernel counted for this very jail is the proof
    counted = {
        "cgroup_memory": usage.peak_memory_bytes,
        "cgroup_pids": usage.peak_processes,
        "cgroup_cpu": usage.cpu_ms,
    }
    layers = [_counted_layer(name, name in outcome.layers, count, cause, cure) for name, count in counted.items()]
    own = root and len(seen["uid_map"]) > 1 and seen["uid_map"][1] not in {"0", str(os.getuid())}
    layers.append(_layer("own_uid", own, "an unprivileged runner has one uid only", "run custody as root"))
    audited = any(call.name == "socket" for call in outcome.syscalls)
    layers.append(
        _layer(
            "kernel_audit",
            audited,
            "kernel audit records cannot be read here",
            "run with CAP_AUDIT_READ in the first network namespace",
        )
    )
    watch = next((said for said in outcome.unobserved if said.startswith("commands are known")), "no start was seen")
    watched = any(not command.program_controlled for command in outcome.commands)
    layers.append(
        _layer(
            "command_watch",
            watched,
            watch,
            "allow ptrace (kernel.yama.ptrace_scope below 3); or run as root, in the first namespaces, with CONFIG_PROC_EVENTS",
        )
    )
    opened = any(file.source == "fanotify" and file.path.endswith(f"/{PROBE_FILE}") for file in outcome.files)
    cause = next((said for said in outcome.unobserved if said.startswith("openings of files")), "")
    layers.append(
        _layer(
            "file_watch",
            opened,
            cause or "the runner may not watch file systems: it is not root"
            if not root
            else cause or "no opening was seen",
            "run as root (CAP_SYS_ADMIN), on a kernel with CONFIG_FANOTIFY; changes in writable mounts are told anyway",
        )
    )
    return layers


def _all_missing(cause: str, cure: str) -> tuple[Layer, ...]:
    names = (
        *_NAMESPACES, "seccomp", "proc", "no_capabilities", "rlimits", "cgroup_memory", "cgroup_pids", "cgroup_cpu", "own_uid",
        "kernel_audit", "command_watch", "file_watch",
    )  # fmt: skip
    return tuple(_layer(name, False, f"no jail can be run: {cause}", cure) for name in names)


def _counted_layer(name: str, present: bool, count: int | None, cause: str, cure: str) -> Layer:  # noqa: FBT001 - the answer to the layer's question
    if present and count is None:
        return Layer(
            name=name,
            state=LayerState.NOT_RUN_LIVE,
            cause="the limit is set, but this kernel keeps no count that proves it",
            cure=cure,
        )
    return _layer(name, present and bool(count), cause, cure)


def _layer(name: str, present: bool, cause: str, cure: str) -> Layer:  # noqa: FBT001 - the answer to the layer's question
    if present:
        return Layer(name=name, state=LayerState.PRESENT)
    return Layer(name=name, state=LayerState.MISSING, cause=cause, cure=cure)
