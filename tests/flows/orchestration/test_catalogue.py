"""The catalogue and the code agree, and Prefect stays where it is."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import custody
from custody.flows.orchestration import CATALOGUE
from custody.flows.orchestration.catalogue import Collision
from custody.flows.orchestration.surroundings import client_surroundings

ROOMS = Path(custody.__file__).parent
HERE = ROOMS / "flows" / "orchestration"


def _modules(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(_walk(folder)):
        if "programs" not in path.parts:
            yield path, ast.parse(path.read_bytes())


def _walk(folder: Path) -> Iterator[Path]:
    """Every Python file, through the links to the rooms."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            yield from _walk(path)
        elif path.suffix == ".py":
            yield path


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        match node:
            case ast.Import():
                yield from (name.name for name in node.names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name


def test_nothing_outside_this_room_imports_prefect() -> None:
    importers = {
        path
        for path, module in _modules(ROOMS)
        if any(name.partition(".")[0] == "prefect" for name in _imported(module))
    }
    assert importers, "the search finds imports"
    assert {path.parent for path in importers} == {HERE}


def test_every_flow_and_task_is_a_coroutine_function() -> None:
    found = {}
    for path, module in _modules(HERE):
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
                if names & {"flow", "task"}:
                    found[f"{path.stem}.{node.name}"] = isinstance(node, ast.AsyncFunctionDef)
    assert {"gated_run.gated_run", "review.daily_review"} <= set(found)
    assert [name for name, asynchronous in found.items() if not asynchronous] == []


def test_the_face_of_the_room_does_not_load_prefect() -> None:
    code = "import sys, custody.flows.orchestration; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_COMPARE = """
from prefect.cache_policies import NO_CACHE
from custody.flows import pipeline
from custody.flows.orchestration.catalogue import CATALOGUE
from custody.flows.orchestration.gated_run import TASKS, gated_run
from custody.flows.orchestration.review import ask_freshness, daily_review, judge_window
from prefect.utilities.importtools import import_object

assert list(TASKS) == list(pipeline.STEPS), "a step without its task"
for task in (*TASKS.values(), ask_freshness, judge_window):
    assert task.cache_policy is NO_CACHE, task.name
    assert task.persist_result is False, task.name
retries = {task.name: task.retries for task in TASKS.values()}
assert retries == {"resolve": 0, "audit": 2, "decide": 0, "build": 1, "execute": 0}, retries
for deployment in CATALOGUE:
    flow = import_object(deployment.entrypoint)
    assert flow.name == deployment.flow
    assert (flow.retries, flow.persist_result, flow.log_prints) == (0, False, False)
    assert flow.timeout_seconds
"""


@pytest.mark.prefect
def test_every_step_has_its_task_and_every_deployment_its_flow(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **client_surroundings(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _COMPARE], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_scheduled_flow_never_piles_up_and_a_gated_run_is_never_dropped() -> None:
    assert {d.full_name: (d.collision, bool(d.cron)) for d in CATALOGUE} == {
        "daily-review/daily": (Collision.CANCEL_NEW, True),
        "gated-run/by-id": (Collision.ENQUEUE, False),
    }
