"""What it costs to ask the command line for help, against the start of an empty interpreter.

python benchmarks/cli.py [--json] [--quick | --rounds N]
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from measuring import Figure, against, asked, interleaved, told

ROUNDS = 60
QUICK_ROUNDS = 30
TARGET = 12.0
BASELINE = (sys.executable, "-I", "-c", "pass")
CUSTODY = str(Path(sys.executable).with_name("custody"))
MEASURED = {
    "custody --help": (CUSTODY, "--help"),
    "custody --version": (CUSTODY, "--version"),
}


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    parser = asked(__doc__)
    parser.add_argument("--rounds", type=int, help="that many rounds")
    options = parser.parse_args()
    return told(measure(options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)), as_json=options.json)


def measure(rounds: int) -> list[Figure]:
    """The baseline and everything else in turn."""
    with tempfile.TemporaryDirectory() as bytecode:
        # compiled modules are kept, as they are for everybody who did not switch that off
        environment = {"PATH": "/usr/bin:/bin", "HOME": bytecode, "LANG": "C.UTF-8", "PYTHONPYCACHEPREFIX": bytecode}
        commands: Mapping[str, Callable[[], object]] = {
            name: partial(start, command, environment) for name, command in {"baseline": BASELINE, **MEASURED}.items()
        }
        took = interleaved(commands, rounds)
    return [
        against(name, took[name] / took["baseline"], baseline="`python -I -c pass`", target=TARGET, runs=rounds)
        for name in MEASURED
    ]


def start(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """One process from start to end."""
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    sys.exit(main())
