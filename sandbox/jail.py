"""The face of the room: run one job under one grant, name the layers of this machine, sweep what dead runners left.

It must never start anything for a grant without a decision or with a layer missing that the grant demands.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import LayerError
from ..policies.types import Grant
from ..redaction import Redactor
from .artefacts import Caps, Collected, collect
from .audit import AuditReader, open_audit
from .binary import Nsjail, find_nsjail
from .build import SECCOMP, build_payload, build_spec
from .check import check_job
from .commands import CommandWatch, open_commands
from .groups import Counters, GroupError, Groups, find_parents
from .launch import launch
from .lease import Lease, acquire, sweep_leases
from .outcome import RunRecord, make_outcome
from .runtime import Runtime, probe_python
from .selftest import layers_from_probe, probe_grant, probe_job
from .spec import JailSpec, digest, render
from .types import JailSettings, Job, Layer, LayerState, Outcome
from .unified import UnifiedGroup, find_delegated
from .watch import Bounds, Watch, Watched

__all__ = ["Sandbox"]

_KIB = 1024
_MIB = 1024 * 1024


class Sandbox:
    """Runs jobs in jails on this machine; safe to use from several threads."""

    def __init__(self, settings: JailSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._nsjail: Nsjail | None = None
        self._runtime: Runtime | None = None
        self._layers: tuple[Layer, ...] | None = None
        self._root = os.geteuid() == 0
        # the seam for tests that take one layer away to see an attack succeed; nothing else sets it
        self._alter: Callable[[JailSpec], JailSpec] = _unaltered

    @property
    def nsjail_sha256(self) -> str:
        """SHA-256 (hex) of the nsjail binary that runs."""
        return self._binary().sha256

    def layers(self) -> tuple[Layer, ...]:
        """Every layer with what a jail that was just run says of it; kept for the life of this object."""
        with self._lock:
            known = self._layers
        if known is None:
            known = layers_from_probe(self._probe, root=self._root)
            with self._lock:
                self._layers = known
        return known

    def run(
        self, job: Job, grant: Grant, *, cancel: threading.Event | None = None, redactor: Redactor | None = None
    ) -> Outcome:
        """Runs the job and waits for its end, which is never an exception.

        Args:
            job: the exact bytes to run.
            grant: what the jail may open; it must carry a decision.
            cancel: when set, the jail is killed and the outcome is `cancelled`.
            redactor: finds known secrets too; used if the grant redacts secrets.

        Raises:
            UsageError: if the job cannot be run by anybody.
            LayerError: if a layer that the grant demands is missing here.
            SandboxError: if the jail could not be made.
        """
        check_job(job, grant, SECCOMP)
        self._check_layers(grant)
        redacting = (redactor or Redactor()) if "secrets" in grant.redactions else None
        return make_outcome(grant, self._run(job, grant, cancel, redacting), redacting)

    def sweep(self) -> tuple[str, ...]:
        """Removes what dead runners of this state directory left, and says what that was."""
        return sweep_leases(self._settings.state)

    def _check_layers(self, grant: Grant) -> None:
        if not grant.layers:
            return
        by_name = {layer.name: layer for layer in self.layers()}
        for name in grant.layers:
            layer = by_name.get(name)
            if layer is None:
                raise LayerError(
                    f"the profile demands a layer that does not exist: `{name}`", hint="correct the profile"
                )
            if layer.state is not LayerState.PRESENT:
                raise LayerError(
                    f"the profile demands the layer `{name}`, which is {layer.state}: {layer.cause}", hint=layer.cure
                )

    def _run(self, job: Job, grant: Grant, cancel: threading.Event | None, redactor: Redactor | None) -> RunRecord:
        nsjail, runtime = self._binary(), self._interpreter()
        lease = acquire(self._settings.state, root=self._root)
        groups: Groups | None = None
        audit: AuditReader | None = None
        commands: CommandWatch | None = None
        watched: Watched | None = None
        try:
            groups = self._make_groups(lease, grant)
            spec = self._alter(
                build_spec(job, grant, runtime, nsjail.path, root=self._root, grouped=groups is not None)
            )
            text = render(spec)
            payload = build_payload(job, runtime, grant.limits)
            audit = open_audit(lease.uid) if self._root else None
            commands = open_commands() if self._root else None
            _check_still_there(grant, groups=groups is not None, audit=audit is not None, commands=commands is not None)
            jail = launch(nsjail.path, spec, text, outside_uid=lease.uid, groups=groups)
            watch = Watch(jail, _bounds(grant), payload, groups)
            watched = watch.run(lease, cancel=cancel, audit=audit, commands=commands)
            return RunRecord(
                language=job.language,
                nsjail_sha256=nsjail.sha256,
                own_uid=self._root,
                spec=spec,
                spec_sha256=digest(text),
                watched=watched,
                observations=watch.recorder.finish(),
                audit=audit,
                commands=commands,
                counters=groups.counters() if groups is not None else Counters(),
                grouped=groups is not None,
                collected=_collect(watched, Caps(grant.limits.artefacts, grant.limits.artefact_mib * _MIB), redactor),
            )
        finally:
            if watched is not None and watched.output_directory >= 0:
                os.close(watched.output_directory)
            for source in (audit, commands):
                if source is not None:
                    source.close()
            if groups is None or (groups.kill() and not groups.remove()):
                lease.release()
            else:
                os.close(lease.descriptor)  # its file still names the groups: the next sweep removes them

    def _make_groups(self, lease: Lease, grant: Grant) -> Groups | None:
        if self._settings.cgroups is False:
            return None
        memory, processes = grant.limits.memory_mib, grant.limits.processes
        parents, delegated = find_parents(), find_delegated()
        cause = "no controllers are mounted or delegated"
        try:
            if "memory" in parents and "pids" in parents:
                lease.record(groups=[str(parent / lease.name) for parent in parents.values()])
                return Groups.make(lease.name, parents, memory_mib=memory, processes=processes)
            if delegated is not None:
                lease.record(groups=[str(delegated / lease.name)])
                return UnifiedGroup.make_below(lease.name, delegated, memory_mib=memory, processes=processes)
        except GroupError as error:
            cause = str(error)
        if self._settings.cgroups:
            raise LayerError(f"control groups cannot be used: {cause}", hint="run as root, or set `cgroups` to none")
        return None

    def _binary(self) -> Nsjail:
        with self._lock:
            if self._nsjail is None or not self._nsjail.unchanged():
                self._nsjail = find_nsjail(self._settings.nsjail)
            return self._nsjail

    def _interpreter(self) -> Runtime:
        with self._lock:
            if self._runtime is None:
                self._runtime = probe_python(self._settings.python or Path(sys.executable))
            return self._runtime

    def _probe(self) -> Outcome:
        return make_outcome(probe_grant(), self._run(probe_job(), probe_grant(), None, None), None)


def _unaltered(spec: JailSpec) -> JailSpec:
    return spec


def _check_still_there(grant: Grant, *, groups: bool, audit: bool, commands: bool) -> None:
    """A layer that the self-test found may be gone by now: that is a refusal, too, never a silent downgrade."""
    there = {
        "cgroup_memory": groups,
        "cgroup_pids": groups,
        "cgroup_cpu": groups,
        "kernel_audit": audit,
        "command_watch": commands,
    }
    for name in grant.layers:
        if not there.get(name, True):
            raise LayerError(
                f"the profile demands the layer `{name}`, which could not be had for this run",
                hint="see `custody doctor`",
            )


def _bounds(grant: Grant) -> Bounds:
    limits = grant.limits
    return Bounds(
        wall_seconds=limits.wall_seconds, cpu_seconds=limits.cpu_seconds, output_bytes=limits.output_kib * _KIB
    )


def _collect(watched: Watched, caps: Caps, redactor: Redactor | None) -> Collected:
    """Only after the watch has ended: every process of the jail is dead."""
    return collect(watched.output_directory, caps, redactor) if watched.output_directory >= 0 else Collected()
