"""One home, one Prefect server and one process that runs flows for all tests here.

Nothing in this folder imports Prefect into the tests' own process: so neither its warnings nor its settings come in, and the profile of whoever
runs the tests is never read.
"""

import base64
import os
import pwd
import select
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx
import pytest

from custody.flows import conduct
from custody.flows.house import House, open_house
from custody.flows.orchestration.conductor import OwnConductor, own_conductor
from custody.flows.orchestration.server import PrefectServer
from custody.flows.setup import initialise
from custody.ledger import Entry
from custody.policies import Directory
from custody.policies.types import HostRequest, RunRequest
from custody.settings import Settings, load_settings

PATIENCE = 120.0
"""Seconds within which what is waited for must have come; nothing here takes more than a few."""


_SERVICES = """
[services.reviewer]
owner = "{owner}"
roles = ["auditor"]

[services.bystander]
owner = "{owner}"
"""


class Submit(Protocol):
    """Puts a program into the ledger for Prefect."""

    def __call__(self, code: str, *, hosts: tuple[HostRequest, ...] = ()) -> str:
        """Its run."""


def os_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


@dataclass(frozen=True)
class Api:
    """Prefect's API as any HTTP client sees it."""

    client: httpx.Client

    def read(self, path: str) -> dict[str, object]:
        answer = self._ask("GET", path)
        assert isinstance(answer, dict)
        return answer

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        answer = self._ask("POST", path, dict(body))
        assert isinstance(answer, dict)
        return answer

    def flow_runs(self, name: str) -> list[dict[str, object]]:
        wanted = {"flow_runs": {"name": {"any_": [name]}}}
        answer = self._ask("POST", "/flow_runs/filter", wanted)
        assert isinstance(answer, list)
        return answer

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        """Ask again while the server says 503: on SQLite that is its word for "locked just now", and every client of it repeats."""
        for attempt in range(1, 11):
            answer = self.client.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            select.select([], [], [], 0.2 * attempt)
        return answer.raise_for_status().json()


def basic(credential: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(credential.encode()).decode()}"}


def until(process_id: int, come: Callable[[], bool]) -> None:
    """Wait for something that a process is to bring about; fail at once if the process ends."""
    watch = os.pidfd_open(process_id)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    try:
        for _ in range(int(PATIENCE / 0.2)):
            if come():
                return
            assert not poll.poll(200), "the process ended before it came"
        pytest.fail("it did not come")
    finally:
        os.close(watch)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("prefect")
    home = folder / "home"
    initialise(
        home,
        os_user=os_user(),
        directory=f"{Directory.starter(os_user())}\n{_SERVICES.format(owner=os_user())}",
        configuration=f'\n[ledger]\npin_directory = "{folder / "pins"}"\n',
    )
    return load_settings(home)


@pytest.fixture(scope="session")
def conductor(settings: Settings) -> Iterator[OwnConductor]:
    with own_conductor(settings, progress=print) as running:
        running.server.wait()
        yield running


@pytest.fixture(scope="session")
def server(conductor: OwnConductor) -> PrefectServer:
    return conductor.server


@pytest.fixture(scope="session")
def api(server: PrefectServer) -> Iterator[Api]:
    url = server.client["PREFECT_API_URL"]
    with httpx.Client(base_url=url, headers=basic(server.client["PREFECT_API_AUTH_STRING"]), trust_env=False) as client:
        yield Api(client)


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    with open_house(settings) as opened:
        yield opened


@pytest.fixture
def submit(house: House) -> Submit:
    """Puts a program into the ledger for Prefect, and gives its run."""

    def put(code: str, *, hosts: tuple[HostRequest, ...] = ()) -> str:
        principal = house.directory.by_os_user(os_user())
        request = RunRequest(principal=principal, code=code.encode(), file_name="program.py", hosts=hosts)
        passage = conduct.submit(house, request)
        assert passage.result is None
        return passage.run

    return put


def kinds(house: House, run: str) -> list[str]:
    return [entry.kind for entry in house.ledger.entries(run=run)]


def last(house: House, kind: str, run: str | None = None) -> Entry:
    return next(house.ledger.entries(run=run, kinds=(kind,), newest_first=True))
