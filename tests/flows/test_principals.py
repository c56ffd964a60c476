"""The directory is changed as a whole, decided and on record, and stays as people wrote it."""

import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.errors import CustodyError, Exit, PolicyError, UsageError
from custody.flows.house import House, open_house
from custody.flows.principals import NewPrincipal, add_principal, disable_principal, list_principals
from custody.ledger import events
from custody.policies import Directory
from custody.policies.types import PrincipalKind
from tests.conftest import DIRECTORY, MakeHome

from .conftest import Ask, go, named

AGENT = NewPrincipal(name="helper.bot", kind=PrincipalKind.AGENT, owner="bob", os_user="helper", roles=("developer",))


def newest(house: House) -> events.Event:
    event = next(house.ledger.entries(newest_first=True)).event
    assert event is not None
    return event


def test_an_added_principal_is_in_the_file_and_on_record(house: House) -> None:
    path = house.places.directory
    mode = stat.S_IMODE(path.stat().st_mode)
    entry = add_principal(house, named(house, "alice"), AGENT)
    assert path.read_text().startswith(DIRECTORY.rstrip())
    assert stat.S_IMODE(path.stat().st_mode) == mode
    added = Directory.from_file(path).by_os_user("helper")
    assert (added.id, added.kind, added.owner, added.roles) == (
        "helper.bot",
        PrincipalKind.AGENT,
        "bob",
        ("developer",),
    )
    event = newest(house)
    assert isinstance(event, events.PrincipalAdded)
    assert (event.principal, event.by, event.owner) == ("helper.bot", "alice", "bob")
    assert next(house.ledger.entries(newest_first=True)).index == entry


def test_a_disabled_principal_and_its_agents_may_nothing_from_then_on(house: House, ask: Ask) -> None:
    request = ask(who="scout")
    before = house.places.directory.read_text()
    add_principal(
        house, named(house, "alice"), NewPrincipal(name="dana", kind=PrincipalKind.HUMAN, roles=("policy-admin",))
    )
    disable_principal(house, named(house, "alice"), "alice", reason="left")
    with open_house(house.settings) as later:
        assert not named(later, "alice").enabled
        assert not named(later, "scout").owner_enabled
        done = go(later, ask(who="alice", principal=named(later, "alice")))
        assert (done.end, done.rules) == ("denied", ("principal-enabled",))
        done = go(later, ask(principal=named(later, "scout")))
        assert (done.end, done.rules) == ("denied", ("owner-enabled",))
        entry = next(e.event for e in later.ledger.entries(kinds=("principal:disabled",)))
        assert isinstance(entry, events.PrincipalDisabled)
        assert (entry.principal, entry.by, entry.reason) == ("alice", "alice", "left")
    assert request.principal.enabled
    after = house.places.directory.read_text()
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []


@pytest.mark.parametrize("who", ["scout", "bob", "stray"])
def test_anybody_can_be_disabled_alone(house: House, who: str) -> None:
    before = house.directory.principals
    disable_principal(house, named(house, "alice"), who, reason="")
    after = Directory.from_file(house.places.directory).principals
    assert [name for name in before if before[name].enabled != after[name].enabled] == [who]


def test_comments_and_other_tables_stay_as_they_were_written(make_home: MakeHome) -> None:
    text = (
        "# who is who\n[humans.alice]  # me\nos_user = 'alice'\nroles = ['policy-admin']\n"
        'enabled = true # for now\n\n[humans."b.c"]\nenabled=true\n# the end'
    )
    with open_house(make_home(directory=text)) as house:
        disable_principal(house, named(house, "alice"), "b.c", reason="")
        after = house.places.directory.read_text()
    assert after == text.replace('[humans."b.c"]\nenabled=true\n', '[humans."b.c"]\nenabled = false\n')


REFUSED = {
    "a name that is there": (NewPrincipal(name="Alice", kind=PrincipalKind.HUMAN), UsageError, "already"),
    "a hostile name": (NewPrincipal(name='x"]\n[humans.root', kind=PrincipalKind.HUMAN), UsageError, "name"),
    "an agent of nobody": (NewPrincipal(name="a1", kind=PrincipalKind.AGENT), UsageError, "owner"),
    "a human with an owner": (NewPrincipal(name="a1", kind=PrincipalKind.HUMAN, owner="bob"), UsageError, "owner"),
    "an unknown owner": (NewPrincipal(name="a1", kind=PrincipalKind.AGENT, owner="nobody"), PolicyError, "not among"),
    "an agent as owner": (NewPrincipal(name="a1", kind=PrincipalKind.AGENT, owner="scout"), PolicyError, "not among"),
    "a login that is taken": (NewPrincipal(name="a1", kind=PrincipalKind.HUMAN, os_user="bob"), PolicyError, "same OS"),
    "an unknown team": (NewPrincipal(name="a1", kind=PrincipalKind.HUMAN, teams=("x",)), PolicyError, "not among"),
    "a role that is none": (NewPrincipal(name="a1", kind=PrincipalKind.HUMAN, roles=("A b",)), UsageError, "role"),
    "a login with a line break": (
        NewPrincipal(name="a1", kind=PrincipalKind.HUMAN, os_user="a\nb"),
        UsageError,
        "OS user",
    ),
    "a login with a quote": (NewPrincipal(name="a1", kind=PrincipalKind.HUMAN, os_user='bob"#'), None, ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_cannot_be_entered_leaves_the_file_as_it_was(house: House, case: str) -> None:
    new, error, said = REFUSED[case]
    path = house.places.directory
    before, size = path.read_bytes(), house.ledger.count(kinds=("principal:added",))
    if error is None:
        add_principal(house, named(house, "alice"), new)
        assert Directory.from_file(path).by_os_user(new.os_user or "").id == new.name
        return
    with pytest.raises(error, match=said) as caught:
        add_principal(house, named(house, "alice"), new)
    assert caught.value.hint
    assert (path.read_bytes(), house.ledger.count(kinds=("principal:added",))) == (before, size)


def test_a_circle_of_teams_is_refused_with_a_sentence() -> None:
    with pytest.raises(PolicyError, match="lies in itself"):
        Directory.from_text("[teams.a]\nin = ['b']\n[teams.b]\nin = ['a']\n")


@pytest.mark.parametrize("who", ["bob", "scout", "gone", "carol"])
def test_who_may_not_manage_principals_is_refused_on_record(house: House, who: str) -> None:
    before = house.places.directory.read_bytes()
    attempts: list[Callable[[], int]] = [
        lambda: add_principal(house, named(house, who), AGENT),
        lambda: disable_principal(house, named(house, who), "bob", reason=""),
    ]
    for attempt in attempts:
        with pytest.raises(CustodyError) as caught:
            attempt()
        assert caught.value.exit_code == Exit.DENIED
        denied = newest(house)
        assert isinstance(denied, events.AccessDenied)
        assert (denied.action, denied.source) == ("managePrincipals", who)
    assert house.places.directory.read_bytes() == before


def test_the_last_who_could_change_the_directory_cannot_be_disabled(house: House) -> None:
    with pytest.raises(UsageError, match="nobody could change the directory"):
        disable_principal(house, named(house, "alice"), "alice", reason="")
    assert Directory.from_file(house.places.directory).principals["alice"].enabled


@pytest.mark.parametrize(("name", "said"), [("nobody", "no principal"), ("gone", "disabled already")])
def test_who_cannot_be_disabled_is_said(house: House, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        disable_principal(house, named(house, "alice"), name, reason="")


def test_what_is_not_a_table_of_its_own_is_left_to_people(make_home: MakeHome) -> None:
    text = "humans.alice = { os_user = 'alice', roles = ['policy-admin'] }\nhumans.bob = { roles = ['policy-admin'] }\n"
    with open_house(make_home(directory=text)) as house:
        with pytest.raises(PolicyError, match="table of its own"):
            disable_principal(house, named(house, "alice"), "bob", reason="")
        assert house.places.directory.read_text() == text


def test_two_at_once_lose_nothing(house: House) -> None:
    names = [f"new-{number}" for number in range(6)]

    def add(name: str) -> None:
        add_principal(house, named(house, "alice"), NewPrincipal(name=name, kind=PrincipalKind.HUMAN))

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names) <= set(Directory.from_file(house.places.directory).principals)
    assert [p.name for p in Path(house.places.home).iterdir() if p.name.startswith(".directory-")] == []


def test_the_directory_is_listed_to_whoever_may_see_it(house: House) -> None:
    listed = {each.name: each for each in list_principals(house, named(house, "bob"))}
    assert (listed["scout"].kind, listed["scout"].owner, listed["scout"].effective) == ("agent", "alice", True)
    assert (listed["stray"].enabled, listed["stray"].effective) == (True, False)
    assert listed["alice"].os_user == "alice"
    with pytest.raises(CustodyError):
        list_principals(house, named(house, "scout"))
