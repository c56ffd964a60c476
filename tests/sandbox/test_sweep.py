"""Killing the runner at any moment leaves nothing once another has swept."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Sandbox
from custody.sandbox.groups import find_parents
from custody.sandbox.lease import _processes_of, acquire, sweep_leases

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]

RUNNER = """
import sys
from pathlib import Path
from custody.policies.types import Grant, Limits
from custody.sandbox import JailSettings, Job, Sandbox
sandbox = Sandbox(JailSettings(state=Path(sys.argv[1])))
code = b"import os, time\\nos.fork(); os.setsid()\\nopen('/work/out/here', 'w').close()\\nprint('up' * 600, flush=True)\\ntime.sleep(300)"
sandbox.run(Job(run="r", code=code, file_name="p.py"), Grant(decision="d", principal="p", profile="x", limits=Limits(wall_seconds=200)))
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


@pytest.mark.jail
def test_a_killed_runner_leaves_nothing_after_a_sweep(tmp_path: Path) -> None:
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)], cwd=Path(__file__).parents[2])
    lease = tmp_path / "leases" / "000.json"
    try:
        held: dict[str, object] = {}
        program: list[int] = []
        while not program:
            assert runner.poll() is None
            held = json.loads(lease.read_bytes() or b"{}") if lease.exists() else {}
            nsjail = held.get("nsjail")
            program = _descendants(nsjail)[1:] if isinstance(nsjail, int) else []
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    swept = Sandbox(JailSettings(state=tmp_path)).sweep()
    assert any("lease of runner" in line for line in swept)
    assert lease.read_bytes() == b""
    groups = held.get("groups")
    assert [path for path in (groups if isinstance(groups, list) else []) if Path(path).exists()] == []
    for pid in (held["nsjail"], *program):
        assert isinstance(pid, int)
        _wait_until_gone(pid)
    assert sweep_leases(tmp_path) == ()


@pytest.mark.jail
def test_killing_the_runner_at_any_moment_leaves_nothing_after_a_sweep(tmp_path: Path) -> None:
    moments = 60 if os.environ.get("CUSTODY_TEST_DEPTH") == "deep" else 5
    stages: set[str] = set()
    for number in range(moments):
        runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)], cwd=Path(__file__).parents[2])
        # from before its first line until the program runs
        with suppress(subprocess.TimeoutExpired):
            runner.wait(0.15 + 0.4 * number / moments)
        runner.kill()
        runner.wait()
        lease = tmp_path / "leases" / "000.json"
        held = json.loads(lease.read_bytes() or b"{}") if lease.exists() else {}
        stages.add(",".join(sorted(held)))
        Sandbox(JailSettings(state=tmp_path)).sweep()
        assert [path for path in held.get("groups", []) if Path(path).exists()] == []
        uid, nsjail = held.get("uid"), held.get("nsjail")
        for pid in _processes_of(uid) if isinstance(uid, int) else ():
            _wait_until_gone(pid)
        if isinstance(nsjail, int):
            _wait_until_gone(nsjail)
        assert not lease.exists() or lease.read_bytes() == b""
    assert stages


def test_a_live_lease_is_not_swept(tmp_path: Path) -> None:
    lease = acquire(tmp_path, root=os.geteuid() == 0)
    lease.record(nsjail=os.getpid(), nsjail_start=1)
    assert sweep_leases(tmp_path) == ()
    lease.release()
    assert sweep_leases(tmp_path) == ()


def test_two_leases_differ(tmp_path: Path) -> None:
    first, second = acquire(tmp_path, root=True), acquire(tmp_path, root=True)
    assert first.uid != second.uid
    assert min(first.uid, second.uid) >= 0x70000000
    first.release()
    second.release()


def test_a_process_that_only_has_the_pid_of_a_dead_jail_is_left_alone(tmp_path: Path) -> None:
    lease = acquire(tmp_path, root=False)
    lease.record(nsjail=os.getpid(), nsjail_start=1)
    os.close(lease.descriptor)
    assert sweep_leases(tmp_path) == (f"lease of runner {os.getpid()}",)


def test_what_another_boot_left_is_only_forgotten(tmp_path: Path) -> None:
    lease = acquire(tmp_path, root=False)
    bystander = tmp_path / "group"
    bystander.mkdir()
    lease.record(boot="another", groups=[str(bystander)])
    os.close(lease.descriptor)
    assert sweep_leases(tmp_path) == (f"lease of runner {os.getpid()}",)
    assert bystander.is_dir()


@pytest.mark.jail
def test_runs_leave_no_process_group_descriptor_or_lease(
    sandbox: Sandbox, state: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox.run(job_of("pass"), grant_of())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for code in ("pass", "import os; os.abort()", "while True: print('x' * 1000)"):
        sandbox.run(job_of(code), grant_of())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert all(path.read_bytes() == b"" for path in (state / "leases").iterdir())
    block = acquire(state, root=True)
    name = block.name.rpartition("-")[0]
    block.release()
    assert [path for parent in find_parents().values() for path in parent.glob(f"{name}-*")] == []


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    for child in map(int, children):
        found += [child, *_descendants(child)]
    return found


def _wait_until_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(10_000), f"process {pid} is still alive"
    finally:
        os.close(descriptor)
