"""What a jail costs, against the bare interpreter, bubblewrap and plain nsjail; and how many run side by side.

python benchmarks/sandbox.py [--json] [--quick] [--python PATH]

The baseline of each ratio is a start of the same interpreter that runs in the jail (`python -I -c pass`), measured in turn
with everything else. A site directory with slow `.pth` files makes that start slow and the ratios look good; what the
interpreter costs without its site (`-I -S`, which is how the jail starts it) is printed beside it.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from custody.policies.types import Access, Grant, Limits, MountRequest
from custody.sandbox import JailSettings, Job, Sandbox
from custody.sandbox.binary import find_nsjail
from custody.sandbox.runtime import Runtime, probe_python, runtime_mounts
from custody.sandbox.spec import Bind, JailSpec, Link, Proc, Rlimits, Tmpfs, render

ROUNDS = 40
QUICK_ROUNDS = 15
BATCH = 60
BATCHES = 5
QUICK_BATCHES = 3
WORKERS = 2
COLD = 1.8
COLD_GROUPS = 2.7
THROUGHPUT = 0.8
GRANT = Grant(decision="benchmark", principal="benchmark", profile="benchmark", limits=Limits())
JOB = Job(run="benchmark", code=b"pass", file_name="program.py")

Measured = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One ratio of interleaved medians."""

    name: str
    value: float
    baseline: str
    target: float | None
    """None: shown beside the others, not judged."""
    better: str
    runs: int
    ok: bool


def main() -> int:
    """Measure, print, and say by the exit code whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a rough answer in half a minute")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter in the jail")
    asked = parser.parse_args()
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="custody-benchmark-", dir="/var/tmp") as folder:
        rounds = QUICK_ROUNDS if asked.quick else ROUNDS
        results = launches(Path(folder), asked.python, rounds, notes)
        results += throughput(Path(folder), asked.python, QUICK_BATCHES if asked.quick else BATCHES)
    if asked.json:
        print(json.dumps({"machine": machine(), "results": [asdict(r) for r in results], "notes": notes}, indent=2))
    else:
        for result in results:
            target = f", target {'<=' if result.better == 'lower' else '>='} {result.target}" if result.target else ""
            verdict = "" if result.target is None else ": ok" if result.ok else ": MISSED"
            print(f"{result.name}: {result.value:.2f} x {result.baseline}{target}{verdict}")
        for note in notes:
            print(f"note: {note}")
    return 0 if all(result.ok for result in results) else 1


def launches(folder: Path, python: Path, rounds: int, notes: list[str]) -> list[Result]:
    """One start after the other."""
    runtime = probe_python(python)
    bare = str(runtime.executable)
    root = os.geteuid() == 0
    plain = replace_state(folder, "plain", python, watch_commands=False, cgroups=False)
    measured: dict[str, Callable[[], object]] = {
        "bare": lambda: start((bare, "-I", "-c", "pass")),
        "bare, without its site": lambda: start((bare, "-I", "-S", "-c", "pass")),
        "plain nsjail, same mounts": plain_nsjail(folder, runtime_spec(runtime)),
        "cold jail": lambda: plain.run(JOB, GRANT),
    }
    if shutil.which("bwrap"):
        measured["bubblewrap, same mounts"] = bubblewrap(runtime_spec(runtime))
    else:
        notes.append("bubblewrap is not installed, and was not measured: make system installs it")
    if root:
        grouped = replace_state(folder, "grouped", python, watch_commands=False, cgroups=None)
        commands = replace_state(folder, "commands", python, watch_commands=True, cgroups=False)
        measured["cold jail with control groups"] = lambda: grouped.run(JOB, GRANT)
        measured["cold jail, commands watched by process events"] = lambda: commands.run(JOB, GRANT)
    else:
        notes.append("control groups and the kernel's watches need root, and were not measured")
    traced = replace_state(folder, "traced", python, watch_commands=True, cgroups=False)
    traced._process_events = False  # noqa: SLF001 - its seam: root would not trace
    measured["cold jail, commands watched by a trace"] = lambda: traced.run(JOB, GRANT)
    for name, access in (("files watched in a granted mount", Access.READ), ("and changes listed in it", Access.WRITE)):
        measured[f"cold jail, {name}"] = mounted(plain, folder, access)
    times = interleaved(measured, rounds)
    targets = {"cold jail": COLD, "cold jail with control groups": COLD_GROUPS}
    return [
        ratio(name, times[name], times["bare"], f"`{Path(bare).name} -I -c pass`", targets.get(name), rounds)
        for name in measured
        if name != "bare"
    ]


def throughput(folder: Path, python: Path, batches: int) -> list[Result]:
    """Sixty jobs on two workers."""
    sandbox = replace_state(folder, "throughput", python, watch_commands=False, cgroups=False)
    nsjail = plain_nsjail(folder, runtime_spec(probe_python(python)))

    def batch(one: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(lambda _: one(), range(BATCH)))

        return run

    times = interleaved({"jails": batch(lambda: sandbox.run(JOB, GRANT)), "nsjail": batch(nsjail)}, batches)
    value = statistics.median(times["nsjail"]) / statistics.median(times["jails"])
    return [
        Result(
            name=f"{BATCH} jobs on {WORKERS} workers",
            value=round(value, 2),
            baseline="plain nsjail's throughput",
            target=THROUGHPUT,
            better="higher",
            runs=batches,
            ok=value >= THROUGHPUT,
        )
    ]


def replace_state(folder: Path, name: str, python: Path, *, watch_commands: bool, cgroups: bool | None) -> Sandbox:
    """A sandbox with a state of its own."""
    return Sandbox(JailSettings(state=folder / name, python=python, watch_commands=watch_commands, cgroups=cgroups))


def mounted(sandbox: Sandbox, folder: Path, access: Access) -> Callable[[], object]:
    """The jail with a small granted tree; as root its files are watched."""
    tree = folder / f"tree-{access}"
    tree.mkdir()
    for number in range(20):
        (tree / f"{number}").write_bytes(b"x" * 1000)
    grant = replace(GRANT, mounts=(MountRequest(path=str(tree), access=access, target="tree"),))
    return lambda: sandbox.run(JOB, grant)


def runtime_spec(runtime: Runtime) -> JailSpec:
    """The least that nsjail needs for this interpreter: same mounts, no filter, no first process, nothing watched."""
    mounts = (
        *runtime_mounts(runtime),
        Proc(),
        *(Bind(Path(node), node, device=True) for node in ("/dev/null", "/dev/zero", "/dev/urandom")),
        Tmpfs("/tmp", 1 << 26, 4096, mode=0o1777),  # noqa: S108 - inside the jail
        Tmpfs("/work", 1 << 26, 4096),
    )
    limits = Rlimits(address_space_mib=None, cpu_seconds=60, file_size_mib=64, open_files=256, processes=64)
    return JailSpec(
        command=(str(runtime.executable), "-I", "-c", "pass"),
        environment=(("LANG", "C.UTF-8"),),
        mounts=mounts,
        rlimits=limits,
        wall_seconds=60,
        seccomp="",
    )


def plain_nsjail(folder: Path, spec: JailSpec) -> Callable[[], object]:
    """Plain nsjail with a configuration file; as this very user outside, who may read everything it is to mount."""
    configuration = folder / "plain.cfg"
    configuration.write_text(render(spec))
    user = os.getuid()
    command = (
        str(find_nsjail(None).path), "-L", "2", "-C", str(configuration), "-u", f"1000:{user}:1", "-g", f"1000:{os.getgid()}:1",
    )  # fmt: skip
    return lambda: start(command)


def bubblewrap(spec: JailSpec) -> Callable[[], object]:
    """Bubblewrap with the same mounts and every namespace."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv"]
    for mount in spec.mounts:
        match mount:
            case Bind(device=True):
                words += ["--dev-bind", str(mount.source), mount.target]
            case Bind():
                words += ["--ro-bind", str(mount.source), mount.target]
            case Link():
                words += ["--symlink", mount.to, mount.target]
            case Proc():
                words += ["--proc", mount.target]
            case Tmpfs():
                words += ["--tmpfs", mount.target]
            case _:
                pass
    return lambda: start((*words, *spec.command))


def interleaved(measured: Measured, rounds: int) -> dict[str, list[float]]:
    """Everything in turn, so that what else the machine does meets all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    for number, (name, one) in itertools.product(range(rounds + 1), measured.items()):
        began = time.perf_counter()
        one()
        if number:  # the first round warms up
            times[name].append(time.perf_counter() - began)
    return times


def ratio(
    name: str, times: Sequence[float], base: Sequence[float], baseline: str, target: float | None, runs: int
) -> Result:
    """How many times the baseline."""
    value = statistics.median(times) / statistics.median(base)
    return Result(
        name=name,
        value=round(value, 2),
        baseline=baseline,
        target=target,
        better="lower",
        runs=runs,
        ok=target is None or value <= target,
    )


def start(command: Sequence[str]) -> None:
    """One process, from its start to its end."""
    done = subprocess.run(command, env={}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]!r}")


def machine() -> dict[str, object]:
    """What it was measured on."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
    }


if __name__ == "__main__":
    sys.exit(main())
