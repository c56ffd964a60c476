"""What is registered, and that a real worker takes it up from there."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from custody.errors import ConfigurationError, CustodyError
from custody.flows.house import House
from custody.flows.orchestration import CATALOGUE, Registered, register
from custody.flows.orchestration.server import PrefectServer
from custody.ledger import events
from custody.settings import Settings

from .conftest import PATIENCE, Api, Submit, kinds, last, os_user, until

pytestmark = [pytest.mark.prefect, pytest.mark.jail]


class Worker(NamedTuple):
    """A running worker."""

    process_id: int
    log: Path


@pytest.fixture(scope="session")
def registered(settings: Settings, server: PrefectServer) -> tuple[Registered, ...]:
    return register(settings, server.client)


@pytest.fixture(scope="module")
def surroundings(server: PrefectServer) -> Mapping[str, str]:
    """As an operator would set them: the address and the credential, and here a home that is not the operator's own."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(server.home),
        **server.client,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }


@pytest.fixture(scope="module")
def worker(
    registered: tuple[Registered, ...], surroundings: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker, started by the very command that registering says."""
    folder = tmp_path_factory.mktemp("worker")
    command = [sys.executable, "-m", *shlex.split(registered[0].worker_command)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=dict(surroundings), cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    yield Worker(process.pid, folder / "log")
    for ending in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, ending)
        try:
            process.wait(20)
            break
        except subprocess.TimeoutExpired:
            continue


def _finished(api: Api, flow_run: str) -> bool:
    return api.read(f"/flow_runs/{flow_run}")["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def test_what_was_registered_is_what_the_catalogue_says(registered: tuple[Registered, ...], api: Api) -> None:
    assert [(r.name, r.entrypoint, r.schedule, r.timezone) for r in registered] == [
        (d.full_name, d.entrypoint, d.cron, d.timezone) for d in CATALOGUE
    ]
    deployment = api.read("/deployments/name/daily-review/daily")
    assert (deployment["entrypoint"], deployment["paused"]) == (
        "custody.flows.orchestration.review.daily_review",
        False,
    )
    schedules = deployment["schedules"]
    assert isinstance(schedules, list)
    assert [(s["active"], s["schedule"]["cron"], s["schedule"]["timezone"]) for s in schedules] == [
        (True, "0 6 * * *", "UTC")
    ]
    limits = (deployment["global_concurrency_limit"], deployment["concurrency_options"])
    assert isinstance(limits[0], dict)
    assert isinstance(limits[1], dict)
    assert (limits[0]["limit"], limits[1]["collision_strategy"]) == (1, "CANCEL_NEW")
    pool = api.read("/work_pools/custody")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 1)


def test_registering_again_changes_nothing(
    registered: tuple[Registered, ...], settings: Settings, server: PrefectServer, api: Api
) -> None:
    before = api.read("/deployments/name/daily-review/daily")
    assert register(settings, server.client) == registered
    after = api.read("/deployments/name/daily-review/daily")
    assert (after["id"], len(after["schedules"])) == (before["id"], 1)  # type: ignore[arg-type]  # JSON of the API


def test_the_command_registers_with_the_server_that_is_named_and_puts_it_on_record(
    surroundings: Mapping[str, str], settings: Settings, registered: tuple[Registered, ...], house: House
) -> None:
    before = house.ledger.count(kinds=("schedule:registered",))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "custody"), "deploy", "--json"],
        env={**surroundings, "CUSTODY_HOME": str(settings.home)},
        check=False,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert [d["name"] for d in json.loads(done.stdout)["deployments"]] == [r.name for r in registered]
    assert house.ledger.count(kinds=("schedule:registered",)) == before + len(registered)
    on_record = last(house, "schedule:registered").event
    assert isinstance(on_record, events.ScheduleRegistered)
    assert (on_record.deployment, on_record.by) == (registered[-1].name, os_user())


def test_without_a_server_nothing_is_registered(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="no Prefect server is named"):
        register(settings, {})


def test_a_server_that_is_not_there_is_an_error(settings: Settings) -> None:
    with pytest.raises(CustodyError, match="ConnectError"):
        register(settings, {"PREFECT_API_URL": "http://127.0.0.1:9/api"})


def test_a_worker_takes_up_a_scheduled_review_and_it_is_rendered(
    worker: Worker, api: Api, house: House, settings: Settings
) -> None:
    due = datetime.now(UTC) - timedelta(seconds=1)
    scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
    deployment = api.read("/deployments/name/daily-review/daily")["id"]
    flow_run = str(api.post(f"/deployments/{deployment}/create_flow_run", {"state": scheduled})["id"])
    until(worker.process_id, lambda: _finished(api, flow_run))
    found = api.read(f"/flow_runs/{flow_run}")
    assert found["state_type"] == "COMPLETED", worker.log.read_text()
    done = last(house, "review:completed").event
    assert isinstance(done, events.ReviewCompleted)
    assert done.conductor == "prefect"
    window = [datetime.fromisoformat(time) for time in (done.since, done.until)]
    assert window[1] - window[0] == timedelta(days=1)
    assert abs(window[1] - due) < timedelta(seconds=1)
    assert (settings.home / "reviews" / done.review / "review.html").stat().st_size > 1000


def test_a_flow_run_that_prefect_retries_runs_nothing(
    worker: Worker, api: Api, house: House, submit: Submit, surroundings: Mapping[str, str], tmp_path: Path
) -> None:
    run = submit("print('once')\n")
    deployment = api.read("/deployments/name/gated-run/by-id")["id"]
    flow_run = str(api.post(f"/deployments/{deployment}/create_flow_run", {"parameters": {"run": run}})["id"])
    until(worker.process_id, lambda: _finished(api, flow_run))
    assert api.read(f"/flow_runs/{flow_run}")["state_name"] == "Succeeded", worker.log.read_text()
    whole_way = kinds(house, run)
    command = [sys.executable, "-m", "prefect", "flow-run", "retry", flow_run]
    subprocess.run(command, env=dict(surroundings), cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    until(worker.process_id, lambda: api.read(f"/flow_runs/{flow_run}")["run_count"] == 2 and _finished(api, flow_run))
    assert api.read(f"/flow_runs/{flow_run}")["state_name"] == "Already claimed"
    assert kinds(house, run) == [*whole_way, "access:denied"]
    assert (whole_way.count("run:claimed"), whole_way.count("run:finished")) == (1, 1)


def test_a_flow_run_that_prefect_cancels_leaves_no_program_and_no_run_without_its_end(
    worker: Worker, api: Api, house: House, submit: Submit
) -> None:
    run = submit("import time\ntime.sleep(300)\n")
    deployment = api.read("/deployments/name/gated-run/by-id")["id"]
    flow_run = str(api.post(f"/deployments/{deployment}/create_flow_run", {"parameters": {"run": run}})["id"])
    until(worker.process_id, lambda: "run:started" in kinds(house, run))
    api.post(f"/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    until(worker.process_id, lambda: _finished(api, flow_run))
    assert api.read(f"/flow_runs/{flow_run}")["state_name"] == "Cancelled", worker.log.read_text()
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert (finished.end, finished.outcome) == ("executed", "cancelled")
