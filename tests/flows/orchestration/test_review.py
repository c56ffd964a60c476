"""A review that Prefect conducts: the same review, by a principal that nobody who reaches Prefect can choose."""

from datetime import timedelta

import pytest

from custody.errors import CustodyError, Exit
from custody.flows.house import House
from custody.flows.orchestration.conductor import OwnConductor
from custody.ledger import events
from custody.settings import Settings

from .conftest import Api, last, os_user

pytestmark = pytest.mark.prefect


@pytest.mark.parametrize("service", ["reviewer", ""])
def test_a_window_is_judged_and_rendered(
    conductor: OwnConductor, house: House, settings: Settings, api: Api, service: str
) -> None:
    until = house.clock() + timedelta(seconds=1)
    conductor.review(since=until - timedelta(hours=1), until=until, principal=service)
    entry = last(house, "review:completed")
    done = entry.event
    assert isinstance(done, events.ReviewCompleted)
    assert (entry.actor, done.conductor) == (service or os_user(), "prefect")
    assert (settings.home / "reviews" / done.review / "review.html").stat().st_size > 1000
    [found] = api.flow_runs(f"daily-review/{until.isoformat()[:40]}")
    assert found["state_type"] == "COMPLETED"
    assert set(found["parameters"]) == {"since", "until", "timezone"}  # type: ignore[call-overload]  # JSON of the API


@pytest.mark.parametrize(
    ("principal", "code"),
    [
        (os_user(), Exit.FAILURE),  # a person: only services can be acted for
        ("nobody", Exit.FAILURE),
        ("bystander", Exit.DENIED),  # a service without the role
    ],
)
def test_only_a_service_that_may_review_can_be_acted_for(
    conductor: OwnConductor, house: House, principal: str, code: Exit
) -> None:
    until = house.clock()
    reviews = house.ledger.count(kinds=("review:completed",))
    with pytest.raises(CustodyError) as refused:
        conductor.review(since=until - timedelta(hours=1), until=until, principal=principal)
    assert refused.value.exit_code == code
    assert house.ledger.count(kinds=("review:completed",)) == reviews


def test_a_window_without_time_is_refused(conductor: OwnConductor, house: House) -> None:
    time = house.clock()
    with pytest.raises(CustodyError) as refused:
        conductor.review(since=time, until=time, principal="reviewer")
    assert refused.value.exit_code == Exit.USAGE
