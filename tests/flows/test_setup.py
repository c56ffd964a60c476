"""`custody init` makes a whole home or none."""

import stat
from pathlib import Path

import pytest

from custody.errors import ConfigurationError, PolicyError, UsageError
from custody.flows.house import Places, open_house, open_ledger, policies_in_force
from custody.flows.setup import initialise
from custody.policies import PolicySet
from custody.settings import load_settings
from tests.conftest import MakeHome


def test_a_new_home_opens_and_its_ledger_begins_in_order(make_home: MakeHome) -> None:
    with open_house(make_home()) as house:
        kinds = [entry.kind for entry in house.ledger.entries()]
        assert kinds[:2] == ["ledger:opened", "policy:changed"]
        assert set(kinds[2:]) == {"principal:added"}
        assert house.policies == PolicySet.shipped()


def test_home_and_keys_belong_to_their_owner_alone(make_home: MakeHome) -> None:
    settings = make_home()
    places = Places(settings.home)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    for path in (*places.ledger.keys.iterdir(), *places.ledger.database.parent.iterdir()):
        if path.name != "verifier.key":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


def test_a_home_is_never_made_twice(make_home: MakeHome) -> None:
    settings = make_home()
    before = open_ledger(settings).size
    with pytest.raises(UsageError, match="exists already"):
        initialise(settings.home, os_user="alice")
    assert open_ledger(settings).size == before


def test_an_unusable_policy_folder_leaves_no_home(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "broken.cedar").write_text(
        '@id("x") @reason("y") permit (principal, action, resource) when { context.nothing == };'
    )
    with pytest.raises(PolicyError):
        initialise(tmp_path / "home", os_user="alice", policies=folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policies"]


def test_an_unusable_directory_leaves_no_home(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        initialise(tmp_path / "home", os_user="alice", directory="[agents.a]\nowner = 'nobody-there'\n")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        initialise(tmp_path / "file" / "home", os_user="alice")


def test_edited_policy_files_change_nothing_until_they_are_applied(make_home: MakeHome) -> None:
    settings = make_home()
    for path in Places(settings.home).policies.rglob("*.cedar"):
        path.write_text('@id("all") @reason("everything") permit (principal, action, resource);')
    with open_ledger(settings) as ledger:
        assert policies_in_force(ledger) == PolicySet.shipped()


def test_no_home_is_said_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_ledger(load_settings(tmp_path / "nowhere"))
    assert "custody init" in caught.value.hint
