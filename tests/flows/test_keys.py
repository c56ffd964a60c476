"""Changing the signing key: by the OS user that owns it, on record, and kept outside."""

from pathlib import Path

import pytest

from custody.errors import CustodyError, Exit
from custody.flows.house import House, open_house
from custody.flows.keys import rotate
from custody.flows.verification import verify
from custody.identity import calling_user
from custody.ledger import events
from tests.conftest import MakeHome

from .conftest import named

OWNER = calling_user(None).os_user
"""Whoever runs the tests made the home."""


def test_the_owner_of_the_keys_puts_a_new_one_in_force(house: House) -> None:
    before = house.ledger.verifier_key
    done = rotate(house, named(house, "alice"), os_user=OWNER)
    assert (done.old_key, done.new_key) == (before, house.ledger.verifier_key)
    assert before != done.new_key
    entry = house.ledger.entry_at(done.entry)
    assert entry.event == events.LedgerKeyRotated(old_key=before, new_key=done.new_key, by="alice")
    assert house.places.verifier_key.read_text().strip() == done.new_key
    assert "no pin directory" in done.remark


def test_nobody_else_does_and_the_attempt_is_on_record(house: House) -> None:
    before = house.ledger.verifier_key
    with pytest.raises(CustodyError, match="only the OS user that owns the keys") as caught:
        rotate(house, named(house, "bob"), os_user="bob")
    assert caught.value.exit_code == Exit.DENIED
    newest = next(house.ledger.entries(newest_first=True))
    assert isinstance(newest.event, events.AccessDenied)
    assert (newest.event.action, newest.actor) == ("rotateKey", "bob")
    assert house.ledger.verifier_key == before


def test_either_key_checks_the_whole_against_pins_of_before_and_after(make_home: MakeHome, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{pins}"\n')
    verify(settings, actor="alice", write_pin_to=tmp_path / "before.note")
    old = tmp_path / "old.key"
    with open_house(settings) as house:
        old.write_text(house.ledger.verifier_key)
        assert rotate(house, named(house, "alice"), os_user=OWNER).remark == ""
        new = tmp_path / "new.key"
        new.write_text(house.ledger.verifier_key)
    for key in (old, new):
        for pin in (tmp_path / "before.note", pins / "latest.note"):
            assert verify(settings, actor="alice", pins=[str(pin)], key=key).exit_code == Exit.DONE
