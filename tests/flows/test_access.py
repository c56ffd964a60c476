"""Whoever reads leaves an entry; whoever may not leaves one too."""

import pytest

from custody.errors import CustodyError, Exit, UsageError
from custody.flows.access import identify, list_runs, read_log, show_run
from custody.flows.house import House
from custody.ledger import events

from .conftest import Ask, go, kinds, named


def test_reading_the_log_is_on_record_before_it_is_given(house: House) -> None:
    found = read_log(house, named(house, "alice"), limit=5)
    newest = next(house.ledger.entries(newest_first=True)).event
    assert isinstance(newest, events.LedgerRead)
    assert (newest.first, newest.last, newest.entries) == (found[0].index, found[-1].index, 5)


@pytest.mark.parametrize("who", ["scout", "bob", "gone"])
def test_who_may_not_read_is_refused_and_recorded(house: House, who: str) -> None:
    with pytest.raises(CustodyError) as caught:
        read_log(house, named(house, who))
    assert caught.value.exit_code == Exit.DENIED
    newest = next(house.ledger.entries(newest_first=True)).event
    assert isinstance(newest, events.AccessDenied)
    assert (newest.action, newest.source) == ("readAudit", who)


def test_an_unknown_os_user_is_an_unknown_principal(house: House) -> None:
    stranger = identify(house, "mallory", "os-user")
    assert not stranger.known
    with pytest.raises(CustodyError):
        read_log(house, stranger)


@pytest.mark.jail
def test_an_agent_sees_its_own_runs_and_no_others(house: House, ask: Ask) -> None:
    own, other = go(house, ask(who="scout")), go(house, ask(who="alice"))
    assert [summary.run for summary in list_runs(house, named(house, "scout"))] == [own.run]
    assert {summary.run for summary in list_runs(house, named(house, "alice"))} == {own.run, other.run}
    assert [entry.kind for entry in show_run(house, named(house, "scout"), own.run)] == kinds(house, own.run)
    with pytest.raises(CustodyError):
        show_run(house, named(house, "scout"), other.run)


def test_a_run_that_is_not_there_is_said(house: House) -> None:
    with pytest.raises(UsageError, match="no run"):
        show_run(house, named(house, "alice"), "run-0")
