"""What the demo leaves: one end for each run, a report, a ledger that verifies, and a table."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from custody.cli.demonstration import print_demo
from custody.errors import Exit, UsageError
from custody.flows.demo.cast import PROGRAMS
from custody.flows.house import open_house
from custody.flows.verification import verify
from custody.ledger import events
from custody.settings import load_settings

from .telling import Told, play

pytestmark = [pytest.mark.jail, pytest.mark.online]


def test_every_run_has_exactly_one_end(told: Told) -> None:
    with open_house(load_settings(told.demonstration.home)) as house:
        runs = {entry.run for entry in house.ledger.entries() if entry.run is not None}
        ends = Counter(entry.run for entry in house.ledger.entries(kinds=("run:finished",)))
    assert ends == dict.fromkeys(runs, 1)
    assert runs == {scene.run for scene in told.demonstration.scenes}
    assert len(runs) == len(PROGRAMS) == 13


def test_the_ledger_agrees_with_the_pin_in_the_second_directory(told: Told, os_user: str) -> None:
    pin = told.demonstration.pins / "latest.note"
    verified = verify(load_settings(told.demonstration.home), actor=os_user, pins=[str(pin)])
    assert verified.exit_code == Exit.DONE
    assert verified.verification.anchored_to == told.demonstration.size
    assert not pin.is_relative_to(told.demonstration.home)


def test_what_the_mailing_program_asked_for_tried_and_got_is_in_the_review(told: Told) -> None:
    review = json.loads(told.demonstration.report.with_name("review.json").read_text())["review"]
    (attempt,) = [attempt for attempt in review["attempts"] if attempt["program"] == "email_everyone.py"]
    assert attempt["principal"] == "courier"
    assert attempt["purpose"] == "let everybody know about the offer"
    assert attempt["asked"][0].startswith("no network")
    assert ["mail.example.com:587" in attempt["tried"][0], "api.mailer.example:80" in attempt["tried"][1]] == [
        True,
        True,
    ]
    assert attempt["got"][0] == "no connection: all 8 attempts refused"
    with open_house(load_settings(told.demonstration.home)) as house:
        egress = [
            entry.index
            for entry in house.ledger.entries(run=attempt["run"])
            if isinstance(entry.event, events.EgressAttempted)
        ]
    assert set(egress) <= set(attempt["entries"])


def test_the_report_says_that_the_audit_was_none(told: Told) -> None:
    assert "not a real audit" in told.demonstration.report.read_text()
    assert not told.demonstration.real_audit


def test_the_table_says_what_happened_and_how_to_check_it(
    told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["custody", "demo"])
    print_demo(told.demonstration, json=False)
    printed = capsys.readouterr()
    rows = [line.split("\t") for line in printed.out.splitlines() if "\t" in line]
    assert rows[0] == ["who", "program", "what it does", "what happened", "decided by", "conductor"]
    assert [row[1] for row in rows[1:]] == [program.file for program in PROGRAMS]
    assert f"report:  {told.demonstration.report}" in printed.out
    assert "custody verify --pin" in printed.out
    assert "It does not prove" in printed.err
    assert "not a real audit" in printed.err


def test_the_same_comes_as_one_object(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    print_demo(told.demonstration, json=True)
    printed = capsys.readouterr()
    value = json.loads(printed.out)
    assert printed.err == ""
    assert set(value) == {"home", "pin", "real_audit", "report", "runs", "verdict", "verify"}
    assert value["real_audit"] is False
    assert [run["program"] for run in value["runs"]] == [program.file for program in PROGRAMS]
    assert set(value["runs"][0]) == {"conductor", "end", "outcome", "principal", "program", "rules", "run"}


def test_a_second_demo_replaces_the_first_and_nothing_else(tmp_path: Path, os_user: str) -> None:
    place = tmp_path / "place"
    first = play(place, os_user=os_user, only=["failing.py"])
    (place / "notes.txt").write_text("mine")
    second = play(place, os_user=os_user, only=["failing.py"])
    assert first.demonstration.home == second.demonstration.home
    assert first.demonstration.scenes[0].run != second.demonstration.scenes[0].run
    assert len(list((place / "home" / "reviews").iterdir())) == 1
    assert (place / "notes.txt").read_text() == "mine"


def test_a_directory_of_somebody_elses_is_left_alone(tmp_path: Path, os_user: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").touch()
    with pytest.raises(UsageError, match="is no demo"):
        play(tmp_path, os_user=os_user)
    assert [path.name for path in tmp_path.rglob("*")] == ["home", "precious"]
