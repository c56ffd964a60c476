"""Runs for the tests of flows: small programs, asked for by principals of the test directory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from custody.flows.conduct import run_directly
from custody.flows.house import House
from custody.flows.passage import Result
from custody.ledger import Ledger
from custody.policies.types import Limits, Principal, RunRequest

Ask = Callable[..., RunRequest]
SMALL = Limits(wall_seconds=10, cpu_seconds=10, memory_mib=128, processes=16, output_kib=64)
HIDDEN = "import base64\nexec(base64.b64decode('cHJpbnQoNDIp'))\n" + "# " + "x7Qp2mZk9Lw4" * 30 + "\n"


def named(house: House, name: str) -> Principal:
    """A principal of the test directory."""
    principal = house.directory.principal(name)
    assert principal is not None
    return principal


def request_of(
    house: House, code: str | bytes = "print('hello')\n", *, who: str = "alice", **changes: object
) -> RunRequest:
    """A request of a principal of the test directory."""
    request = RunRequest(
        principal=named(house, who),
        code=code if isinstance(code, bytes) else code.encode(),
        file_name="program.py",
        limits=SMALL,
        profile=str(changes.pop("profile", "default")),
    )
    return replace(request, **changes)  # type: ignore[arg-type]  # tests name fields of RunRequest


@pytest.fixture
def ask(house: House) -> Ask:
    """Builds a request."""
    return partial(request_of, house)


def kinds(house: House, run: str) -> list[str]:
    """The kinds of a run's entries, in order."""
    return [entry.kind for entry in house.ledger.entries(run=run)]


def go(house: House, request: RunRequest) -> Result:
    """Take a request all the way."""
    return run_directly(house, request)


@pytest.fixture
def quick_writer() -> Iterator[Callable[[House], House]]:
    """The same home, with a ledger that gives up waiting for another writer after a second."""
    opened = []

    def reopen(house: House) -> House:
        ledger = Ledger.open(house.places.ledger, redactor=house.redactor, wait_seconds=1)
        opened.append(ledger)
        return replace(house, ledger=ledger)

    yield reopen
    for ledger in opened:
        ledger.close()
