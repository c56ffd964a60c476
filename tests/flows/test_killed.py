"""A run whose process is killed at any step has exactly one end after the next command, and was executed at most once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from custody.flows.house import Places, open_house
from custody.flows.machine import recover
from custody.flows.verification import verify
from custody.ledger import events
from custody.settings import load_settings
from tests.conftest import MakeHome

from .conftest import kinds

PROGRAM = Path(__file__).with_name("killed.py")


def ends_after_each_step(make_home: MakeHome, tmp_path: Path, *hosts: str) -> list[tuple[str, events.RunFinished]]:
    """What was said before the process died, and the one end that its run has then."""
    home, folder = make_home().home, tmp_path / "steps"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(PROGRAM), str(home), str(folder), "print('done')\n", *hosts]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = []
    for number, said in enumerate(json.loads(done.stdout)):
        settings = load_settings(folder / str(number))
        with open_house(settings) as house:
            closed = recover(house)
            runs = [entry.run or "" for entry in house.ledger.entries(kinds=("run:submitted",))]
            if not runs:
                assert said == ""
                continue
            (run,) = runs
            recorded = kinds(house, run)
            assert recorded.count("run:finished") == 1
            assert recorded[-1] == "run:finished"
            assert recorded.count("run:started") == recorded.count("run:claimed") <= 1
            assert recover(house) == ()
            (end,) = (entry.event for entry in house.ledger.entries(run=run, kinds=("run:finished",)))
            assert isinstance(end, events.RunFinished)
            assert (end.end == "unknown") == (closed == (run,))
            assert end.started == ("run:started" in recorded)
            assert list(Places(settings.home).owners.iterdir()) == []
            found.append((said, end))
        assert verify(settings, actor="alice").verification.problems == ()
    return found


@pytest.mark.jail
def test_an_executed_run_has_one_end_wherever_its_process_was_killed(make_home: MakeHome, tmp_path: Path) -> None:
    found = ends_after_each_step(make_home, tmp_path)
    assert found[-1][0] == "executed"
    assert {(end.end, end.started, end.outcome) for _said, end in found} == {
        ("unknown", False, None),
        ("unknown", True, "unknown"),
        ("executed", True, "succeeded"),
    }
    assert all(end.end == "executed" for said, end in found if said)


def test_a_denied_run_has_one_end_wherever_its_process_was_killed(make_home: MakeHome, tmp_path: Path) -> None:
    found = ends_after_each_step(make_home, tmp_path, "a.example")
    assert found[-1][0] == "denied"
    assert {(end.end, end.started) for _said, end in found} == {("unknown", False), ("denied", False)}
