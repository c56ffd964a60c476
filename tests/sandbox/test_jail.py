"""The real jail: ordinary programs work, and every way to end is told apart."""

import hashlib
import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import LayerError, SandboxError
from custody.policies.types import Access, Grant, MountRequest
from custody.sandbox import JailSettings, Job, Outcome, OutcomeClass, Sandbox
from custody.sandbox.runtime import probe_python

pytestmark = pytest.mark.jail

RunProgram = Callable[..., Outcome]
MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]
RunUnprivileged = Callable[[Sequence[tuple[Job, Grant]]], list[Outcome]]

ORDINARY = sorted((Path(__file__).resolve().parents[1] / "programs" / "ordinary").glob("*.py"))
ROOMY = {"memory_mib": 400, "processes": 32, "disk_mib": 16}
is_root = os.geteuid() == 0


@pytest.mark.parametrize("path", ORDINARY, ids=lambda path: path.stem)
def test_an_ordinary_program_works(sandbox: Sandbox, path: Path, grant_of: MakeGrant, job_of: MakeJob) -> None:
    outcome = sandbox.run(job_of(path.read_bytes(), file_name=path.name), grant_of(**ROOMY))
    assert (outcome.outcome, outcome.stderr.content if outcome.exit_code else b"") == (OutcomeClass.SUCCEEDED, b""), (
        outcome.explanation
    )
    assert outcome.stdout.content.endswith(b"ok\n")
    assert outcome.limits_hit == ()
    assert [call for call in outcome.syscalls if call.action == "killed"] == []


def test_ordinary_programs_work_for_an_unprivileged_user(
    unprivileged: RunUnprivileged, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    outcomes = unprivileged([(job_of(path.read_bytes(), file_name=path.name), grant_of(**ROOMY)) for path in ORDINARY])
    failed = {
        path.stem: outcome.stderr.content.decode()
        for path, outcome in zip(ORDINARY, outcomes, strict=True)
        if not outcome.stdout.content.endswith(b"ok\n")
    }
    assert failed == {}


BOMB_THAT_CATCHES = """
import os, signal
children = []
try:
    while (child := os.fork()): children.append(child)
    signal.pause()
except BlockingIOError:
    for child in children: os.kill(child, 9)
"""
THREADS_THAT_CATCH = """
import threading
enough = threading.Event()
try:
    while True: threading.Thread(target=enough.wait).start()
except RuntimeError:
    enough.set()
"""


def test_every_class_of_end_is_told_to_an_unprivileged_user(
    unprivileged: RunUnprivileged, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    names = sorted(ENDINGS)
    outcomes = unprivileged(
        [
            *((job_of(ENDINGS[name][0]), grant_of()) for name in names),
            (job_of("while True: pass"), grant_of(cpu_seconds=1, wall_seconds=60)),
            (job_of("import time; time.sleep(60)"), grant_of(wall_seconds=1)),
            (job_of("while True: print('x' * 1000)"), grant_of()),
            (job_of("import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"), grant_of()),
            (job_of("x = bytearray(10**9)"), grant_of()),
            (job_of("import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(60)"), grant_of(processes=10)),
            (job_of(BOMB_THAT_CATCHES), grant_of(processes=10)),
            (job_of(THREADS_THAT_CATCH), grant_of(processes=10, memory_mib=2048)),
        ]
    )
    assert [(o.outcome, o.exit_code, o.signal) for o in outcomes[: len(names)]] == [ENDINGS[name][1:] for name in names]
    assert [(o.outcome, o.limits_hit) for o in outcomes[len(names) :]] == [
        (OutcomeClass.KILLED_CPU, ("cpu",)),
        (OutcomeClass.TIMED_OUT, ("wall",)),
        (OutcomeClass.KILLED_OUTPUT, ("output",)),
        (OutcomeClass.VIOLATED_POLICY, ()),
        (OutcomeClass.FAILED, ("memory",)),
        (OutcomeClass.FAILED, ("processes",)),
        (OutcomeClass.SUCCEEDED, ("processes",)),
        (OutcomeClass.SUCCEEDED, ("processes",)),
    ]
    assert any("kernel audit" in sentence for sentence in outcomes[0].unobserved)


ENDINGS = {
    "exit 0": ("pass", OutcomeClass.SUCCEEDED, 0, None),
    "exit 137": ("import os; os._exit(137)", OutcomeClass.FAILED, 137, None),
    "exit 255": ("import sys; sys.exit(255)", OutcomeClass.FAILED, 255, None),
    "exit 159": ("raise SystemExit(159)", OutcomeClass.FAILED, 159, None),
    "abort": ("import os; os.abort()", OutcomeClass.FAILED, None, signal.SIGABRT),
    "a real fault": ("import ctypes; ctypes.string_at(0)", OutcomeClass.FAILED, None, signal.SIGSEGV),
    "kill -9 of itself": ("import os; os.kill(os.getpid(), 9)", OutcomeClass.FAILED, None, signal.SIGKILL),
    "an exception": ("1/0", OutcomeClass.FAILED, 1, None),
    "a syntax error": ("def", OutcomeClass.FAILED, 1, None),
    "exit with words": ("raise SystemExit('no')", OutcomeClass.FAILED, 1, None),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_an_end_of_the_programs_own_is_told_as_it_was(run: RunProgram, name: str) -> None:
    code, outcome_class, exit_code, number = ENDINGS[name]
    outcome = run(code)
    assert (outcome.outcome, outcome.exit_code, outcome.signal, outcome.limits_hit) == (
        outcome_class,
        exit_code,
        number,
        (),
    )


def test_processor_time_is_a_limit(run: RunProgram) -> None:
    outcome = run("while True: pass", cpu_seconds=1, wall_seconds=60)
    assert (outcome.outcome, outcome.limits_hit) == (OutcomeClass.KILLED_CPU, ("cpu",))


def test_the_wall_clock_is_a_limit_that_fork_setsid_and_ignored_signals_do_not_escape(run: RunProgram) -> None:
    outcome = run(
        "import os, signal, time\n"
        "for n in range(1, 30):\n"
        "    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except OSError: pass\n"
        "print('here', flush=True)\n"
        "if os.fork() == 0: os.setsid()\n"
        "time.sleep(60)",
        wall_seconds=1,
    )
    assert (outcome.outcome, outcome.limits_hit, outcome.stdout.content) == (
        OutcomeClass.TIMED_OUT,
        ("wall",),
        b"here\n",
    )
    assert outcome.usage.wall_ms >= 1000


def test_a_flood_is_cut_and_killed(run: RunProgram) -> None:
    outcome = run("import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)", output_kib=64)
    assert (outcome.outcome, outcome.limits_hit) == (OutcomeClass.KILLED_OUTPUT, ("output",))
    assert len(outcome.stdout.content) + len(outcome.stderr.content) == 64 * 1024
    assert outcome.stdout.truncated or outcome.stderr.truncated
    assert outcome.stdout.sha256 == hashlib.sha256(b"x" * outcome.stdout.seen).hexdigest()
    assert outcome.stdout.seen + outcome.stderr.seen < 8 * 1024 * 1024


def test_a_forbidden_system_call_is_a_violation(run: RunProgram) -> None:
    outcome = run("import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)")
    assert (outcome.outcome, outcome.signal) == (OutcomeClass.VIOLATED_POLICY, signal.SIGSYS)


def test_cancelling_kills_the_jail(sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    outcome = sandbox.run(job_of("import time; time.sleep(60)"), grant_of(), cancel=cancel)
    timer.join()
    assert (outcome.outcome, outcome.limits_hit) == (OutcomeClass.CANCELLED, ())


def test_a_jail_that_cannot_start_is_our_failure_and_says_why(
    tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    broken = Sandbox(JailSettings(state=tmp_path))
    broken._alter = lambda spec: replace(spec, seccomp="POLICY x { NONSENSE }")
    outcome = broken.run(job_of("print(1)"), grant_of())
    assert outcome.outcome is OutcomeClass.INFRASTRUCTURE_ERROR
    assert "Could not compile policy" in outcome.explanation


def test_nsjail_killed_from_outside_is_our_failure(tmp_path: Path, job_of: MakeJob, grant_of: MakeGrant) -> None:
    outcomes: list[Outcome] = []
    sandbox = Sandbox(JailSettings(state=tmp_path))
    thread = threading.Thread(
        target=lambda: outcomes.append(sandbox.run(job_of("import time; time.sleep(60)"), grant_of()))
    )
    thread.start()
    lease = tmp_path / "leases" / "000.json"
    nsjail = None
    while nsjail is None:
        with suppress(FileNotFoundError, ValueError):  # it may be read while it is written
            nsjail = json.loads(lease.read_bytes()).get("nsjail")
    os.kill(nsjail, signal.SIGKILL)
    thread.join()
    assert outcomes[0].outcome is OutcomeClass.INFRASTRUCTURE_ERROR
    assert "nsjail ended by SIGKILL" in outcomes[0].explanation


def test_a_run_that_was_cancelled_before_its_start_runs_nothing(
    sandbox: Sandbox, job_of: MakeJob, grant_of: MakeGrant
) -> None:
    cancel = threading.Event()
    cancel.set()
    outcome = sandbox.run(job_of("print('ran')"), grant_of(), cancel=cancel)
    assert (outcome.outcome, outcome.stdout.content) == (OutcomeClass.CANCELLED, b"")


def test_a_granted_mount_is_readable_and_nothing_beside_it(
    sandbox: Sandbox, tmp_path: Path, job_of: MakeJob, grant_of: MakeGrant
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "in").mkdir(mode=0o755)
    (tmp_path / "in" / "data").write_text("given")
    (tmp_path / "beside").write_text("not given")
    grant = replace(grant_of(), mounts=(MountRequest(path=str(tmp_path / "in"), access=Access.READ, target="data"),))
    outcome = sandbox.run(
        job_of("import os\nprint(open('/mnt/data/data').read(), os.listdir('/mnt'))\nopen('/mnt/data/new', 'w')"), grant
    )
    assert outcome.stdout.content == b"given ['data']\n"
    assert b"Read-only file system" in outcome.stderr.content


def test_a_shell_is_there_only_if_it_is_granted(sandbox: Sandbox, job_of: MakeJob, grant_of: MakeGrant) -> None:
    job = job_of(
        "import subprocess\nprint(subprocess.run('sleep 0 && echo $((6 * 7)) | cat', shell=True, capture_output=True).stdout)"
    )
    assert b"FileNotFoundError" in sandbox.run(job, grant_of()).stderr.content
    granted = replace(grant_of(), shell=True)  # noqa: S604 - a field of the grant, no call of a shell
    assert sandbox.run(job, granted).stdout.content == b"b'42\\n'\n"


def test_a_program_in_bash_runs_under_the_same_first_process(
    sandbox: Sandbox, job_of: MakeJob, grant_of: MakeGrant
) -> None:
    code = 'echo "$0 $1"\necho x > $CUSTODY_OUT/file\nls /work | head -n 1\nexit 9\n'
    job = job_of(code, language="bash", file_name="script.sh", arguments=("größe",))
    with pytest.raises(SandboxError, match="shell"):
        sandbox.run(job, grant_of())
    outcome = sandbox.run(job, replace(grant_of(), shell=True))  # noqa: S604 - a field of the grant
    assert (outcome.outcome, outcome.exit_code) == (OutcomeClass.FAILED, 9)
    assert outcome.stdout.content.decode() == "/work/script.sh größe\nout\n"
    assert [artefact.content for artefact in outcome.artefacts] == [b"x\n"]
    assert any("bash are not observed" in sentence for sentence in outcome.unobserved)


@pytest.mark.skipif(not Path("/usr/bin/node").exists(), reason="node is not installed: install nodejs")
@pytest.mark.skipif(
    not is_root,
    reason="without control groups memory is capped by address space, of which node reserves far more: run as root",
)
def test_a_program_in_node_runs_without_memory_that_is_writable_and_executable(
    sandbox: Sandbox, job_of: MakeJob, grant_of: MakeGrant
) -> None:
    code = "let sum = 0; for (let i = 0; i < 1000; i++) sum += i; console.log(process.argv[2], sum)"
    outcome = sandbox.run(
        job_of(code, language="node", file_name="program.js", arguments=("x",)), grant_of(memory_mib=256)
    )
    assert (outcome.outcome, outcome.stdout.content) == (OutcomeClass.SUCCEEDED, b"x 499500\n"), outcome.stderr.content


def test_the_wide_filter_runs_and_still_stops_what_is_hostile(
    sandbox: Sandbox, job_of: MakeJob, grant_of: MakeGrant
) -> None:
    wide = replace(grant_of(), seccomp="wide")
    assert sandbox.run(job_of("print('ok')"), wide).outcome is OutcomeClass.SUCCEEDED
    assert (
        sandbox.run(job_of("import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"), wide).outcome
        is OutcomeClass.VIOLATED_POLICY
    )


def test_a_flood_of_records_does_not_stop_the_clock(run: RunProgram) -> None:
    outcome = run(
        "import os, ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "given = [int(name) for name in os.listdir('/proc/self/fd') if int(name) > 2]\n"
        "while True:\n"
        "    for fd in given:\n"
        "        try: os.write(fd, b'x' * 60000)\n"
        "        except OSError: pass\n"
        "    libc.unshare(0x10000000)\n",
        wall_seconds=1,
    )
    assert outcome.outcome is OutcomeClass.TIMED_OUT


def test_nsjail_dying_is_our_failure(tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob) -> None:
    false = tmp_path / "false"
    false.write_bytes(Path("/usr/bin/false").read_bytes())
    false.chmod(0o755)
    outcome = Sandbox(JailSettings(state=tmp_path / "state", nsjail=false)).run(job_of("print(1)"), grant_of())
    assert (outcome.outcome, outcome.exit_code) == (OutcomeClass.INFRASTRUCTURE_ERROR, None)


needs_groups = pytest.mark.skipif(
    not is_root, reason="control groups need root or delegation: run as root on a machine with v1 controllers"
)


@needs_groups
@pytest.mark.parametrize(
    "code",
    ["x = bytearray(10**9)", "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(10**9)'])"],
)
def test_memory_is_a_limit_also_for_a_grandchild(run: RunProgram, code: str) -> None:
    outcome = run(code, memory_mib=64)
    assert (outcome.outcome, outcome.limits_hit) == (OutcomeClass.KILLED_MEMORY, ("memory",))
    assert outcome.usage.peak_memory_bytes == 64 * 1024 * 1024


@needs_groups
def test_a_violation_in_a_grandchild_is_told_though_the_program_ends_well(run: RunProgram) -> None:
    outcome = run(
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)'])"
    )
    assert (outcome.outcome, outcome.exit_code) == (OutcomeClass.VIOLATED_POLICY, 0)
    assert [(call.name, call.action, call.source) for call in outcome.syscalls] == [
        ("ptrace", "killed", "kernel_audit")
    ]


@needs_groups
def test_refused_calls_are_told(run: RunProgram) -> None:
    outcome = run("import socket\ntry: socket.socket(40, 1)\nexcept OSError as error: print(error.errno)")
    assert outcome.stdout.content == b"1\n"
    assert [(call.name, call.action, call.count) for call in outcome.syscalls] == [("socket", "refused", 1)]


def test_a_fork_bomb_stays_within_its_processes(run: RunProgram) -> None:
    outcome = run("import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(60)", processes=10)
    assert (outcome.outcome, outcome.limits_hit) == (OutcomeClass.FAILED, ("processes",))
    assert outcome.usage.peak_processes is None or outcome.usage.peak_processes <= 12


def test_a_full_disk_and_a_full_table_of_inodes_are_told_apart(run: RunProgram) -> None:
    assert run("open('/work/x', 'wb').write(b'x' * 10**7)", disk_mib=2).limits_hit == ("disk",)
    assert run("for i in range(1000): open(f'/work/{i}', 'w').close()", files=50).limits_hit == ("inodes",)


def test_what_the_program_leaves_running_is_killed(run: RunProgram) -> None:
    outcome = run("import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)\nprint('parent out')")
    assert (outcome.outcome, outcome.stdout.content) == (OutcomeClass.SUCCEEDED, b"parent out\n")


def test_a_traceback_shows_only_the_programs_own_lines(run: RunProgram) -> None:
    outcome = run("def inner():\n    return 1 / 0\ninner()\n")
    text = outcome.stderr.content.decode()
    assert text.startswith('Traceback (most recent call last):\n  File "/work/program.py", line 3, in <module>\n')
    assert text.count("File ") == 2


def test_a_program_with_a_syntax_error_reads_of_itself_alone_and_has_opened_nothing(run: RunProgram) -> None:
    outcome = run("x = 1\ny = = 2\n")
    expected = b'  File "/work/program.py", line 2\n    y = = 2\n        ^\nSyntaxError: invalid syntax\n'
    assert (outcome.stderr.content, outcome.files) == (expected, ())


def test_what_is_of_the_host_stays_as_it_is_and_useful(run: RunProgram) -> None:
    outcome = run(
        "import os, resource, socket\n"
        "print(os.write(os.open('/dev/null', os.O_WRONLY | os.O_CREAT | os.O_TRUNC), b'xy'), open('/dev/zero', 'r+b', 0).read(1))\n"
        "for act in (lambda: os.utime('/dev/null'), lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),\n"
        "            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)):\n"
        "    try: act()\n"
        "    except OSError as error: print(type(error).__name__, error.errno)\n"
        "    else: print('done')\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), socket.socket(socket.AF_INET).proto)\n"
    )
    assert outcome.stdout.content.decode().splitlines() == [
        "2 b'\\x00'",
        "OSError 30",
        "PermissionError 13",
        "OSError 93",
        "(1, 1) 0",
    ], outcome.stderr.content


def test_arguments_and_input_files_arrive_as_given(run: RunProgram) -> None:
    content = bytes(range(256)) * 4096
    outcome = run(
        "import sys, hashlib\nprint(sys.argv[1:])\nprint(hashlib.sha256(open('/work/data/in.bin', 'rb').read()).hexdigest())",
        inputs=(("data/in.bin", content),),
        arguments=("--größe", "a b", ""),
    )
    assert outcome.stdout.content.decode().splitlines() == [
        "['--größe', 'a b', '']",
        hashlib.sha256(content).hexdigest(),
    ]


def test_two_equal_jails_have_equal_digests(run: RunProgram) -> None:
    first, second, other = run("pass"), run("print(1)"), run("pass", disk_mib=3)
    assert first.spec_sha256 == second.spec_sha256 != other.spec_sha256


def test_an_attempt_to_send_mail_is_told_with_host_and_port(run: RunProgram) -> None:
    outcome = run(
        "import smtplib, urllib.request\n"
        "try: smtplib.SMTP('mail.example.org', 587)\n"
        "except OSError as error: print(error)\n"
        "try: urllib.request.urlopen('http://api.example.org/contacts')\n"
        "except OSError as error: print(error)\n"
    )
    assert {(attempt.host, attempt.port, attempt.allowed) for attempt in outcome.egress} == {
        ("mail.example.org", 587, False),
        ("api.example.org", 80, False),
    }
    assert all(attempt.program_controlled for attempt in outcome.egress)


def test_reading_shadow_and_reaching_for_the_hosts_loopback_are_both_told(run: RunProgram) -> None:
    outcome = run(
        "import socket\n"
        "try: open('/etc/shadow')\n"
        "except OSError as error: print(error.errno)\n"
        "try: socket.create_connection(('127.0.0.1', 22), 2)\n"
        "except OSError as error: print(error.errno)\n"
    )
    assert outcome.stdout.content == b"2\n111\n"
    assert [(file.path, file.action) for file in outcome.files] == [("/etc/shadow", "attempted")]
    assert [(attempt.host, attempt.port) for attempt in outcome.egress] == [("127.0.0.1", 22)]


def test_commands_are_told_with_their_arguments(tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    sandbox._process_events = False  # they are read a moment after the start, and that may be too late
    code = "import subprocess, sys, os\nsubprocess.run([sys.executable, '-c', 'pass'])\ntry: subprocess.run(['curl', 'x'])\nexcept OSError: pass\nos.system('id')"
    outcome = sandbox.run(job_of(code), grant_of())
    assert [
        (command.path.rpartition("/")[2][:6], command.arguments, command.source, command.exit_status)
        for command in outcome.commands
    ] == [
        ("python", ("-c", "pass"), "ptrace", 0),
        ("curl", ("x",), "audit_hook", None),
        ("sh", ("-c", "id"), "audit_hook", None),
    ]


def test_the_kernel_tells_of_commands_that_the_program_hides(run: RunProgram) -> None:
    outcome = run(
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "argv = (ctypes.c_char_p * 4)(sys.executable.encode(), b'-c', b'raise SystemExit(7)', None)\n"
        "if libc.fork() == 0:\n"
        "    libc.execv(sys.executable.encode(), argv)\n"
        "libc.wait(None)\n"
    )
    assert [(c.source, c.exit_status, c.program_controlled) for c in outcome.commands] == [
        ("process_connector" if is_root else "ptrace", 7, False)
    ]


def test_directories_that_are_listed_and_writing_where_nothing_can_be_written_are_told(run: RunProgram) -> None:
    outcome = run(
        "import os, pathlib\n"
        "os.listdir('/'); list(os.scandir('/etc')); os.listdir(); os.listdir('/tmp'); list(pathlib.Path('/work').rglob('*'))\n"
        "for path in ('/usr/lib/x', '/work/x', '/tmp/x', '/dev/null'):\n"
        "    try: open(path, 'w')\n"
        "    except OSError: pass\n"
    )
    assert {(file.path, file.action) for file in outcome.files} == {
        ("/", "attempted"),
        ("/etc", "attempted"),
        ("/usr/lib/x", "attempted"),
    }


def test_processes_that_are_left_behind_are_told(run: RunProgram) -> None:
    outcome = run("import os, time\nif os.fork() == 0:\n    time.sleep(30)\n")
    assert outcome.outcome is OutcomeClass.SUCCEEDED
    assert outcome.explanation.endswith("exit code 0; 1 process(es) that it left behind were killed")


REPLACED = {
    "made anew": "import os, shutil\nopen('/work/out/old', 'w').close(); shutil.rmtree('/work/out'); os.makedirs('/work/out/a')\n",
    "moved into place": "import os\nos.rmdir('/work/out'); os.makedirs('/work/new/a'); os.rename('/work/new', '/work/out')\n",
    "a link": "import os\nos.makedirs('/tmp/o/a'); os.rmdir('/work/out'); os.symlink('/tmp/o', '/work/out')\n",
}


@pytest.mark.parametrize("how", REPLACED)
def test_artefacts_are_taken_from_a_directory_that_was_replaced_unless_it_is_a_link_which_is_told(
    how: str,
    sandbox: Sandbox,
    unprivileged: RunUnprivileged,
    grant_of: MakeGrant,
    job_of: MakeJob,
) -> None:
    job = job_of(REPLACED[how] + "open('/work/out/a/new', 'w').write('x')\n")
    for outcome in (sandbox.run(job, grant_of()), *unprivileged([(job, grant_of())])):
        found = [(artefact.name, artefact.content) for artefact in outcome.artefacts]
        refused = [(left.name, left.reason) for left in outcome.refused_artefacts]
        assert (found, refused) == (
            ([], [("out", "the directory was replaced by a symbolic link")])
            if how == "a link"
            else ([("a/new", b"x")], [])
        )


def test_a_program_may_ask_whether_the_first_process_lives_but_send_it_nothing(run: RunProgram) -> None:
    outcome = run("import os\nos.kill(1, 0)\ntry: os.kill(1, 15)\nexcept PermissionError: print('refused')\n")
    assert outcome.stdout.content == b"refused\n", outcome.stderr.content


def test_a_quiet_program_leaves_no_observation(run: RunProgram) -> None:
    outcome = run(
        "import json, ssl, sqlite3, zoneinfo, tempfile, email.message, urllib.request\nopen('/work/x', 'w').close(); tempfile.mkstemp(); zoneinfo.ZoneInfo('UTC')"
    )
    assert (outcome.files, outcome.commands, outcome.egress, outcome.syscalls) == ((), (), (), ())


def test_artefacts_come_out_and_everything_else_is_refused_by_name(run: RunProgram) -> None:
    outcome = run(
        "import os\n"
        "os.chdir('/work/out')\n"
        "open('a.txt', 'w').write('A')\n"
        "os.makedirs('deep/er'); open('deep/er/b.bin', 'wb').write(b'\\0B')\n"
        "os.symlink('/etc/passwd', 'link'); os.mkfifo('pipe'); os.link('a.txt', 'a2.txt')\n"
        "open('own.txt', 'w').write('O')\n"
    )
    assert [(artefact.name, artefact.content) for artefact in outcome.artefacts] == [
        ("deep/er/b.bin", b"\0B"),
        ("own.txt", b"O"),
    ]
    assert {refused.name: refused.reason.split(",")[0] for refused in outcome.refused_artefacts} == {
        "a.txt": "has 2 names",
        "a2.txt": "has 2 names",
        "link": "a symbolic link",
        "pipe": "a pipe",
    }


def test_artefacts_of_a_killed_run_come_out_too(run: RunProgram) -> None:
    outcome = run("open('/work/out/partial.txt', 'w').write('half')\nimport time; time.sleep(60)", wall_seconds=1)
    assert [artefact.name for artefact in outcome.artefacts] == ["partial.txt"]


def test_secrets_are_redacted_where_the_grant_says_so(sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob) -> None:
    token = "ghp_" + "a" * 36
    outcome = sandbox.run(job_of(f"print('{token}'); open('/work/out/t', 'w').write('{token}')"), grant_of())
    assert (outcome.stdout.content, outcome.stdout.redactions) == (b"[redacted:github_token]\n", 1)
    assert outcome.stdout.sha256 == hashlib.sha256(f"{token}\n".encode()).hexdigest()
    assert outcome.artefacts[0].content == b"[redacted:github_token]"


def test_an_environment_is_importable_and_its_startup_files_do_not_run(
    sandbox: Sandbox, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("ANSWER = 42\n")
    (tmp_path / "evil.pth").write_text("import os; os.write(1, b'pth ran')\n")
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'sitecustomize ran')\n")
    code = "import a_package, subprocess, sys\nprint(a_package.ANSWER, a_package.__file__, flush=True)\nsubprocess.run([sys.executable, '-c', 'pass'])\nopen('/environment/x', 'w')"
    outcome = sandbox.run(job_of(code, environment=tmp_path), grant_of())
    assert outcome.stdout.content == b"42 /environment/a_package/__init__.py\n"
    assert b"Read-only file system" in outcome.stderr.content


@pytest.mark.parametrize("place", [Path.home(), Path("/tmp"), Path("/dev/shm")], ids=["home", "tmp", "shm"])
def test_an_interpreter_may_lie_in_a_closed_folder_or_where_the_jail_has_something_of_its_own(
    place: Path, tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    used, library = probe_python(Path(sys.executable)).executable, Path(sysconfig.get_path("stdlib"))
    folder = Path(tempfile.mkdtemp(prefix='of "alice" \\ été ', dir=place))
    try:
        python = folder / "bin" / used.name
        python.parent.mkdir()
        shutil.copy2(used, python)
        left_out = shutil.ignore_patterns("test", "*-packages", "config-*", "__pycache__", "idlelib", "ensurepip")
        shutil.copytree(library, folder / "lib" / library.name, ignore=left_out)
        assert folder.stat().st_mode & 0o777 == 0o700
        code = (
            "import json, subprocess, sys\n"
            "print(sys.executable, json.__file__, flush=True)\n"
            "subprocess.run([sys.executable, '-c', 'print(1)'], check=True)\n"
            "for name in ('/tmp/a', '/dev/shm/a', '/work/out/a'): open(name, 'w').close()\n"
        )
        outcome = Sandbox(JailSettings(state=tmp_path / "state", python=python)).run(job_of(code), grant_of())
        said = f"{python} {folder}/lib/{library.name}/json/__init__.py\n1\n"
        assert (outcome.stdout.content.decode(), outcome.stderr.content) == (said, b""), outcome.explanation
    finally:
        shutil.rmtree(folder)


def test_the_layers_that_are_there_are_called_present(sandbox: Sandbox) -> None:
    present = {layer.name for layer in sandbox.layers() if layer.state == "present"}
    assert {
        "user_namespace",
        "mount_namespace",
        "pid_namespace",
        "network_namespace",
        "ipc_namespace",
        "uts_namespace",
        "cgroup_namespace",
    } < present
    assert {"seccomp", "proc", "rlimits"} < present
    assert all(layer.cause and layer.cure for layer in sandbox.layers() if layer.state != "present")


def test_a_demanded_layer_that_is_missing_is_refused_before_anything_starts(
    sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    demanding = grant_of()
    for name in ("no_such_layer",) if is_root else ("file_watch", "no_such_layer"):
        with pytest.raises(LayerError, match=f"`{name}`"):
            sandbox.run(job_of("print(1)"), replace(demanding, layers=(name,)))
    outcome = sandbox.run(job_of("print(1)"), replace(demanding, layers=("seccomp", "user_namespace")))
    assert outcome.outcome is OutcomeClass.SUCCEEDED


def test_two_runs_at_once_do_not_disturb_each_other(sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob) -> None:
    outcomes: dict[str, Outcome] = {}

    def one(name: str, code: str, **limits: int) -> None:
        outcomes[name] = sandbox.run(job_of(code), grant_of(**limits))

    threads = [
        threading.Thread(target=one, args=("bomb", "x = bytearray(10**9)"), kwargs={"memory_mib": 64}),
        threading.Thread(target=one, args=("calm", "import time; time.sleep(0.5); print('calm')")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes["calm"].stdout.content == b"calm\n"
    assert outcomes["calm"].outcome is OutcomeClass.SUCCEEDED
    assert outcomes["bomb"].limits_hit == ("memory",)
