"""Jails for tests: as the user who runs them, and as an unprivileged user where root runs them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from custody.policies.types import Grant, Limits
from custody.sandbox import JailSettings, Job, Outcome, Sandbox
from tests.sandbox.another_user import ask, furnish

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
        furnish(home, Path(__file__).parent / "runs_jobs.py")

        def run_all(jobs: Sequence[tuple[Job, Grant]]) -> list[Outcome]:
            outcomes: list[Outcome] = ask(home, "runs_jobs.py", list(jobs), timeout=120)  # type: ignore[assignment]  # that is what the script writes
            return outcomes

        yield run_all
    finally:
        shutil.rmtree(home)
