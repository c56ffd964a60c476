"""What it costs to ask the command line for help, against the start of an empty interpreter.

python benchmarks/cli.py [--json] [--quick | --rounds N]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROUNDS = 60
QUICK_ROUNDS = 30
TARGET = 12.0
BASELINE = (sys.executable, "-I", "-c", "pass")
CUSTODY = str(Path(sys.executable).with_name("custody"))
MEASURED = {
    "custody --help": (CUSTODY, "--help"),
    "custody --version": (CUSTODY, "--version"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One ratio of interleaved medians."""

    name: str
    value: float
    baseline: str
    target: float
    better: str
    runs: int
    ok: bool


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--rounds", type=int, help="that many rounds")
    options = parser.parse_args()
    results = measure(options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS))
    if options.json:
        print(json.dumps({"machine": machine(), "results": [asdict(result) for result in results]}, indent=2))
    else:
        for result in results:
            verdict = "ok" if result.ok else "TOO SLOW"
            print(f"{result.name}: {result.value:.1f} x `{result.baseline}`, target {result.target:.0f}: {verdict}")
    return 0 if all(result.ok for result in results) else 1


def measure(rounds: int) -> list[Result]:
    """Time the baseline and everything else in turn, so that what else the machine does meets all of them alike."""
    commands = {"baseline": BASELINE, **MEASURED}
    with tempfile.TemporaryDirectory() as bytecode:
        # compiled modules are kept, as they are for everybody who did not switch that off
        environment = {"PATH": "/usr/bin:/bin", "HOME": bytecode, "LANG": "C.UTF-8", "PYTHONPYCACHEPREFIX": bytecode}
        for command in commands.values():
            seconds(command, environment)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(command, environment))
    base = statistics.median(times["baseline"])
    return [
        Result(
            name=name,
            value=round(statistics.median(times[name]) / base, 2),
            baseline="python -I -c pass",
            target=TARGET,
            better="lower",
            runs=rounds,
            ok=statistics.median(times[name]) / base <= TARGET,
        )
        for name in MEASURED
    ]


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long one process takes from start to end."""
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def machine() -> dict[str, object]:
    """What it was measured on."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
