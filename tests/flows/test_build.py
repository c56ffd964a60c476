"""An environment that cannot be built ends the run before its start, with the reason and with what to do about that very reason."""

import hashlib

import pytest

from custody.cli.results import LiveOutput, hand_out, place_for
from custody.errors import Exit
from custody.flows.house import House, open_house
from custody.flows.intake import receive
from custody.flows.passage import Conductor, Result
from custody.flows.pipeline import build, resolve
from custody.ledger import events
from tests.conftest import MakeHome, OwnAuthority

from .conftest import kinds, request_of

LOCK = f"six==1.17.0 --hash=sha256:{hashlib.sha256(b'').hexdigest()}\n".encode()


def built(house: House) -> Result:
    """What comes of a run that is allowed to have the package."""
    passage = receive(house, request_of(house, requirements=LOCK), conductor=Conductor.DIRECT)
    resolve(house, passage)
    build(house, passage)
    assert passage.result is not None
    assert kinds(house, passage.run)[-2:] == ["environment:rejected", "run:finished"]
    return passage.result


def said_of(house: House, done: Result, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert hand_out(done, place_for(house, None), LiveOutput(), json=False) == Exit.BLOCKED
    return capsys.readouterr().err.splitlines()


def test_an_index_that_has_not_what_the_lock_names_is_a_matter_of_the_lock(
    make_home: MakeHome,
    monkeypatch: pytest.MonkeyPatch,
    own_authority: OwnAuthority,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("PIP_CERT", str(own_authority.certificate))
    with own_authority.serving(b"<!DOCTYPE html><html><body></body></html>", "text/html") as address:
        settings = make_home(configuration=f'\n[dependencies]\nindex_url = "{address}"\n')
        with open_house(settings) as house:
            done = built(house)
            assert (done.end, done.rules) == ("blocked", ())
            assert done.explanation.startswith("the packages of the lock could not be installed: ")
            assert "six" in done.explanation
            last = house.ledger.entry_at(done.entry).event
            assert isinstance(last, events.RunFinished)
            assert last.explanation == done.explanation[:600]
            said = said_of(house, done, capsys)
    assert said == [
        f"error: run {done.run} is blocked (entry {done.entry}): {done.explanation}",
        "hint: make the lock anew from the index that custody uses; only wheels are taken, and every hash has to fit",
    ]


def test_a_place_for_environments_that_cannot_be_written_is_no_matter_of_the_lock(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.places.environments.rmdir()
    house.places.environments.write_text("taken")
    done = built(house)
    assert done.explanation.startswith("the environments cannot be written: ")
    assert said_of(house, done, capsys)[1:] == ["hint: look at their disk and their owner"]
