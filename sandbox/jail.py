"""The face of the room: run one job under one grant, name the layers of this machine, sweep what dead runners left.

It must never start anything for a grant without a decision or with a layer missing that the grant demands.
"""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import LayerError, SandboxError
from ..policies.types import Access, Grant, MountRequest
from ..redaction import Redactor
from .artefacts import Caps, Collected, collect
from .binary import Nsjail, find_nsjail
from .build import build_payload, build_spec
from .check import check_job
from .doors import find_doors
from .filters import SECCOMP
from .groups import Counters, GroupError, Groups, find_parents
from .launch import launch
from .lease import Lease, acquire, sweep_leases
from .live import LiveRelay
from .manifest import Manifest, changes, take_manifest
from .outcome import Changed, RunRecord, cut_off_in, make_outcome
from .runtime import Runtime, known_languages, probe_python
from .selftest import PROBE_FILE, layers_from_probe, probe_grant, probe_job
from .sources import Sources, open_sources
from .spec import JailSpec, digest, render
from .types import JailSettings, Job, Layer, LayerState, Live, Outcome
from .unified import UnifiedGroup, find_delegated
from .watch import Bounds, Watch, Watched

__all__ = ["Sandbox"]

_KIB = 1024
_MIB = 1024 * 1024


class Sandbox:
    """Runs jobs in jails on this machine; safe to use from several threads."""

    def __init__(self, settings: JailSettings) -> None:
        self._settings = settings
        self._languages = known_languages(settings.languages)
        self._lock = threading.Lock()
        self._nsjail: Nsjail | None = None
        self._runtime: Runtime | None = None
        self._layers: tuple[Layer, ...] | None = None
        self._root = os.geteuid() == 0
        # the seam for tests that take one layer away to see an attack succeed; nothing else sets it
        self._alter: Callable[[JailSpec], JailSpec] = _unaltered
        # and for those that want root to trace, too
        self._process_events = True

    @property
    def nsjail_sha256(self) -> str:
        """SHA-256 (hex) of the nsjail binary that runs."""
        return self._binary().sha256

    def layers(self) -> tuple[Layer, ...]:
        """Every layer with what a jail that was just run says of it; kept for the life of this object."""
        with self._lock:
            known = self._layers
        if known is None:
            known = layers_from_probe(self._probe, root=self._root, settings=self._settings)
            with self._lock:
                self._layers = known
        return known

    @property
    def languages(self) -> tuple[str, ...]:
        """Names of the languages whose interpreter is here."""
        return tuple(name for name, known in self._languages.items() if known.binary is None or known.binary.exists())

    def run(
        self,
        job: Job,
        grant: Grant,
        *,
        cancel: threading.Event | None = None,
        redactor: Redactor | None = None,
        live: Live | None = None,
    ) -> Outcome:
        """Runs the job and waits for its end, which is never an exception.

        Args:
            job: the exact bytes to run.
            grant: what the jail may open; it must carry a decision.
            cancel: when set, the jail is killed and the outcome is `cancelled`.
            redactor: finds known secrets too; used if the grant redacts secrets.
            live: hears the output while the program runs, if the grant allows live output; else it hears nothing.

        Raises:
            UsageError: if the job cannot be run by anybody.
            LayerError: if a layer that the grant demands is missing here.
            SandboxError: if the jail could not be made.
        """
        check_job(job, grant, SECCOMP, self._languages)
        self._check_layers(grant)
        redacting = (redactor or Redactor()) if "secrets" in grant.redactions else None
        relay = LiveRelay(live, redacting) if live is not None and grant.live_output else None
        cut_off: tuple[str, ...] = ("stdout", "stderr")
        try:
            record = self._run(job, grant, cancel, redacting, relay)
            cut_off = cut_off_in(record.watched)
        finally:
            if relay is not None:
                relay.finish(cut_off)
        if relay is not None:
            record = replace(record, live_was_cut=relay.cut)
        return make_outcome(grant, record, redacting)

    @property
    def python_version(self) -> str:
        """Version of the interpreter that runs Python programs in the jail."""
        return ".".join(str(part) for part in self._interpreter().version)

    def check(self, job: Job, grant: Grant) -> None:
        """Refuses a job that no jail could run under this grant, before anything is claimed or started.

        Raises:
            UsageError: if the job cannot be run by anybody.
            SandboxError: if it cannot be run under this grant or on this machine.
        """
        check_job(job, grant, SECCOMP, self._languages)

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

    def _run(
        self,
        job: Job,
        grant: Grant,
        cancel: threading.Event | None,
        redactor: Redactor | None,
        relay: LiveRelay | None = None,
    ) -> RunRecord:
        nsjail, runtime, language = self._binary(), self._interpreter(), self._languages[job.language]
        searched = min((_has_no_door(Path(mount.path)) for mount in grant.mounts), default=True)
        before = {m.target: take_manifest(Path(m.path)) for m in grant.mounts if m.access is Access.WRITE}
        lease = acquire(self._settings.state, root=self._root)
        groups: Groups | None = None
        sources = Sources()
        watched: Watched | None = None
        try:
            groups = self._make_groups(lease, grant)
            spec = self._alter(
                build_spec(job, grant, runtime, language, nsjail.path, root=self._root, grouped=groups is not None)
            )
            text = render(spec)
            payload = build_payload(job, runtime, language)
            sources = self._open_sources(lease, grant)
            for target, listed in before.items():
                sources.know(target, listed)
            _check_still_there(grant, groups=groups is not None, sources=sources)
            jail = launch(nsjail.path, spec, text, outside_uid=lease.uid, groups=groups)
            targets = tuple(mount.target for mount in grant.mounts)
            watch = Watch(
                jail, _bounds(grant, spec, grouped=groups is not None), spec.first, payload, groups, targets=targets
            )
            watched = watch.run(lease, cancel=cancel, sources=sources, relay=relay, demands=grant.layers)
            _check_still_there(grant, groups=groups is not None, sources=sources)  # a trace is had, or not, by now
            return RunRecord(
                language=job.language,
                nsjail_sha256=nsjail.sha256,
                nsjail_libraries_sha256=nsjail.libraries_sha256,
                own_uid=self._root,
                spec=spec,
                spec_sha256=digest(text),
                watched=watched,
                observations=watch.recorder.finish(),
                sources=sources,
                changed=[
                    _compare(mount, before[mount.target], redactor) for mount in grant.mounts if mount.target in before
                ],
                counters=groups.counters() if groups is not None else Counters(),
                grouped=groups is not None,
                searched=searched,
                collected=_collect(watched, Caps(grant.limits.artefacts, grant.limits.artefact_mib * _MIB), redactor),
            )
        finally:
            if watched is not None and watched.work_directory >= 0:
                os.close(watched.work_directory)
            sources.close()
            _let_go(lease, groups)

    def _open_sources(self, lease: Lease, grant: Grant) -> Sources:
        return open_sources(
            lease.uid,
            [Path(mount.path) for mount in grant.mounts],
            root=self._root,
            commands=self._settings.watch_commands,
            process_events=self._process_events,
        )

    def _make_groups(self, lease: Lease, grant: Grant) -> Groups | None:
        if self._settings.cgroups is False:
            return None
        memory, processes = grant.limits.memory_mib, grant.limits.processes
        parents = find_parents()
        cause = "no controllers are mounted or delegated"
        try:
            if "memory" in parents and "pids" in parents:
                lease.record(groups=[str(parent / lease.name) for parent in parents.values()])
                return Groups.make(lease.name, parents, memory_mib=memory, processes=processes)
            if (delegated := find_delegated()) is not None:
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
        folder = None
        if self._root:  # something to be opened, so that the watch on files can show what it sees
            folder = self._settings.state / "self-test"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / PROBE_FILE).write_bytes(b"")
            (folder / PROBE_FILE).chmod(0o644)
            folder.chmod(0o755)
        grant = probe_grant(folder)
        return make_outcome(grant, self._run(probe_job(), grant, None, None), None)


def _let_go(lease: Lease, groups: Groups | None) -> None:
    """Ends a lease whose groups are empty and gone; one whose groups could not be removed is left to the next sweep."""
    if groups is None or (groups.kill() and not groups.remove()):
        lease.release()
    else:
        lease.abandon()


def _unaltered(spec: JailSpec) -> JailSpec:
    return spec


def _check_still_there(grant: Grant, *, groups: bool, sources: Sources) -> None:
    """A layer that the self-test found may be gone by now: that is a refusal, too, never a silent downgrade."""
    there = {
        "cgroup_memory": groups,
        "cgroup_pids": groups,
        "cgroup_cpu": groups,
        "kernel_audit": sources.audit is not None,
        "command_watch": sources.starts is not None,
        "file_watch": sources.files is not None or not grant.mounts,
    }
    for name in grant.layers:
        if not there.get(name, True):
            raise LayerError(
                f"the profile demands the layer `{name}`, which could not be had for this run",
                hint="see `custody doctor`",
            )


def _has_no_door(place: Path) -> bool:
    """Whether the whole tree is free of sockets of this machine; one that has some is not granted."""
    doors = find_doors(place)
    if doors.first is not None:
        shown = str(doors.first).encode("unicode_escape").decode("ascii")[:200]
        raise SandboxError(
            f"the mount `{place}` holds a socket of this machine, through which its service can be reached: `{shown}`",
            hint="grant a directory without it, or remove it if nobody listens there",
        )
    return doors.complete


def _compare(mount: MountRequest, before: Manifest, redactor: Redactor | None) -> Changed:
    """Only after the watch has ended: every process of the jail is dead."""
    after = take_manifest(Path(mount.path), before)
    return Changed(changes(mount.target, before, after, redactor), complete=before.complete and after.complete)


def _bounds(grant: Grant, spec: JailSpec, *, grouped: bool) -> Bounds:
    limits = grant.limits
    return Bounds(
        wall_seconds=limits.wall_seconds,
        cpu_seconds=limits.cpu_seconds,
        output_bytes=limits.output_kib * _KIB,
        pending_signals=spec.rlimits.pending_signals,
        core_bytes=spec.rlimits.core_bytes,
        tasks=None if grouped else limits.processes,
    )


def _collect(watched: Watched, caps: Caps, redactor: Redactor | None) -> Collected:
    """Only after the watch has ended: every process of the jail is dead."""
    return collect(watched.work_directory, "out", caps, redactor) if watched.work_directory >= 0 else Collected()
