"""A run that Prefect conducts: the same entries as by the other conductor, nothing of it in Prefect, and never twice."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from custody.errors import CustodyError, Exit
from custody.flows.house import House
from custody.flows.orchestration.conductor import OwnConductor, Performer
from custody.flows.orchestration.orders import Kind, Order
from custody.flows.orchestration.server import PrefectServer
from custody.ledger import events
from custody.policies.types import HostRequest
from custody.settings import Settings

from .conftest import PATIENCE, Api, Submit, kinds, last, until

pytestmark = [pytest.mark.prefect, pytest.mark.jail]

_WHOLE_WAY = ["run:submitted", "policy:decided", "policy:decided", "run:claimed", "run:started", "run:finished"]


def test_a_submitted_run_goes_all_the_way(conductor: OwnConductor, house: House, submit: Submit, api: Api) -> None:
    run = submit("print('hello')\n")
    conductor.run(run)
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert (finished.end, finished.outcome) == ("executed", "succeeded")
    assert kinds(house, run) == _WHOLE_WAY
    claimed = last(house, "run:claimed", run).event
    assert isinstance(claimed, events.RunClaimed)
    assert claimed.conductor == "prefect"
    [found] = api.flow_runs(f"gated-run/{run}")
    assert (found["state_type"], found["state_name"]) == ("COMPLETED", "Succeeded")
    assert (found["parameters"], found["tags"]) == ({"run": run}, ["custody"])


def test_a_pin_is_kept_of_a_run_that_prefect_conducts_too(
    conductor: OwnConductor, house: House, submit: Submit
) -> None:
    run = submit("print('to be pinned')\n", hosts=(HostRequest("nobody-granted.example.com", 443),))
    conductor.run(run)
    folder = house.settings.ledger.pin_directory
    assert folder is not None
    _origin, size, *_rest = (folder / "latest.note").read_text().split("\n")
    assert last(house, "run:finished", run).index < int(size)


def test_each_step_is_a_task_that_can_be_seen(
    conductor: OwnConductor, submit: Submit, api: Api, server: PrefectServer
) -> None:
    run = submit("print('seen')\n")
    conductor.run(run)
    [found] = api.flow_runs(f"gated-run/{run}")

    def names() -> list[str]:
        wanted = {"flow_runs": {"id": {"any_": [found["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [task["name"] for task in api.client.post("/task_runs/filter", json=wanted).json()]

    until(server.process_id, lambda: sorted(names()) == ["audit", "build", "decide", "execute", "resolve"])


def test_neither_code_nor_output_reaches_prefect(
    conductor: OwnConductor, house: House, submit: Submit, server: PrefectServer, settings: Settings
) -> None:
    run = submit(
        "bait = 'cheese-in-the-code'\nprint('cheese-in-' + 'the-output')\nraise ValueError('cheese-in-' + 'the-error')\n"
    )
    conductor.run(run)
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert finished.outcome == "failed"
    stored = b"".join(
        path.read_bytes() for path in server.home.rglob("*") if path.is_file() and "page" not in path.parts
    )
    assert run.encode() in stored, "the search looks at the right files"
    assert b"cheese-in-" not in stored


def test_prefect_conducting_it_again_meets_the_claim(
    conductor: OwnConductor, house: House, submit: Submit, api: Api
) -> None:
    run = submit("print('once')\n")
    conductor.run(run)
    conductor.run(run)
    assert kinds(house, run) == [*_WHOLE_WAY, "access:denied"]
    states = sorted(str(found["state_name"]) for found in api.flow_runs(f"gated-run/{run}"))
    assert states == ["Already claimed", "Succeeded"]


def test_a_denied_run_is_a_flow_that_did_its_work(
    conductor: OwnConductor, house: House, submit: Submit, api: Api
) -> None:
    run = submit("print('never')\n", hosts=(HostRequest("nobody-granted.example.com", 443),))
    conductor.run(run)
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert (finished.end, finished.started) == ("denied", False)
    [found] = api.flow_runs(f"gated-run/{run}")
    assert (found["state_type"], found["state_name"]) == ("COMPLETED", "Denied")


@pytest.mark.parametrize(
    "text", ["run-20200101T000000-0000000000", "../../etc/passwd", "print('code instead of an id')"]
)
def test_what_is_no_run_changes_nothing(conductor: OwnConductor, house: House, text: str) -> None:
    before = house.ledger.size
    with pytest.raises(CustodyError) as refused:
        conductor.run(text)
    assert refused.value.exit_code == Exit.USAGE
    assert house.ledger.size == before


def test_the_run_of_a_home_without_a_jail_is_unavailable(
    settings: Settings, server: PrefectServer, house: House, submit: Submit, api: Api
) -> None:
    run = submit("print('never')\n")
    missing = settings.model_copy(
        update={"sandbox": settings.sandbox.model_copy(update={"nsjail": settings.home / "no-nsjail"})}
    )
    broken = Performer(missing, server.client)
    broken.start()
    try:
        broken.perform(Order(kind=Kind.RUN, values={"run": run}))
    finally:
        broken.stop()
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert (finished.end, finished.started) == ("unavailable", False)
    [found] = api.flow_runs(f"gated-run/{run}")
    assert (found["state_type"], found["state_name"]) == ("FAILED", "Unavailable")


def test_a_run_whose_flow_was_killed_is_closed_as_unknown_and_never_run_again(
    conductor: OwnConductor, settings: Settings, server: PrefectServer, house: House, submit: Submit
) -> None:
    run = submit("import time\ntime.sleep(300)\n")
    doomed = Performer(settings, server.client)
    doomed.start()
    killer = threading.Thread(
        target=_when_started, args=(house, run, lambda: os.kill(doomed.process_id, signal.SIGKILL))
    )
    killer.start()
    with pytest.raises(CustodyError, match="ended with status -9"):
        doomed.perform(Order(kind=Kind.RUN, values={"run": run}))
    killer.join()
    conductor.run(run)
    assert kinds(house, run)[-3:] == ["run:started", "run:finished", "access:denied"]
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert (finished.end, finished.started, finished.outcome) == ("unknown", True, "unknown")


def test_an_interrupt_kills_the_jail_and_the_run_has_its_end(
    conductor: OwnConductor, house: House, submit: Submit
) -> None:
    run = submit("import time\ntime.sleep(50)\n")
    watcher = threading.Thread(target=_when_started, args=(house, run, lambda: os.kill(os.getpid(), signal.SIGINT)))
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        conductor.run(run)
    watcher.join()
    finished = last(house, "run:finished", run).event
    assert isinstance(finished, events.RunFinished)
    assert (finished.end, finished.outcome) == ("executed", "cancelled")
    after = submit("print('the process still runs flows')\n")
    conductor.run(after)
    assert kinds(house, after) == _WHOLE_WAY


def _when_started(house: House, run: str, act: Callable[[], None]) -> None:
    """Do it once the program runs; or anyway, so that nothing waits for ever."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.1)):
        if "run:started" in kinds(house, run):
            break
        pause.wait(0.1)
    act()
