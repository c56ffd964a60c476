"""However hostile the last moments are: what is told of the end is true, and nothing is alive when it is told."""

import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Live, OutcomeClass, Sandbox
from custody.sandbox.kernel import process_children
from custody.sandbox.trace import CommandTrace

pytestmark = pytest.mark.jail

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]

MANY_LEFT = """
import os, signal
for _ in range(500):
    if os.fork() == 0:
        while True: signal.pause()
print("left")
"""
RUNNING_AWAY = """
import os, signal
for number in range(1, 30):
    if number not in (9, 17, 19):
        signal.signal(number, signal.SIG_IGN)
def fork():
    while True:
        try: return os.fork()
        except BlockingIOError: pass  # those that ended and are not reaped yet count against the limit
for _ in range(5):
    if fork() == 0:
        os.setsid()
        while True:  # always another process, whose parent is gone
            if fork(): os._exit(0)
print("left")
"""
SLOW_TO_DIE = """
import os, signal
held = bytearray(os.urandom(4096) * 2000)
for _ in range(20):
    if os.fork() == 0:
        held[::4096] = b"x" * len(held[::4096])  # pages of its own, to be given back
        while True: signal.pause()
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
def test_hundreds_of_processes_that_are_left_are_killed_and_counted(
    *, process_events: bool, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = process_events
    outcome = sandbox.run(job_of(MANY_LEFT), grant_of(processes=600, memory_mib=1000, wall_seconds=60))
    assert (outcome.outcome, outcome.stdout.content) == (OutcomeClass.SUCCEEDED, b"left\n"), outcome.explanation
    assert outcome.explanation.endswith("; 500 process(es) that it left behind were killed")


@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
def test_processes_that_run_away_from_their_parents_do_not_escape(
    *, process_events: bool, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = process_events
    outcome = sandbox.run(job_of(RUNNING_AWAY), grant_of(wall_seconds=60, cpu_seconds=60))
    assert (outcome.outcome, outcome.exit_code) == (OutcomeClass.SUCCEEDED, 0), outcome.explanation
    assert outcome.explanation.endswith("process(es) that it left behind were killed")


def test_nothing_is_alive_when_a_run_ends_whose_nsjail_was_killed(
    tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    """Without control groups only the death of the first process says that all others are dead."""
    first: list[int] = []
    heard = threading.Event()

    def kill_nsjail(_: str, content: bytes) -> None:
        if b"ready" in content and not heard.is_set():
            heard.set()
            [nsjail] = [child for child in process_children(os.getpid()) if _name_of(child) == "nsjail"]
            first.append(os.pidfd_open(process_children(nsjail)[0]))
            os.kill(nsjail, signal.SIGKILL)

    sandbox = Sandbox(JailSettings(state=tmp_path, cgroups=False))
    grant = replace(grant_of(memory_mib=256, wall_seconds=60), live_output=True)
    outcome = sandbox.run(job_of(SLOW_TO_DIE), grant, live=Live(write=kill_nsjail))
    poll = select.poll()
    poll.register(first[0], select.POLLIN)
    try:
        assert poll.poll(0), "the jail's first process is alive, and so may others be"
    finally:
        os.close(first[0])
    assert outcome.outcome is OutcomeClass.INFRASTRUCTURE_ERROR


def _name_of(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text().strip()


def test_what_is_known_of_processes_that_nobody_told_of_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.sandbox.trace._MOST_UNBORN", 10)
    trace = CommandTrace()
    for process in range(4_194_305, 4_194_325):  # no process can have these numbers
        trace._gone(process, 0, 0)
    assert (len(trace._unborn), trace.lost) == (10, True)
