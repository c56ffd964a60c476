"""Many runs at once, good and hostile: nothing is left behind, and the runner does not grow.

Quick by default; CUSTODY_TEST_DEPTH=deep runs a thousand.
"""

import gc
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, OutcomeClass, Sandbox
from custody.sandbox.groups import find_parents
from custody.sandbox.lease import acquire

pytestmark = pytest.mark.jail

DEEP = os.environ.get("CUSTODY_TEST_DEPTH") == "deep"
RUNS = 1000 if DEEP else 40
AT_ONCE = 8
GROWTH_BYTES = 24 * 1024 * 1024
IS_ROOT = os.geteuid() == 0

PROGRAMS = {
    "print('good')": {OutcomeClass.SUCCEEDED},
    "open('/work/out/a', 'w').write('x' * 10000)": {OutcomeClass.SUCCEEDED},
    "raise SystemExit(3)": {OutcomeClass.FAILED},
    "import os\nwhile True: os.write(1, b'x' * 65536)": {OutcomeClass.KILLED_OUTPUT},
    "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        os.setsid(); time.sleep(60)": {
        OutcomeClass.SUCCEEDED
    },
    "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)": {OutcomeClass.VIOLATED_POLICY},
    "import os\nfor i in range(500): open(f'/work/out/{i}', 'w').close()": {OutcomeClass.FAILED},
    "x = bytearray(10**9)": {OutcomeClass.KILLED_MEMORY, OutcomeClass.FAILED},
    "import os; os.kill(os.getpid(), 9)": {OutcomeClass.FAILED},
    "import os\nfor fd in map(int, os.listdir('/proc/self/fd')):\n    try: os.write(fd, (fd > 2) * 60000 * b'\\xff')\n    except OSError: pass": {
        OutcomeClass.SUCCEEDED
    },
}


def test_many_runs_at_once_leave_nothing_and_the_runner_does_not_grow(
    tmp_path: Path, grant_of: Callable[..., Grant], job_of: Callable[..., Job]
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path))
    codes = [list(PROGRAMS)[number % len(PROGRAMS)] for number in range(RUNS)]
    grant = grant_of(memory_mib=64, wall_seconds=60)

    def one(code: str) -> OutcomeClass:
        return sandbox.run(job_of(code), grant).outcome

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, codes[: 2 * AT_ONCE]))  # what the first runs need once is not growth
        gc.collect()
        before = _held()
        ends = list(pool.map(one, codes))
        gc.collect()
        after = _held()
    wrong = [(code, end) for code, end in zip(codes, ends, strict=True) if end not in PROGRAMS[code]]
    assert wrong == []
    assert after.keys() == before.keys()
    assert after["descriptors"] == before["descriptors"]
    assert after["mounts"] == before["mounts"]
    assert after["memory"] - before["memory"] < GROWTH_BYTES, (before, after)
    assert all(path.read_bytes() == b"" for path in (tmp_path / "leases").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"leases"}
    lease = acquire(tmp_path, root=IS_ROOT)
    prefix, uid = lease.name.rpartition("-")[0], lease.uid
    lease.release()
    assert [path for parent in find_parents().values() for path in parent.glob(f"{prefix}-*")] == []
    if IS_ROOT:
        assert [pid for pid in _processes() if uid <= _uid(pid) < uid + 256] == []


def _held() -> dict[str, int]:
    status = Path("/proc/self/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    assert resident is not None
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mounts": Path("/proc/self/mountinfo").read_text().count("custody"),
        "memory": int(resident[1]) * 1024,
    }


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _uid(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return -1
