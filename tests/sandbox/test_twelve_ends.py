"""Twelve ways to end are twelve different results, though exit codes alone would say the same of many."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Outcome, Sandbox

pytestmark = pytest.mark.jail

PROGRAMS = {
    "exit(137)": "import os; os._exit(137)",
    "exit(255)": "import os; os._exit(255)",
    "abort": "import os; os.abort()",
    "a fault": "import ctypes; ctypes.string_at(0)",
    "kill -9 of itself": "import os; os.kill(os.getpid(), 9)",
    "memory": "x = bytearray(10**9)",
    "cpu": "while True: pass",
    "wall": "import time; time.sleep(60)",
    "output": "while True: print('x' * 1000)",
    "system call": "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)",
}


def test_they_are_told_apart(tmp_path: Path, grant_of: Callable[..., Grant], job_of: Callable[..., Job]) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path / "state"))
    limits = {"cpu": {"cpu_seconds": 1, "wall_seconds": 60}, "wall": {"wall_seconds": 1}, "memory": {"memory_mib": 64}}
    now = threading.Event()
    now.set()
    broken = Sandbox(JailSettings(state=tmp_path / "state"))
    broken._alter = lambda spec: replace(spec, seccomp="POLICY x { NONSENSE }")
    with ThreadPoolExecutor(4) as pool:
        waiting = {
            name: pool.submit(sandbox.run, job_of(code), grant_of(**limits.get(name, {})))
            for name, code in PROGRAMS.items()
        }
        outcomes = {name: future.result() for name, future in waiting.items()}
    outcomes["cancel"] = sandbox.run(job_of("import time; time.sleep(60)"), grant_of(), cancel=now)
    outcomes["nsjail's own failure"] = broken.run(job_of("pass"), grant_of())
    results = {name: _result(outcome) for name, outcome in outcomes.items()}
    assert len(set(results.values())) == len(results) == 12, results
    assert results["system call"][0] == "violated_policy"
    assert results["memory"][0] == ("killed_memory" if os.geteuid() == 0 else "failed")
    assert {outcomes[name].limits_hit for name in ("cpu", "wall", "output", "memory")} == {
        ("cpu",),
        ("wall",),
        ("output",),
        ("memory",),
    }


def _result(outcome: Outcome) -> tuple[str, int | None, int | None, tuple[str, ...]]:
    return (outcome.outcome, outcome.exit_code, outcome.signal, outcome.limits_hit)
