"""Programs that are started in the jail of a runner that is not root are seen by a trace, which changes nothing of what they do."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import LayerError
from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Outcome, OutcomeClass, Sandbox
from custody.sandbox.trace import CommandTrace

pytestmark = pytest.mark.jail

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]
RunUnprivileged = Callable[[Sequence[tuple[Job, Grant]]], list[Outcome]]

STARTS = """
import os, subprocess, sys
subprocess.run([sys.executable, '-c', 'raise SystemExit(7)'])
subprocess.run([sys.executable, '-c', 'import os; os.kill(os.getpid(), 9)'])
"""
WAITED_FOR = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
argv = (ctypes.c_char_p * 4)(sys.executable.encode(), b'-c', b'raise SystemExit(7)', None)
r, w = os.pipe()
os.set_inheritable(w, True)
if libc.fork() == 0:
    if libc.fork() == 0:
        libc.setsid()
        libc.execv(sys.executable.encode(), argv)
    os._exit(0)
os.close(w)
os.read(r, 1)
"""
MANY = """
import os, sys
for number in range(250):
    os.waitpid(os.posix_spawn(sys.executable, ['x', '-S', '-c', str(number)], {}), 0)
"""
ITSELF = """
import os, sys
left = int(sys.argv[1]) if len(sys.argv) > 1 else 3
if left:
    os.execv(sys.executable, [sys.executable, '-I', __file__, str(left - 1)])
print('last')
"""
FROM_A_THREAD = """
import os, sys, threading
threading.Thread(target=os.execv, args=(sys.executable, [sys.executable, '-c', 'print("from a thread")'])).start()
threading.Event().wait()
"""
JOB_CONTROL = """
import os, signal
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(5)
print(os.WSTOPSIG(os.waitpid(child, os.WUNTRACED)[1]))
os.kill(child, signal.SIGCONT)
print(os.WIFCONTINUED(os.waitpid(child, os.WCONTINUED)[1]), os.waitpid(child, 0)[1])
"""
SIGNALS = """
import os, signal, threading, time
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append('usr1'))
signal.signal(signal.SIGCHLD, lambda *_: seen.append('chld'))
signal.signal(signal.SIGALRM, lambda *_: seen.append('alrm'))
os.kill(os.getpid(), signal.SIGUSR1)
child = os.fork()
if child == 0:
    os._exit(3)
print(os.waitpid(child, 0)[1] >> 8)
signal.setitimer(signal.ITIMER_REAL, 0.01)
while 'alrm' not in seen: time.sleep(0.005)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
os.kill(os.getpid(), signal.SIGUSR2)
found = signal.sigwaitinfo({signal.SIGUSR2})
print(seen, found.si_signo == signal.SIGUSR2, found.si_pid == os.getpid())
"""
ENDS = {
    "exit(137)": "import os; os._exit(137)",
    "exit(255)": "import os; os._exit(255)",
    "abort": "import os; os.abort()",
    "a fault": "import ctypes; ctypes.string_at(0)",
    "kill -9": "import os; os.kill(os.getpid(), 9)",
    "SIGTERM": "import os; os.kill(os.getpid(), 15)",
    "an exception": "1 / 0",
    "system call": "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)",
    "job control": JOB_CONTROL,
    "signals": SIGNALS,
    "processes": "import multiprocessing as m\nif __name__ == '__main__':\n    with m.Pool(2) as pool: print(pool.map(abs, [-1, -2]))",
    "threads": "import threading\nts = [threading.Thread(target=print, args=('x',)) for _ in range(8)]\n[t.start() for t in ts]; [t.join() for t in ts]",
    "a child's output": "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(1); raise SystemExit(9)'], capture_output=True))",
}


AFTER_THE_FIRST_THREAD = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
main = threading.get_native_id()
argv = (ctypes.c_char_p * 4)(sys.executable.encode(), b'-c', b'raise SystemExit(7)', None)
def outlive():
    while open(f'/proc/self/task/{main}/stat').read().rpartition(')')[2].split()[0] != 'Z': pass
    child = libc.fork()
    if child == 0: libc.execv(sys.executable.encode(), argv)
    libc.waitpid(child, None, 0)
    os._exit(3)
threading.Thread(target=outlive).start()
libc.syscall(60, 0)
"""


@pytest.mark.parametrize("code", [FROM_A_THREAD, AFTER_THE_FIRST_THREAD], ids=["exec from a thread", "after the first"])
@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
def test_threads_hide_nothing(
    code: str, *, process_events: bool, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = process_events
    outcome = sandbox.run(job_of(code), grant_of())
    wanted = ('print("from a thread")', 0) if code is FROM_A_THREAD else ("raise SystemExit(7)", 7)
    [(source, arguments, status)] = told(outcome)
    assert status == wanted[1], outcome.stderr.content
    # process events are read a moment later, and that may be too late
    assert arguments == ("-c", wanted[0]) or (source == "process_connector" and arguments is None)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """Traces whoever runs the tests."""
    sandbox = Sandbox(JailSettings(state=tmp_path_factory.mktemp("traced")))
    sandbox._process_events = False
    return sandbox


def told(outcome: Outcome) -> list[tuple[str, tuple[str, ...] | None, int | None]]:
    return [
        (command.source, command.arguments, command.exit_status)
        for command in outcome.commands
        if not command.program_controlled
    ]


def test_an_unprivileged_runner_sees_what_is_started_however_it_is_hidden(
    unprivileged: RunUnprivileged, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    plain, hidden, itself, thread = unprivileged(
        [(job_of(code), grant_of()) for code in (STARTS, WAITED_FOR, ITSELF, FROM_A_THREAD)]
    )
    assert told(plain) == [
        ("ptrace", ("-c", "raise SystemExit(7)"), 7),
        ("ptrace", ("-c", "import os; os.kill(os.getpid(), 9)"), 137),
    ]
    assert [(source, arguments) for source, arguments, _ in told(hidden)] == [("ptrace", ("-c", "raise SystemExit(7)"))]
    assert [arguments for _, arguments, _ in told(itself)] == [("-I", "/work/program.py", str(n)) for n in (2, 1, 0)]
    assert itself.stdout.content == b"last\n"
    assert told(thread) == [("ptrace", ("-c", 'print("from a thread")'), 0)]
    assert all("command_watch" in outcome.layers for outcome in (plain, hidden, itself, thread))
    assert not any(said.startswith("commands are known") for said in plain.unobserved)


BAD_CALL_FAR_BELOW = """
import ctypes, os
if os.fork() == 0:
    if os.fork() == 0:
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    os.waitpid(-1, 0)
    os._exit(0)
os.waitpid(-1, 0)
"""


def test_an_unprivileged_runner_sees_a_process_that_the_filter_killed_though_the_program_ended_well(
    unprivileged: RunUnprivileged, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    [outcome] = unprivileged([(job_of(BAD_CALL_FAR_BELOW), grant_of())])
    assert (outcome.outcome, outcome.exit_code) == (OutcomeClass.VIOLATED_POLICY, 0)
    assert "SIGSYS" in outcome.explanation


@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
def test_lost_audit_records_do_not_hide_what_the_filter_killed(
    *,
    process_events: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grant_of: MakeGrant,
    job_of: MakeJob,
) -> None:
    monkeypatch.setattr("custody.sandbox.sources.open_audit", lambda _: "not here")
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = process_events
    assert sandbox.run(job_of(BAD_CALL_FAR_BELOW), grant_of()).outcome is OutcomeClass.VIOLATED_POLICY


NESTED = """
import subprocess, sys
def python(code): subprocess.run([sys.executable, '-S', '-c', code])
inner = "import os, sys; os.waitpid(os.posix_spawn(sys.executable, ['x', '-S', '-c', 'pass'], {}), 0)"
python(inner); python('pass')
"""


@pytest.mark.parametrize("process_events", [True, False], ids=["process events", "trace"])
def test_each_start_names_who_started_it(
    *, process_events: bool, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = process_events
    outcome = sandbox.run(job_of(NESTED), grant_of())
    assert [command.parent for command in outcome.commands if not command.program_controlled] == [0, 1, 0]


EXEC, FORK = 4, 1


@pytest.mark.parametrize("ended", [False, True], ids=["alive", "ended"])
def test_who_started_a_program_is_known_though_its_parent_tells_last(
    *, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may report the child's start, and even its end, before the fork that made it."""
    parent, child = 4_194_305, 4_194_306  # no process can have these numbers
    about = {(parent, EXEC): parent, (child, EXEC): child, (parent, FORK): child}
    now: list[int] = []
    monkeypatch.setattr("custody.sandbox.trace.ptrace", lambda *_: 0)
    monkeypatch.setattr("custody.sandbox.trace.ptrace_message", lambda process: about[process, now[-1]])
    trace = CommandTrace()

    def report(process: int, event: int) -> None:
        now.append(event)
        trace._stopped(process, signal.SIGTRAP, event, 0)

    report(parent, EXEC)
    report(child, EXEC)
    if ended:
        trace._gone(child, 0, 0)
    report(parent, FORK)
    assert [command.parent for command in trace.commands] == [None, 1]
    assert trace.peak == 2
    assert len(trace._members) == (1 if ended else 2)


def test_many_quick_starts_are_all_listed_and_beyond_the_bound_they_are_counted(
    traced: Sandbox, grant_of: MakeGrant, job_of: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = grant_of(wall_seconds=60, cpu_seconds=60)
    outcome = traced.run(job_of(MANY), grant)
    assert outcome.outcome is OutcomeClass.SUCCEEDED, outcome.stderr.content
    assert outcome.observed_total["commands"] == 250
    assert not any("only the first" in said for said in outcome.unobserved)
    assert [arguments for _, arguments, _ in told(outcome)] == [("-S", "-c", str(number)) for number in range(250)]
    monkeypatch.setattr("custody.sandbox.commands._MOST", 200)
    outcome = traced.run(job_of(MANY), grant)
    assert outcome.observed_total["commands"] == 250
    assert "of 250 starts of programs only the first 200 are listed" in outcome.unobserved
    assert [arguments for _, arguments, _ in told(outcome)] == [("-S", "-c", str(number)) for number in range(200)]


@pytest.mark.parametrize("name", ENDS)
def test_the_trace_changes_no_end_and_no_output(
    name: str, traced: Sandbox, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    plain = Sandbox(JailSettings(state=tmp_path / "state", watch_commands=False))
    found = [
        (o.outcome, o.exit_code, o.signal, o.limits_hit, o.stdout.content, o.stderr.content)
        for o in (sandbox.run(job_of(ENDS[name]), grant_of()) for sandbox in (traced, plain))
    ]
    assert found[0] == found[1]


def test_a_fork_bomb_under_the_trace_ends_and_leaves_nothing(
    traced: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    before = _tracers()
    outcome = traced.run(job_of(bomb), grant_of(wall_seconds=2))
    assert outcome.outcome in {OutcomeClass.TIMED_OUT, OutcomeClass.KILLED_CPU}
    assert _tracers() == before


def test_a_program_that_stops_itself_is_ended_by_the_clock(
    traced: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    outcome = traced.run(job_of("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"), grant_of(wall_seconds=1))
    assert outcome.outcome is OutcomeClass.TIMED_OUT


def test_where_there_can_be_no_trace_it_is_said_and_a_profile_that_demands_it_is_refused(
    traced: Sandbox, grant_of: MakeGrant, job_of: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("custody.sandbox.trace.ptrace", refuse)
    outcome = traced.run(job_of("pass"), grant_of())
    assert outcome.outcome is OutcomeClass.SUCCEEDED
    assert "command_watch" not in outcome.layers
    assert any(said.endswith("the jail cannot be traced: Operation not permitted") for said in outcome.unobserved)
    fresh = Sandbox(traced._settings)
    fresh._process_events = False
    missing = next(layer for layer in fresh.layers() if layer.name == "command_watch")
    assert (missing.state, "Operation not permitted" in missing.cause, bool(missing.cure)) == ("missing", True, True)
    monkeypatch.undo()
    still = Sandbox(traced._settings)
    still._process_events = False
    assert all(layer.state == "present" for layer in still.layers() if layer.name == "command_watch")
    monkeypatch.setattr("custody.sandbox.trace.ptrace", refuse)  # it was there when doctor looked
    with pytest.raises(LayerError, match="could not be had for this run"):
        still.run(job_of("print('ran')"), replace(grant_of(), layers=("command_watch",)))


def test_the_death_of_the_tracer_kills_what_it_traces() -> None:
    tracer = subprocess.Popen([sys.executable, "-c", TRACER], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert tracer.stdout is not None
    with tracer:
        victim = int(tracer.stdout.readline())
        descriptor = os.pidfd_open(victim)
        tracer.kill()
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(20_000), "the tracee is alive"
    finally:
        os.close(descriptor)


TRACER = """
import os, signal, sys
from custody.sandbox.trace import CommandTrace
r, w = os.pipe()
victim = os.fork()
if victim == 0:
    os.setsid()
    while True: signal.pause()
assert CommandTrace().follow(victim) == ''
print(victim, flush=True)
signal.pause()
"""


def _tracers() -> int:
    return sum(thread.name == "custody-tracer" for thread in threading.enumerate())
