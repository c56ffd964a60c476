"""What a jail costs, against the bare interpreter, bubblewrap and plain nsjail; and how many run side by side.

python benchmarks/sandbox.py [--json] [--quick] [--python PATH]

The baseline of each ratio is a start of the same interpreter that runs in the jail (`python -I -c pass`), measured in turn
with everything else. `.pth` files in its site directory, which no jail runs, would make that start slow and the ratios look
good: an interpreter that takes more than twice as long with its site as without (`-I -S`, as the jail starts it) is not
measured. Without --python it is the one that runs this, or else the system's; how it starts without its site is told, too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from measuring import Figure, against, asked, interleaved, told

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
HONEST_ROUNDS = 15
MOST_FOR_SITE = 2.0
"""Times a start without its site; with nothing foreign in it, it is 1.4."""
SYSTEMS = Path("/usr/bin/python3")
COLD = 1.8
COLD_GROUPS = 2.7
THROUGHPUT = 0.8
GRANT = Grant(decision="benchmark", principal="benchmark", profile="benchmark", limits=Limits())
JOB = Job(run="benchmark", code=b"pass", file_name="program.py")


class Baseline(NamedTuple):
    """An interpreter, and how many times longer it takes with its site than without."""

    python: Path
    ratio: float

    @property
    def is_honest(self) -> bool:
        """Whether its start is what a start costs, and not what somebody put in its site directory."""
        return self.ratio <= MOST_FOR_SITE


def main() -> int:
    """Measure, print, and say by the exit code whether the targets are met."""
    parser = asked(__doc__)
    parser.add_argument("--python", type=Path, help="the interpreter in the jail")
    options = parser.parse_args()
    asked_for = [options.python] if options.python else [Path(sys.executable), SYSTEMS]
    tried = list(baselines([python for python in asked_for if python.exists()] or asked_for))
    if not tried[-1].is_honest:
        for python, ratio in tried:
            print(f"error: `{python}` starts {ratio:.1f} times slower with its site than without", file=sys.stderr)
        print("hint: see the `.pth` files of its site-packages, or give another with --python", file=sys.stderr)
        return 2
    options.python = tried[-1].python
    notes = [f"measured is `{options.python}`, {tried[-1].ratio:.2f} times slower with its site than without"]
    with tempfile.TemporaryDirectory(prefix="custody-benchmark-", dir="/var/tmp") as folder:
        figures = launches(Path(folder), options.python, QUICK_ROUNDS if options.quick else ROUNDS, notes)
        figures.append(throughput(Path(folder), options.python, QUICK_BATCHES if options.quick else BATCHES))
    return told(figures, as_json=options.json, notes=notes)


def baselines(candidates: Sequence[Path]) -> Iterator[Baseline]:
    """The interpreters up to the first whose start is an honest baseline; the last if none is."""
    for python in candidates:
        bare = str(probe_python(python).executable)
        took = interleaved(
            {
                "with": lambda bare=bare: start((bare, "-I", "-c", "pass")),  # type: ignore[misc]  # bound now
                "without": lambda bare=bare: start((bare, "-I", "-S", "-c", "pass")),  # type: ignore[misc]  # bound now
            },
            HONEST_ROUNDS,
        )
        yield (found := Baseline(python, took["with"] / took["without"]))
        if found.is_honest:
            return


def launches(folder: Path, python: Path, rounds: int, notes: list[str]) -> list[Figure]:
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
    took = interleaved(measured, rounds)
    targets = {"cold jail": COLD, "cold jail with control groups": COLD_GROUPS}
    baseline = f"`{Path(bare).name} -I -c pass`"
    return [
        against(name, took[name] / took["bare"], baseline=baseline, target=targets.get(name), runs=rounds)
        for name in measured
        if name != "bare"
    ]


def throughput(folder: Path, python: Path, batches: int) -> Figure:
    """Sixty jobs on two workers."""
    sandbox = replace_state(folder, "throughput", python, watch_commands=False, cgroups=False)
    nsjail = plain_nsjail(folder, runtime_spec(probe_python(python)))

    def batch(one: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(lambda _: one(), range(BATCH)))

        return run

    took = interleaved({"jails": batch(lambda: sandbox.run(JOB, GRANT)), "nsjail": batch(nsjail)}, batches)
    return against(
        f"{BATCH} jobs on {WORKERS} workers",
        took["nsjail"] / took["jails"],
        baseline="plain nsjail's throughput",
        target=THROUGHPUT,
        runs=batches,
        better="higher",
    )


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


def start(command: Sequence[str]) -> None:
    """One process, from its start to its end."""
    done = subprocess.run(command, env={}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]!r}")


if __name__ == "__main__":
    sys.exit(main())
