"""Concludes from what was seen how a run ended.

Evidence, strongest first: what the runner itself did, the kernel's counters and audit records, the trusted first process,
nsjail's own log. It must never conclude anything from an exit code alone: a program can give itself every one of them.
"""

import os
import re
import signal
from dataclasses import dataclass, field
from typing import assert_never

from .audit import Denial
from .commands import Burnt
from .groups import Counters
from .types import OutcomeClass
from .watch import Stopped, Watched

__all__ = ["Ending", "Evidence", "classify"]

_TROUBLE = re.compile(r"^\[[WEF]\]\[[^\]]*\](?:\[\d+\])? (.*)$", re.MULTILINE)
_TICK_SECONDS = 0.02
"""The kernel counts what it holds against a limit in ticks of at most a hundredth of a second, and looks once in each."""
_EXCERPT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the conclusion may rest on."""

    watched: Watched
    counters: Counters
    denials: dict[Denial, int]
    told: frozenset[str]
    """Limits that the program's own interpreter said ended it; controlled by the program."""
    cpu_seconds: int
    """Where the kernel sends SIGXCPU to a process, which can take it."""
    cpu_hard_seconds: int
    """Where the kernel kills it."""
    grouped: bool
    """Whether control groups counted."""
    processes_met: bool = False
    """Whether, without them, as many processes and threads as are allowed were seen alive at once."""
    bad_calls: bool = False
    """Whether a process ended by SIGSYS, and nothing says that it was not the filter."""
    burnt: Burnt = field(default_factory=Burnt)
    """What is known of processes of any depth that had the signal of their limit of processor time."""
    filter_cleared: bool = False
    """Whether it is certain that the filter killed no process of which there is no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The conclusion."""

    outcome: OutcomeClass
    explanation: str
    exit_code: int | None = None
    signal: int | None = None
    limits_hit: tuple[str, ...] = ()
    limits_told: tuple[str, ...] = ()
    """Of these, what only the program's own interpreter said, which the program controls."""


def classify(evidence: Evidence) -> Ending:
    """How the run ended, in a class and a sentence."""
    outcome, explanation = _conclude(evidence)
    status = evidence.watched.status
    exited = status is not None and os.WIFEXITED(status)
    hit, told = _limits_seen(evidence, outcome), _limits_told(evidence)
    return Ending(
        outcome=outcome,
        explanation=explanation + _left(evidence.watched),
        exit_code=os.WEXITSTATUS(status) if status is not None and exited else None,
        signal=os.WTERMSIG(status) if status is not None and not exited else None,
        limits_hit=tuple(sorted(hit | told)),
        limits_told=tuple(sorted(told - hit)),
    )


def _conclude(evidence: Evidence) -> tuple[OutcomeClass, str]:
    watched = evidence.watched
    if (stopped := _stopped(evidence)) is not None:
        return stopped
    if not watched.started:
        return OutcomeClass.INFRASTRUCTURE_ERROR, _trouble(watched, "the jail did not start")
    if evidence.counters.oom_kills:
        return (
            OutcomeClass.KILLED_MEMORY,
            f"the kernel killed {evidence.counters.oom_kills} process(es) for memory in the run's control group",
        )
    if violation := _violation(evidence):
        return OutcomeClass.VIOLATED_POLICY, violation
    if watched.status is None:
        return OutcomeClass.INFRASTRUCTURE_ERROR, _trouble(watched, "the jail ended without saying how the program did")
    return _program(evidence, watched.status)


def _stopped(evidence: Evidence) -> tuple[OutcomeClass, str] | None:
    watched = evidence.watched
    match watched.stopped:
        case Stopped.NOT:
            return None
        case Stopped.CANCEL:
            return OutcomeClass.CANCELLED, "the run was cancelled and the jail killed"
        case Stopped.WALL:
            return OutcomeClass.TIMED_OUT, f"{watched.stopped}: the runner killed the jail after {watched.wall_ms} ms"
        case Stopped.OUTPUT:
            seen = watched.stdout.seen + watched.stderr.seen
            return OutcomeClass.KILLED_OUTPUT, f"{watched.stopped}: the runner killed the jail after {seen} bytes"
        case Stopped.CPU:
            return (
                OutcomeClass.KILLED_CPU,
                f"{watched.stopped}: the run's control group used more than {evidence.cpu_seconds} s",
            )
        case Stopped.START:
            return OutcomeClass.INFRASTRUCTURE_ERROR, _trouble(watched, str(watched.stopped))
        case _:
            assert_never(watched.stopped)


def _violation(evidence: Evidence) -> str:
    """What shows that the filter killed a process, of whatever depth; empty if nothing does."""
    if killing := sorted({denial.name for denial in evidence.denials if denial.killed}):
        return f"the system-call filter killed a process for: {', '.join(killing)}"
    return "a process of the run ended by SIGSYS, as the system-call filter ends one" if evidence.bad_calls else ""


def _program(evidence: Evidence, status: int) -> tuple[OutcomeClass, str]:
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        if code == 0:
            return OutcomeClass.SUCCEEDED, "the program ended by itself with exit code 0"
        return OutcomeClass.FAILED, f"the program ended by itself with exit code {code}"
    number = os.WTERMSIG(status)
    if number == signal.SIGSYS and not evidence.filter_cleared:
        # a program can send it to itself: that is taken for a violation too, rather than missing one whose record was lost
        return (
            OutcomeClass.VIOLATED_POLICY,
            "the program ended by SIGSYS, as the system-call filter ends one; no record of the kernel says for which call",
        )
    limits = {signal.SIGXCPU: evidence.cpu_seconds, signal.SIGKILL: evidence.cpu_hard_seconds}
    if number in limits and _counted(evidence) >= limits[signal.Signals(number)]:
        return (
            OutcomeClass.KILLED_CPU,
            f"the kernel ended the program by {_name(number)} after {(evidence.watched.counted_cpu_us or 0) / 1_000_000:.1f} s of processor time",
        )
    return OutcomeClass.FAILED, f"the program was ended by {_name(number)}, which neither the runner nor a limit sent"


def _counted(evidence: Evidence) -> float:
    """Seconds that the kernel held against the program's own limit, and a tick."""
    return (evidence.watched.counted_cpu_us or 0) / 1_000_000 + _TICK_SECONDS


def _left(watched: Watched) -> str:
    if not watched.left_behind:
        return ""
    return f"; {watched.left_behind} process(es) that it left behind were killed"


def _limits_seen(evidence: Evidence, outcome: OutcomeClass) -> set[str]:
    """By the runner itself or the kernel's counters."""
    hit = set(evidence.watched.full)
    if evidence.counters.oom_kills:
        hit.add("memory")
    if evidence.counters.process_refusals or evidence.processes_met:
        hit.add("processes")
    match evidence.watched.stopped:
        case Stopped.WALL:
            hit.add("wall")
        case Stopped.OUTPUT:
            hit.add("output")
        case _:
            pass
    if outcome is OutcomeClass.KILLED_CPU or _met_cpu(evidence):
        hit.add("cpu")
    return hit


def _limits_told(evidence: Evidence) -> frozenset[str]:
    told = evidence.told
    if "inodes" in evidence.watched.full:
        told -= {"disk"}  # the same error number for both
    # with control groups the counters know better than the program about these two
    return told - {"memory", "processes"} if evidence.grouped else told


def _met_cpu(evidence: Evidence) -> bool:
    """Whether the run, the program or a process of any depth met the limit of processor time.

    A process that ended by the limit's signal may be reaped before the kernel can be asked what it held against it. That it sent
    the signal to itself is then believed only of a run that used less than half of its limit.
    """
    whole, burnt = _processor_seconds(evidence), evidence.burnt
    if max(whole, _counted(evidence), burnt.seconds + _TICK_SECONDS) >= evidence.cpu_seconds:
        return True
    return burnt.unknown and 2 * whole >= evidence.cpu_seconds


def _processor_seconds(evidence: Evidence) -> float:
    """What the whole run used; without a control group what everything did that was waited for, each of which has the limit alone."""
    if evidence.counters.cpu_ns is not None:
        return evidence.counters.cpu_ns / 1_000_000_000
    return (evidence.watched.whole_cpu_us or evidence.watched.program_cpu_us or 0) / 1_000_000


def _trouble(watched: Watched, what: str) -> str:
    """The first things that nsjail complained about."""
    said = "; ".join(_TROUBLE.findall(watched.log.decode("utf-8", "replace"))[:3])
    if not said and not watched.ready:
        said = watched.stderr.content[-_EXCERPT:].decode("utf-8", "replace").strip().replace("\n", " ")
    status = watched.nsjail_status
    ended = f"nsjail ended by {_name(-status)}" if status is not None and status < 0 else f"nsjail ended with {status}"
    return f"{what}: {ended}" + (f": {said[:_EXCERPT]}" if said else "")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
