"""Verifying through the door: never "verified" without a pin from outside, and on record where that is possible."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from custody.errors import ConfigurationError, Exit, UsageError
from custody.flows.house import Places, open_house, open_ledger
from custody.flows.pins import keep_pin, read_pin
from custody.flows.verification import verify
from custody.ledger import events
from custody.policies.types import HostRequest
from custody.settings import Settings
from tests.conftest import MakeHome

from .conftest import go, request_of


@pytest.fixture
def settings(make_home: MakeHome) -> Settings:
    return make_home()


def test_without_a_pin_it_is_consistent_but_not_anchored(settings: Settings) -> None:
    assert verify(settings, actor="alice").exit_code == Exit.UNANCHORED


def test_with_a_pin_from_outside_it_is_verified_and_recorded(settings: Settings, tmp_path: Path) -> None:
    pin = tmp_path / "elsewhere" / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    verified = verify(settings, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.DONE
    assert verified.verification.anchored_to is not None
    with open_ledger(settings) as ledger:
        newest = next(ledger.entries(newest_first=True))
        assert newest.index == verified.recorded
        assert isinstance(newest.event, events.LedgerVerified)


def test_a_pin_inside_the_home_anchors_nothing_and_is_said_to(settings: Settings) -> None:
    pin = settings.home / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    verified = verify(settings, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.UNANCHORED
    assert any("inside the home" in remark for remark in verified.remarks)


def test_a_link_from_outside_into_the_home_is_inside(settings: Settings, tmp_path: Path) -> None:
    verify(settings, actor="alice", write_pin_to=settings.home / "pin.note")
    (tmp_path / "link.note").symlink_to(settings.home / "pin.note")
    assert not read_pin(str(tmp_path / "link.note"), home=settings.home).outside


def test_a_rolled_back_ledger_is_found_by_the_pin_and_by_nothing_else(settings: Settings, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(settings.home, old)
    with open_house(settings) as house:
        keep_pin(house.ledger.checkpoint(), tmp_path / "pins")
    verify(settings, actor="alice")
    with open_ledger(settings) as ledger:
        keep_pin(ledger.checkpoint(), tmp_path / "pins")
    shutil.rmtree(settings.home)
    shutil.copytree(old, settings.home)
    assert verify(settings, actor="alice").exit_code == Exit.UNANCHORED
    shutil.rmtree(settings.home)
    shutil.copytree(old, settings.home)
    found = verify(settings, actor="alice", pins=[str(tmp_path / "pins" / "latest.note")])
    assert found.exit_code == Exit.TAMPERED
    assert {problem.code for problem in found.verification.problems} == {"truncated"}


def test_deleted_entries_are_found_even_without_a_pin(settings: Settings) -> None:
    connection = sqlite3.connect(Places(settings.home).ledger.database)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM entry WHERE idx >= 3")
    connection.commit()
    connection.close()
    assert verify(settings, actor="alice").exit_code == Exit.TAMPERED


def test_on_a_copy_without_keys_it_works_with_a_key_from_elsewhere_and_says_that_it_did_not_record(
    settings: Settings, tmp_path: Path
) -> None:
    key = tmp_path / "verifier.key"
    shutil.copy(Places(settings.home).verifier_key, key)
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    copy = tmp_path / "copy"
    shutil.copytree(settings.home, copy)
    shutil.rmtree(copy / "keys")
    from custody.settings import load_settings

    verified = verify(load_settings(copy), actor="auditor", pins=[str(pin)], key=key)
    assert verified.exit_code == Exit.DONE
    assert verified.recorded is None
    assert any("not recorded" in remark for remark in verified.remarks)


def test_a_missing_key_or_pin_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="verifier key"):
        verify(settings, actor="alice", key=tmp_path / "none.key")
    with pytest.raises(UsageError, match="cannot be read"):
        verify(settings, actor="alice", pins=[str(tmp_path / "none.note")])


def test_a_pin_that_is_no_note_is_no_anchor(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "junk.note").write_text("not a note\n")
    with pytest.raises(UsageError):
        verify(settings, actor="alice", pins=[str(tmp_path / "junk.note")])


def test_a_pin_is_kept_outside_after_each_run_where_a_place_is_set(make_home: MakeHome, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{pins}"\n')
    with open_house(settings) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
        assert denied.notes == ()
    assert verify(settings, actor="alice", pins=[str(pins / "latest.note")]).exit_code == Exit.DONE


def test_a_pin_that_cannot_be_kept_is_said_and_costs_no_result(make_home: MakeHome, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{tmp_path / "taken"}"\n')
    with open_house(settings) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
    assert denied.end == "denied"
    assert "no pin was kept" in denied.notes[0]
