"""The class of an end follows from evidence, strongest first, never from an exit code alone."""

import signal
from dataclasses import replace

import pytest

from custody.sandbox import OutcomeClass
from custody.sandbox.audit import Denial
from custody.sandbox.classify import Evidence, classify
from custody.sandbox.commands import Burnt
from custody.sandbox.groups import Counters
from custody.sandbox.watch import Stopped, Watched

KILL = {Denial(101, "ptrace", True, "p"): 1}
REFUSAL = {Denial(41, "socket", False, "p"): 1}


def evidence(
    status: int | None = 0,
    stopped: Stopped = Stopped.NOT,
    started: bool = True,  # noqa: FBT001, FBT002 - one column of a table
    oom: int = 0,
    denials: dict[Denial, int] | None = None,
    cpu: float = 0.0,
    nsjail: int = 0,
    log: bytes = b"",
) -> Evidence:
    watched = Watched(
        ready=started,
        started=started,
        status=status,
        stopped=stopped,
        program_cpu_us=int(cpu * 1e6),
        counted_cpu_us=int(cpu * 1e6),
        nsjail_status=nsjail,
        log=log,
    )
    return Evidence(
        watched=watched,
        counters=Counters(oom_kills=oom),
        denials=denials or {},
        told=frozenset(),
        cpu_seconds=10,
        cpu_hard_seconds=11,
        grouped=True,
    )


def _counted(given: Evidence, seconds: float) -> Evidence:
    return replace(given, watched=replace(given.watched, counted_cpu_us=int(seconds * 1e6)))


TABLE = {
    "ended well": (evidence(), OutcomeClass.SUCCEEDED),
    "exit code 137 is only an exit code": (evidence(137 << 8, nsjail=137), OutcomeClass.FAILED),
    "exit code 255 is only an exit code": (evidence(255 << 8, nsjail=255), OutcomeClass.FAILED),
    "exit code 159 is only an exit code": (evidence(159 << 8), OutcomeClass.FAILED),
    "a signal of its own": (evidence(signal.SIGKILL), OutcomeClass.FAILED),
    "a kill where the kernel kills for processor time": (evidence(signal.SIGKILL, cpu=11.0), OutcomeClass.KILLED_CPU),
    "a kill before that": (evidence(signal.SIGKILL, cpu=10.5), OutcomeClass.FAILED),
    "SIGXCPU sent to itself": (evidence(signal.SIGXCPU, cpu=0.1), OutcomeClass.FAILED),
    "SIGXCPU sent to itself near the limit": (evidence(signal.SIGXCPU, cpu=9.9), OutcomeClass.FAILED),
    "SIGXCPU at the limit": (evidence(signal.SIGXCPU, cpu=10.0), OutcomeClass.KILLED_CPU),
    "SIGXCPU a tick before the limit": (evidence(signal.SIGXCPU, cpu=9.99), OutcomeClass.KILLED_CPU),
    "SIGXCPU by the kernel's count of ticks, though less time was used": (
        _counted(evidence(signal.SIGXCPU, cpu=7.0), 10.0),
        OutcomeClass.KILLED_CPU,
    ),
    "SIGSYS": (evidence(signal.SIGSYS), OutcomeClass.VIOLATED_POLICY),
    "SIGSYS that the filter did not send": (
        replace(evidence(signal.SIGSYS), filter_cleared=True),
        OutcomeClass.FAILED,
    ),
    "an audit record of a kill, though it ended well": (evidence(0, denials=KILL), OutcomeClass.VIOLATED_POLICY),
    "an end by SIGSYS that no audit record tells of": (
        replace(evidence(), bad_calls=True),
        OutcomeClass.VIOLATED_POLICY,
    ),
    "a refusal alone": (evidence(0, denials=REFUSAL), OutcomeClass.SUCCEEDED),
    "out of memory, though it ended well": (evidence(0, oom=1), OutcomeClass.KILLED_MEMORY),
    "out of memory took the first process": (evidence(None, oom=1), OutcomeClass.KILLED_MEMORY),
    "wall clock": (evidence(None, Stopped.WALL), OutcomeClass.TIMED_OUT),
    "cancelled, whatever else": (evidence(None, Stopped.CANCEL, oom=1, denials=KILL), OutcomeClass.CANCELLED),
    "output": (evidence(None, Stopped.OUTPUT), OutcomeClass.KILLED_OUTPUT),
    "never started": (evidence(None, started=False, nsjail=255), OutcomeClass.INFRASTRUCTURE_ERROR),
    "ended without a word": (evidence(None, nsjail=-9), OutcomeClass.INFRASTRUCTURE_ERROR),
    "did not get ready": (evidence(None, Stopped.START, started=False), OutcomeClass.INFRASTRUCTURE_ERROR),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_class_follows_from_the_evidence(name: str) -> None:
    given, expected = TABLE[name]
    ending = classify(given)
    assert ending.outcome is expected
    assert ending.explanation


def test_nsjails_first_complaints_are_in_the_explanation() -> None:
    log = b"[I][2026-11-23T08:51:50+0000] Mode: ONCE\n[W][2026-11-23T08:51:50+0000][1] f():1 Could not compile\n[F][2026-11-23T08:51:50+0000][1] main():2 bad\n"
    assert classify(evidence(None, started=False, nsjail=255, log=log)).explanation.endswith(
        "nsjail ended with 255: f():1 Could not compile; main():2 bad"
    )


def test_a_run_that_used_more_processor_time_than_its_limit_says_so_though_it_ended_well() -> None:
    """Without a control group each process has the limit alone, and children that it ended leave the program as it is."""
    over = replace(evidence(cpu=10.1), grouped=False)
    assert (classify(over).outcome, classify(over).limits_hit) == (OutcomeClass.SUCCEEDED, ("cpu",))
    assert classify(evidence(cpu=9.9)).limits_hit == ()
    counted = replace(evidence(cpu=1.0), counters=Counters(cpu_ns=10_100_000_000))
    assert classify(counted).limits_hit == ("cpu",)


def test_a_program_that_took_the_limits_signal_and_ended_well_has_met_it() -> None:
    ending = classify(_counted(evidence(0, cpu=9.0), 10.0))
    assert (ending.outcome, ending.limits_hit) == (OutcomeClass.SUCCEEDED, ("cpu",))


def test_a_limit_that_only_the_program_told_is_marked_so() -> None:
    given = replace(evidence(1 << 8), told=frozenset({"disk", "memory", "processes"}))
    assert (classify(given).limits_hit, classify(given).limits_told) == (("disk",), ("disk",))
    alone = replace(given, grouped=False)
    assert classify(alone).limits_told == ("disk", "memory", "processes")
    alone.watched.full.add("disk")
    assert classify(alone).limits_told == ("memory", "processes")
    alone.watched.full.add("inodes")
    assert classify(alone).limits_hit == ("disk", "inodes", "memory", "processes")


@pytest.mark.parametrize(
    ("burnt", "whole", "met"),
    [
        (Burnt(seconds=9.99), 4.0, True),
        (Burnt(seconds=9.5), 9.5, False),
        (Burnt(unknown=True), 9.5, True),
        (Burnt(unknown=True), 4.9, False),
    ],
    ids=["asked in time", "sent to itself", "believed", "sent early"],
)
def test_the_limits_signal_to_a_process_below_the_program_is_the_limit_met(
    burnt: Burnt, whole: float, *, met: bool
) -> None:
    ending = classify(replace(_counted(evidence(cpu=whole), 0), burnt=burnt))
    assert (ending.outcome, ending.limits_hit) == ("succeeded", ("cpu",) if met else ())
