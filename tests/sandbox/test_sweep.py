"""Killing the runner at any moment leaves nothing once another has swept."""

import gc
import json
import os
import select
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
from custody.sandbox.kernel import process_start
from custody.sandbox.lease import _processes_of, acquire, sweep_leases

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]

RUNNER = """
import sys
from pathlib import Path
from custody.policies.types import Grant, Limits
from custody.sandbox import JailSettings, Job, Sandbox
sandbox = Sandbox(JailSettings(state=Path(sys.argv[1])))
code = b"import os, time\\nif os.fork() == 0: os.setsid()\\nopen('/work/out/here', 'w').close()\\nprint('up' * 600, flush=True)\\ntime.sleep(300)"
sandbox.run(Job(run="r", code=code, file_name="p.py"), Grant(decision="d", principal="p", profile="x", limits=Limits(wall_seconds=200)))
"""


@pytest.mark.jail
def test_a_killed_runner_leaves_nothing_after_a_sweep(tmp_path: Path) -> None:
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)], cwd=Path(__file__).parents[2])
    alive: list[int] = []
    try:
        held: dict[str, object] = {}
        for _ in range(3000):
            assert not _ended(os.pidfd_open(runner.pid), 20), f"the runner ended by itself: {runner.wait()}"
            held = _held(tmp_path)
            nsjail = held.get("nsjail")
            family = [nsjail, *_descendants(nsjail)] if isinstance(nsjail, int) else []
            if len(family) > 2:  # the first process and the program, too
                alive = [os.pidfd_open(pid) for pid in family]
                break
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    assert len(alive) > 2
    swept = Sandbox(JailSettings(state=tmp_path)).sweep()
    assert any("lease of runner" in line for line in swept)
    assert _held(tmp_path) == {}
    groups = held.get("groups")
    assert [path for path in (groups if isinstance(groups, list) else []) if Path(path).exists()] == []
    assert [descriptor for descriptor in alive if not _ended(descriptor, 30_000)] == []
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
        held = _held(tmp_path)
        stages.add(",".join(sorted(held)))
        Sandbox(JailSettings(state=tmp_path)).sweep()
        groups, uid, nsjail = held.get("groups"), held.get("uid"), held.get("nsjail")
        assert [path for path in (groups if isinstance(groups, list) else []) if Path(path).exists()] == []
        for pid in _processes_of(uid) if isinstance(uid, int) else ():
            with suppress(ProcessLookupError):
                assert _ended(os.pidfd_open(pid), 30_000)
        if isinstance(nsjail, int):
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(nsjail)
                # its number may be another's by now
                assert process_start(nsjail) != held["nsjail_start"] or _ended(descriptor, 30_000)
        assert _held(tmp_path) == {}
    assert stages


def test_a_live_lease_is_not_swept(tmp_path: Path) -> None:
    lease = acquire(tmp_path, root=os.geteuid() == 0)
    lease.record(nsjail=os.getpid(), nsjail_start=1)
    assert sweep_leases(tmp_path) == ()
    lease.release()
    assert sweep_leases(tmp_path) == ()


def test_two_leases_differ(tmp_path: Path) -> None:
    places = (tmp_path / "claims",)  # an unprivileged user may run this
    first, second = (acquire(tmp_path, root=True, places=places) for _ in range(2))
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
    gc.collect()  # what other tests left to the collector is closed now, not while these runs go on
    before = len(list(Path("/proc/self/fd").iterdir()))
    for code in ("pass", "import os; os.abort()", "while True: print('x' * 1000)"):
        sandbox.run(job_of(code), grant_of())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert all(path.read_bytes() == b"" for path in (state / "leases").iterdir())
    block = acquire(state, root=False)
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


def _ended(process: int, milliseconds: int) -> bool:
    """Whether a process ends in time; closes its descriptor."""
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(milliseconds))
    finally:
        os.close(process)


def _held(state: Path) -> dict[str, object]:
    """What the one lease in use names; empty if there is none."""
    for lease in sorted((state / "leases").glob("*.json")):
        if content := lease.read_bytes():
            held: dict[str, object] = json.loads(content)
            return held
    return {}
