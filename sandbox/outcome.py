"""Puts together what is told of one run: conclusions, redacted output, observations, and what could not be observed.

It must never leave out what could not be observed, and never hand out what the grant redacts.
"""

from dataclasses import dataclass, replace
from functools import cache

from ..policies.types import Grant
from ..redaction import Redactor
from .artefacts import Collected
from .audit import fold_denials
from .classify import Evidence, classify
from .commands import Burnt, count_commands, merge_commands
from .groups import Counters
from .names import CUT
from .observe import Observations
from .sources import Sources
from .spec import JailSpec
from .types import ObservedCommand, ObservedEgress, ObservedFile, Outcome, Output, Usage
from .watch import Stream, Watched

__all__ = ["Changed", "RunRecord", "cut_off_in", "make_outcome"]

_LOG_EXCERPT = 4000
_MOST_FILES = 500
_PROCESS_NAME = 15
"""Where the kernel cuts the name of a process."""
_NAMESPACE_LAYERS = {
    "user": "user_namespace",
    "ns": "mount_namespace",
    "pid": "pid_namespace",
    "net": "network_namespace",
    "ipc": "ipc_namespace",
    "uts": "uts_namespace",
    "cgroup": "cgroup_namespace",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """What changed in one writable mount."""

    files: list[ObservedFile]
    complete: bool
    """Whether nothing was left out for a cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run was made of and what was seen of it."""

    language: str
    nsjail_sha256: str
    nsjail_libraries_sha256: str
    own_uid: bool
    spec: JailSpec
    spec_sha256: str
    watched: Watched
    observations: Observations
    sources: Sources
    changed: list[Changed]
    counters: Counters
    grouped: bool
    collected: Collected
    searched: bool = True
    """Whether the granted trees were looked through for sockets of this machine."""
    live_was_cut: bool = False


def make_outcome(grant: Grant, run: RunRecord, redactor: Redactor | None) -> Outcome:
    """Everything that is known of the run, redacted if a redactor is given."""
    watched, observed = run.watched, run.observations
    commands = _all_commands(run)
    denials = run.sources.audit.counts if run.sources.audit is not None else {}
    ending = classify(
        Evidence(
            watched=watched,
            counters=run.counters,
            denials=denials,
            told=observed.limits,
            cpu_seconds=grant.limits.cpu_seconds,
            cpu_hard_seconds=run.spec.rlimits.cpu_seconds,
            grouped=run.grouped,
            processes_met=not run.grouped and _peak_tasks(run) >= grant.limits.processes,
            bad_calls=_saw_bad_calls(run.sources),
            burnt=run.sources.starts.burnt if run.sources.starts is not None else Burnt(),
            filter_cleared=run.sources.filter_is_cleared,
        )
    )
    return Outcome(
        outcome=ending.outcome,
        explanation=_redacted(ending.explanation, redactor),
        exit_code=ending.exit_code,
        signal=ending.signal,
        limits_hit=ending.limits_hit,
        usage=Usage(
            wall_ms=watched.wall_ms,
            cpu_ms=run.counters.cpu_ns // 1_000_000
            if run.counters.cpu_ns is not None
            else _milli(watched.whole_cpu_us or watched.program_cpu_us),
            peak_memory_bytes=run.counters.memory_peak,
            peak_processes=run.counters.process_peak if run.grouped else _peak_tasks(run) or None,
        ),
        stdout=_output(watched.stdout, redactor),
        stderr=_output(watched.stderr, redactor),
        artefacts=tuple(run.collected.artefacts),
        refused_artefacts=tuple(run.collected.refused),
        commands=_commands(commands, redactor),
        files=_files(run, redactor),
        egress=_egress(run, redactor),
        syscalls=tuple(
            replace(call, command=_redacted(call.command, redactor, cut_at=_PROCESS_NAME))
            for call in fold_denials(denials)
        ),
        unobserved=_unobserved(grant, run, ending.limits_told),
        layers=_layers_on(run),
        spec_sha256=run.spec_sha256,
        nsjail_sha256=run.nsjail_sha256,
        nsjail_libraries_sha256=run.nsjail_libraries_sha256,
        log_excerpt=_redacted(watched.log.decode("utf-8", "replace"), redactor)[-_LOG_EXCERPT:],
        observed_total=_totals(run, commands)
        | {"syscalls": sum(denials.values()), "refused_artefacts": run.collected.refused_total},
    )


def _peak_tasks(run: RunRecord) -> int:
    """Without a control group: what was counted now and then, and what the trace saw."""
    return max(run.watched.peak_tasks, run.sources.trace.peak if run.sources.trace is not None else 0)


def _saw_bad_calls(sources: Sources) -> bool:
    """Whether whoever follows the processes saw one end as the filter ends it, and nothing says that it was not the filter."""
    return sources.starts is not None and sources.starts.bad_calls > 0 and not sources.filter_is_cleared


def _layers_on(run: RunRecord) -> tuple[str, ...]:
    names = [_NAMESPACE_LAYERS[name] for name in run.spec.namespaces]
    names += ["proc", "rlimits", "no_capabilities"]
    if run.spec.seccomp:
        names.append("seccomp")
    if run.grouped:
        names += ["cgroup_memory", "cgroup_pids", "cgroup_cpu"]
    if run.own_uid:
        names.append("own_uid")
    if run.sources.audit is not None:
        names.append("kernel_audit")
    if run.sources.starts is not None:
        names.append("command_watch")
    if run.sources.files is not None:
        names.append("file_watch")
    return tuple(sorted(names))


def cut_off_in(watched: Watched) -> tuple[str, ...]:
    """Which streams had more than is kept of them."""
    streams = {"stdout": watched.stdout, "stderr": watched.stderr}
    return tuple(name for name, stream in streams.items() if stream.seen > len(stream.content))


def _redacted(text: str, redactor: Redactor | None, *, cut_at: int | None = None) -> str:
    if redactor is None or not text:
        return text
    if text.endswith(CUT):
        return redactor.redact_text(text.removesuffix(CUT), cut=True) + CUT
    return redactor.redact_text(text, cut=cut_at is not None and len(text) >= cut_at)


def _milli(micro: int | None) -> int | None:
    return micro // 1000 if micro is not None else None


def _output(stream: Stream, redactor: Redactor | None) -> Output:
    content = bytes(stream.content)
    truncated = stream.seen > len(content)
    redacted = redactor.redact(content, cut=truncated) if redactor is not None and content else None
    return Output(
        sha256=stream.digest.hexdigest(),
        seen=stream.seen,
        content=redacted.content if redacted is not None else content,
        truncated=truncated,
        redactions=redacted.count if redacted is not None else 0,
    )


def _unobserved(grant: Grant, run: RunRecord, limits_told: tuple[str, ...]) -> tuple[str, ...]:
    """What could not be seen, one sentence each."""
    if run.language == "python":
        said = [
            "files opened by native code or by other programs are not observed",
            "connections are known from the program's own interpreter only, which the program controls",
        ]
    else:
        said = [f"files and connections of programs in {run.language} are not observed"]
    if limits_told:
        said.append(
            f"whether the limit on {' and '.join(limits_told)} was met is known from the program's own interpreter only, "
            "which the program controls"
        )
    said += _unobserved_by_kernel(run)
    if run.observations.lost:
        said.append("some records of the program's interpreter were lost, unreadable or too many")
    if not run.grouped:
        said.append(
            "memory, processes and processor time of the whole run are not limited by the kernel: there is no control group"
        )
    said += _unobserved_in_mounts(grant, run)
    if run.collected.unsearched:
        said.append(
            f"{run.collected.unsearched} artefact(s) were not searched for secrets: they are no text in UTF-8 or UTF-16"
        )
    if run.live_was_cut:
        said.append("live output was cut: whoever listened was too slow or gone")
    if run.watched.unfinished:
        said.append("the end of a stream was not reached")
    return tuple(said)


def _unobserved_by_kernel(run: RunRecord) -> list[str]:
    said = []
    if run.sources.starts is None:
        said.append(
            "commands are known from the program's own interpreter only, which the program controls: "
            + run.sources.no_commands
        )
    else:
        if run.sources.starts.lost:
            said.append("some process events were lost: commands may be missing")
        if (listed := len(run.sources.starts.commands)) < run.sources.starts.total:
            said.append(f"of {run.sources.starts.total} starts of programs only the first {listed} are listed")
    if run.sources.audit is None:
        said.append(f"refused system calls are not observed: {run.sources.no_audit}")
    elif run.sources.audit.lost:
        said.append("some kernel audit records were lost")
    elif not run.sources.audit.complete:
        said.append("whether every refused system call was told is not known: the kernel may drop audit records")
    return said


def _unobserved_in_mounts(grant: Grant, run: RunRecord) -> list[str]:
    said = []
    if not run.searched:
        said.append(
            "whether a granted mount holds sockets of this machine is not known: there is more in it than is looked at"
        )
    if run.sources.files is None and grant.mounts:
        said.append(f"openings of files in granted mounts are not observed: {run.sources.no_files}")
    elif run.sources.files is not None and run.sources.files.lost:
        said.append("some openings of files in granted mounts were lost")
    if run.sources.files is not None and run.sources.files.unlisted:
        said.append(f"{run.sources.files.unlisted} openings of further files in granted mounts are counted, not listed")
    if not all(changed.complete for changed in run.changed):
        said.append("changes in writable mounts are known in part: there is more in them than is looked at")
    return said


def _totals(run: RunRecord, commands: tuple[ObservedCommand, ...]) -> dict[str, int]:
    totals = dict(run.observations.totals)
    if (seen := run.sources.starts) is not None:
        totals["commands"] = count_commands(seen, commands)
    opened = run.sources.files.total if run.sources.files is not None else 0
    if opened or run.changed:
        totals["files"] = totals.get("files", 0) + opened + sum(len(changed.files) for changed in run.changed)
    return totals


def _all_commands(run: RunRecord) -> tuple[ObservedCommand, ...]:
    told = run.observations.commands
    return merge_commands(run.sources.starts.commands, told) if run.sources.starts is not None else told


def _commands(commands: tuple[ObservedCommand, ...], redactor: Redactor | None) -> tuple[ObservedCommand, ...]:
    if redactor is None:
        return commands
    # thousands of starts are mostly of the same few programs
    clean = cache(lambda text: _redacted(text, redactor))
    return tuple(
        replace(
            command,
            path=clean(command.path),
            arguments=tuple(map(clean, command.arguments)) if command.arguments is not None else None,
        )
        for command in commands
    )


def _files(run: RunRecord, redactor: Redactor | None) -> tuple[ObservedFile, ...]:
    changed = [file for mount in run.changed for file in mount.files]
    opened = run.sources.files.files() if run.sources.files is not None else ()
    known = {file.path for file in opened}
    told = (file for file in run.observations.files if file.path not in known)
    files = (*changed[:_MOST_FILES], *opened, *told)
    return tuple(replace(file, path=_redacted(file.path, redactor)) for file in files)


def _egress(run: RunRecord, redactor: Redactor | None) -> tuple[ObservedEgress, ...]:
    egress = run.observations.egress
    return tuple(replace(e, host=_redacted(e.host, redactor)) for e in egress)
