"""A program that sends itself the signals that limits and the filter send is told from one that these ended."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Outcome, OutcomeClass, Sandbox
from custody.sandbox.audit import AuditReader

pytestmark = pytest.mark.jail

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]
RunUnprivileged = Callable[[Sequence[tuple[Job, Grant]]], list[Outcome]]

BAD_CALL = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"
SENT = "import os; os.kill(os.getpid(), 31)"
SENT_FAR_BELOW = f"""
import os
if os.fork() == 0:
    if os.fork() == 0:
        {SENT}
    os.waitpid(-1, 0)
    os._exit(0)
os.waitpid(-1, 0)
"""
TAKEN_THEN_BAD_CALL = f"""
import os, signal
signal.signal(signal.SIGSYS, lambda *_: None)
{SENT}
{BAD_CALL}
"""
BESIDE_A_THREAD_THAT_DOES = f"""
import os, signal, threading
def other():
    {BAD_CALL}
threading.Thread(target=other).start()
while True: pass
"""
PRETENDS_TO_BE_THE_FILTER = """
import ctypes, os
information = (ctypes.c_int * 32)(31, 0, 1)
ctypes.CDLL(None).syscall(129, os.getpid(), 31, information)
"""
BURNS = "import os, time\nwhile time.clock_gettime(~os.getpid() << 3) < {seconds}: pass\n"
"""By the clock that the kernel holds against the limit: in ticks, which on a busy machine are not the time that was used."""
CATCHES = """
import os, signal
signal.signal(signal.SIGXCPU, lambda *_: os._exit(0))
while True: pass
"""
CHILD_BURNS = """
import os
child = os.fork()
if child == 0:
    while True: pass
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""
ORPHANS_BURN = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        if os.fork() == 0:
            while True: pass
        os._exit(0)
    os.wait()
while sum(name.isdecimal() for name in os.listdir('/proc')) > 2: time.sleep(0.05)
"""
CHILD_SENDS = """
import os
if os.fork() == 0:
    os.kill(os.getpid(), 24)
print(os.WTERMSIG(os.wait()[1]))
"""
NEAR_THE_LIMIT = {"cpu_seconds": 1, "wall_seconds": 60}


@pytest.fixture(params=["audit records", "trace", "neither"])
def watching(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A jail of which audit records or a trace tell; as whoever runs the tests."""
    sandbox = Sandbox(JailSettings(state=tmp_path, watch_commands=request.param != "neither"))
    sandbox._process_events = request.param == "audit records"
    if request.param != "audit records":
        monkeypatch.setattr("custody.sandbox.sources.open_audit", lambda _: "not here")
    elif not any(layer.name == "kernel_audit" and layer.state == "present" for layer in sandbox.layers()):
        pytest.skip("the doctor says: kernel audit records cannot be read here; run with CAP_AUDIT_READ")
    return sandbox


def end_of(outcome: Outcome) -> tuple[str, int | None, int | None]:
    return (outcome.outcome, outcome.exit_code, outcome.signal)


@pytest.mark.parametrize("code", [SENT, SENT_FAR_BELOW], ids=["itself", "a process far below"])
def test_a_sent_sigsys_is_no_violation_where_the_kernel_or_a_trace_can_tell(
    code: str, watching: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    outcome = watching.run(job_of(code), grant_of())
    if watching._settings.watch_commands:
        expected = ("failed", None, 31) if code == SENT else ("succeeded", 0, None)
    else:  # nobody follows what is below, and nobody knows who sent it
        expected = ("violated_policy", None, 31) if code == SENT else ("succeeded", 0, None)
    assert end_of(outcome) == expected, outcome.explanation


@pytest.mark.parametrize(
    "code",
    [BAD_CALL, TAKEN_THEN_BAD_CALL, BESIDE_A_THREAD_THAT_DOES],
    ids=["the filter", "taken before", "another thread"],
)
def test_what_the_filter_killed_is_a_violation_whatever_was_sent_before(
    code: str, watching: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    assert end_of(watching.run(job_of(code), grant_of())) == ("violated_policy", None, 31)


def test_an_unprivileged_runner_tells_them_apart_too(
    unprivileged: RunUnprivileged, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    codes = (SENT, SENT_FAR_BELOW, BAD_CALL, TAKEN_THEN_BAD_CALL, PRETENDS_TO_BE_THE_FILTER)
    assert list(map(end_of, unprivileged([(job_of(code), grant_of()) for code in codes]))) == [
        ("failed", None, 31),
        ("succeeded", 0, None),
        ("violated_policy", None, 31),
        ("violated_policy", None, 31),
        ("violated_policy", None, 31),
    ]


def test_audit_records_that_may_be_missing_clear_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    if not any(layer.name == "kernel_audit" and layer.state == "present" for layer in sandbox.layers()):
        pytest.skip("the doctor says: kernel audit records cannot be read here; run with CAP_AUDIT_READ")
    for broken in ("_send_mark", "_kernel_drops_nothing"):
        with monkeypatch.context() as patch:
            patch.setattr(f"custody.sandbox.audit.{broken}", lambda *_: False)
            assert sandbox.run(job_of(SENT), grant_of()).outcome is OutcomeClass.VIOLATED_POLICY
    original = AuditReader.drain

    def overrun(reader: AuditReader) -> None:
        original(reader)
        reader.lost = True

    monkeypatch.setattr(AuditReader, "drain", overrun)
    assert sandbox.run(job_of(SENT), grant_of()).outcome is OutcomeClass.VIOLATED_POLICY


@pytest.mark.parametrize("number", [9, 24])
@pytest.mark.parametrize("cgroups", [None, False], ids=["with groups", "without"])
def test_a_signal_sent_near_the_limit_of_processor_time_is_not_the_limits(
    number: int, *, cgroups: bool | None, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path, cgroups=cgroups))
    code = f"{BURNS.format(seconds=0.8)}os.kill(os.getpid(), {number})"
    outcome = sandbox.run(job_of(code), grant_of(**NEAR_THE_LIMIT))
    assert end_of(outcome) == ("failed", None, number)
    assert outcome.usage.cpu_ms is not None
    assert outcome.limits_hit == (("cpu",) if outcome.usage.cpu_ms >= 1000 else ())


@pytest.mark.parametrize("cgroups", [None, False], ids=["with groups", "without"])
def test_a_program_that_takes_the_limits_signal_and_leaves_has_met_the_limit(
    *, cgroups: bool | None, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path, cgroups=cgroups))
    outcome = sandbox.run(job_of(CATCHES), grant_of(**NEAR_THE_LIMIT))
    assert outcome.limits_hit == ("cpu",)
    # the runner may have looked at the group's counter before the program was out
    assert end_of(outcome) in {("succeeded", 0, None), ("killed_cpu", None, None)}


def test_time_of_children_is_not_held_against_a_program_that_ends_itself(
    tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    code = f"""
import os
for _ in range(2):
    if os.fork() == 0:
        exec({BURNS.format(seconds=0.7)!r})
        os._exit(0)
    os.wait()
os.kill(os.getpid(), 9)
"""
    outcome = Sandbox(JailSettings(state=tmp_path, cgroups=False)).run(job_of(code), grant_of(**NEAR_THE_LIMIT))
    assert (end_of(outcome), outcome.limits_hit) == (("failed", None, 9), ("cpu",))


@pytest.mark.parametrize("cgroups", [None, False], ids=["with groups", "without"])
@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
@pytest.mark.parametrize("code", [CHILD_BURNS, ORPHANS_BURN], ids=["a child", "orphans"])
def test_a_limit_of_processor_time_that_a_process_below_met_is_told(
    code: str, *, process_events: bool, cgroups: bool | None, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path, cgroups=cgroups))
    sandbox._process_events = process_events
    outcome = sandbox.run(job_of(code), grant_of(**NEAR_THE_LIMIT))
    # the runner may have seen the group's counter first
    assert outcome.outcome in {"succeeded", "killed_cpu"}, outcome.explanation
    assert outcome.limits_hit == ("cpu",)


@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
def test_a_child_that_sends_itself_the_limits_signal_has_met_no_limit(
    *, process_events: bool, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = process_events
    outcome = sandbox.run(job_of(CHILD_SENDS), grant_of())
    assert (end_of(outcome), outcome.stdout.content, outcome.limits_hit) == (("succeeded", 0, None), b"24\n", ())


def test_an_unprivileged_runner_is_told_of_it_too(
    unprivileged: RunUnprivileged, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    jobs = [(job_of(code), grant_of(**NEAR_THE_LIMIT)) for code in (CHILD_BURNS, ORPHANS_BURN, CHILD_SENDS)]
    outcomes = unprivileged(jobs)
    assert [(outcome.outcome, outcome.limits_hit) for outcome in outcomes] == [
        ("succeeded", ("cpu",)),
        ("succeeded", ("cpu",)),
        ("succeeded", ()),
    ]
    assert (outcomes[1].usage.cpu_ms or 0) >= 1500
