"""The face of the room: run one job under one grant, name the layers of this machine, sweep what dead runners left.

It must never start anything for a grant without a decision or with a layer missing that the grant demands.
"""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import LayerError
from ..policies.types import Grant
from ..redaction import Redactor
from .artefacts import Caps, Collected, collect
from .audit import AuditReader, fold_denials, open_audit
from .binary import Nsjail, find_nsjail
from .build import SECCOMP, build_payload, build_spec
from .check import check_job
from .classify import Ending, Evidence, classify
from .commands import CommandWatch, merge_commands, open_commands
from .groups import Counters, GroupError, Groups, find_parents
from .launch import launch
from .lease import Lease, acquire, sweep_leases
from .observe import Observations
from .runtime import Runtime, probe_python
from .selftest import layers_from_probe, probe_grant, probe_job
from .spec import JailSpec, digest, render
from .types import JailSettings, Job, Layer, LayerState, Outcome, Output, Usage
from .watch import Bounds, Stream, Watch, Watched

__all__ = ["Sandbox"]

_KIB = 1024
_MIB = 1024 * 1024
_LOG_EXCERPT = 4000
_NAMESPACE_LAYERS = {
    "user": "user_namespace",
    "ns": "mount_namespace",
    "pid": "pid_namespace",
    "net": "network_namespace",
    "ipc": "ipc_namespace",
    "uts": "uts_namespace",
    "cgroup": "cgroup_namespace",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What one run was made of and what was seen of it."""

    spec: JailSpec
    spec_sha256: str
    watched: Watched
    observations: Observations
    audit: AuditReader | None
    commands: CommandWatch | None
    counters: Counters
    grouped: bool
    collected: Collected


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
        return self._outcome(grant, self._run(job, grant, cancel, redacting), redacting)

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

    def _run(self, job: Job, grant: Grant, cancel: threading.Event | None, redactor: Redactor | None) -> _Run:
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
            jail = launch(nsjail.path, spec, text, outside_uid=lease.uid, groups=groups)
            watch = Watch(jail, _bounds(grant), payload, groups)
            watched = watch.run(lease, cancel=cancel, audit=audit, commands=commands)
            return _Run(
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
        parents = find_parents()
        cause = "no v1 controllers are mounted"
        if "memory" in parents and "pids" in parents:
            lease.record(groups=[str(parent / lease.name) for parent in parents.values()])
            try:
                return Groups.make(
                    lease.name, parents, memory_mib=grant.limits.memory_mib, processes=grant.limits.processes
                )
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
        return self._outcome(probe_grant(), self._run(probe_job(), probe_grant(), None, None), None)

    def _outcome(self, grant: Grant, run: _Run, redactor: Redactor | None) -> Outcome:
        watched, observed = run.watched, run.observations
        ending = self._ending(grant, run)
        denials = run.audit.counts if run.audit is not None else {}
        return Outcome(
            outcome=ending.outcome,
            explanation=ending.explanation,
            exit_code=ending.exit_code,
            signal=ending.signal,
            limits_hit=ending.limits_hit,
            usage=Usage(
                wall_ms=watched.wall_ms,
                cpu_ms=run.counters.cpu_ns // 1_000_000
                if run.counters.cpu_ns is not None
                else _milli(watched.program_cpu_us),
                peak_memory_bytes=run.counters.memory_peak,
                peak_processes=run.counters.process_peak,
            ),
            stdout=_output(watched.stdout, redactor),
            stderr=_output(watched.stderr, redactor),
            artefacts=tuple(run.collected.artefacts),
            refused_artefacts=tuple(run.collected.refused),
            commands=merge_commands(run.commands.commands, observed.commands)
            if run.commands is not None
            else observed.commands,
            files=observed.files,
            egress=observed.egress,
            syscalls=fold_denials(denials),
            unobserved=_unobserved(grant, run),
            layers=self._layers_on(run),
            spec_sha256=run.spec_sha256,
            nsjail_sha256=self.nsjail_sha256,
            log_excerpt=watched.log.decode("utf-8", "replace")[-_LOG_EXCERPT:],
            observed_total=_totals(run)
            | {"syscalls": sum(denials.values()), "refused_artefacts": run.collected.refused_total},
        )

    def _ending(self, grant: Grant, run: _Run) -> Ending:
        return classify(
            Evidence(
                watched=run.watched,
                counters=run.counters,
                denials=run.audit.counts if run.audit is not None else {},
                told=run.observations.limits,
                cpu_seconds=grant.limits.cpu_seconds,
                grouped=run.grouped,
            )
        )

    def _layers_on(self, run: _Run) -> tuple[str, ...]:
        names = [_NAMESPACE_LAYERS[name] for name in run.spec.namespaces]
        names += ["proc", "rlimits"]
        if run.spec.seccomp:
            names.append("seccomp")
        if run.grouped:
            names += ["cgroup_memory", "cgroup_pids", "cgroup_cpu"]
        if self._root:
            names.append("own_uid")
        if run.audit is not None:
            names.append("kernel_audit")
        if run.commands is not None:
            names.append("command_watch")
        return tuple(sorted(names))


def _unaltered(spec: JailSpec) -> JailSpec:
    return spec


def _totals(run: _Run) -> dict[str, int]:
    totals = dict(run.observations.totals)
    if run.commands is not None:
        merged = merge_commands(run.commands.commands, run.observations.commands)
        totals["commands"] = run.commands.total + len(merged) - len(run.commands.commands)
    return totals


def _bounds(grant: Grant) -> Bounds:
    limits = grant.limits
    return Bounds(
        wall_seconds=limits.wall_seconds, cpu_seconds=limits.cpu_seconds, output_bytes=limits.output_kib * _KIB
    )


def _milli(micro: int | None) -> int | None:
    return micro // 1000 if micro is not None else None


def _collect(watched: Watched, caps: Caps, redactor: Redactor | None) -> Collected:
    """Only after the watch has ended: every process of the jail is dead."""
    return collect(watched.output_directory, caps, redactor) if watched.output_directory >= 0 else Collected()


def _output(stream: Stream, redactor: Redactor | None) -> Output:
    content = bytes(stream.content)
    redacted = redactor.redact(content) if redactor is not None else None
    return Output(
        sha256=stream.digest.hexdigest(),
        seen=stream.seen,
        content=redacted.content if redacted is not None else content,
        truncated=stream.seen > len(content),
        redactions=redacted.count if redacted is not None else 0,
    )


def _unobserved(grant: Grant, run: _Run) -> tuple[str, ...]:
    """What could not be seen, one sentence each."""
    said = [
        "files opened by native code or by other programs are not observed",
        "connections are known from the program's own interpreter only, which the program controls",
    ]
    if run.commands is None:
        said.append("commands are known from the program's own interpreter only, which the program controls")
    elif run.commands.lost:
        said.append("some process events were lost: commands may be missing")
    if run.audit is None:
        said.append("refused system calls are not observed: the runner may not read kernel audit records")
    elif run.audit.lost:
        said.append("some kernel audit records were lost")
    if run.observations.lost:
        said.append("some records of the program's interpreter were lost, unreadable or too many")
    if not run.grouped:
        said.append("memory and processes of the whole run are not counted: there is no control group")
    if any(mount.access == "write" for mount in grant.mounts):
        said.append("what changed in writable mounts is not observed")
    if run.watched.unfinished:
        said.append("the end of a stream was not reached")
    return tuple(said)
