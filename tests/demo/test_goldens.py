"""Each program of the demo does to the ledger exactly what its golden file says; CUSTODY_TEST_UPDATE=1 writes the files anew.

One set for machines where root has control groups, one for a user who has resource limits only.
"""

import os
from pathlib import Path

import pytest

from custody.flows.demo.cast import PROGRAMS

from .telling import Told, observed, sequence

GOLDEN = Path(__file__).parent / "golden"
UPDATE = os.environ.get("CUSTODY_TEST_UPDATE") == "1"
pytestmark = [pytest.mark.jail, pytest.mark.online]
each_program = pytest.mark.parametrize("program", [program.file for program in PROGRAMS])


def golden_of(layers: str, program: str) -> Path:
    """The file for a program and a layer set."""
    if layers not in {"root", "user"}:
        pytest.skip(
            f"there are golden files for all of root's layers and for a user's, this machine has {layers} only: see custody doctor"
        )
    return GOLDEN / layers / f"{program}.txt"


def _compare(layers: str, program: str, text: str) -> None:
    path = golden_of(layers, program)
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    golden = path.read_text()
    assert sequence(text) == sequence(golden)
    assert observed(text) == observed(golden)


@each_program
def test_a_program_leaves_exactly_these_entries(told: Told, program: str) -> None:
    _compare(told.layers, program, told.programs[program])


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as such a user already")
@each_program
def test_a_program_of_a_user_without_rights_leaves_exactly_these_entries(
    told_by_user: dict[str, object], program: str
) -> None:
    assert told_by_user["layers"] == "user"
    programs = told_by_user["programs"]
    assert isinstance(programs, dict)
    _compare("user", program, programs[program])


@pytest.mark.skipif(UPDATE, reason="they are being written")
def test_no_golden_file_is_left_over() -> None:
    names = {f"{program.file}.txt" for program in PROGRAMS}
    assert {layers.name: {path.name for path in layers.iterdir()} for layers in GOLDEN.iterdir()} == {
        "root": names,
        "user": names,
    }
