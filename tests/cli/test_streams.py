"""Standard streams that are closed, full or left by their reader: a sentence, the right exit code, and never a traceback."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from custody.cli import json_typed

from ..scenarios.stage import Ran, Stage


@pytest.fixture
def stage(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A home, and a program."""
    made = Stage(tmp_path / "stage", tmp_path_factory.getbasetemp() / "bytecode").prepare()
    assert made.call("init").exit_code == 0
    (made.work / "hello.py").write_text("print('hello')\n")
    return made


def _shell(stage: Stage, command: str) -> Ran:
    """A line for a shell, which opens and closes the streams; bash, for PIPESTATUS."""
    return stage.run(["bash", "-c", command])


LOG = "custody log show"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_reason_to_fail(stage: Stage, closed: str) -> None:
    ran = _shell(stage, f"{LOG} {closed}")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ("ledger:opened" in ran.stdout) == (">&-" not in closed.split())


@pytest.mark.jail
def test_a_run_with_closed_streams_is_recorded_and_ends_well(stage: Stage) -> None:
    ran = _shell(stage, "custody run hello.py <&- >&-")
    assert (ran.exit_code, "succeeded" in ran.stderr, "Traceback" in ran.stderr) == (0, True, False), ran
    ran = _shell(stage, "custody run --json hello.py >&- 2>&-")
    assert ran == Ran(0, "", "")
    assert stage.kinds()[-1] == "run:finished"


def test_a_program_from_a_closed_standard_input_is_empty(stage: Stage) -> None:
    ran = _shell(stage, "custody run - <&-")
    assert (ran.exit_code, "`stdin.py` is empty" in ran.stderr) == (2, True), ran


@pytest.mark.parametrize("arguments", ["log show", "log show --json", "--help", "--version", "runs list --json"])
def test_a_result_that_finds_no_room_is_a_failure_that_is_said(stage: Stage, arguments: str) -> None:
    ran = _shell(stage, f"custody {arguments} > /dev/full")
    assert ran.exit_code == 1
    assert ran.stderr.splitlines() == [
        "error: the result could not be written to standard output: no space left on device",
        "hint: what was done is on record: `custody runs list`, `custody log show`",
    ]


@pytest.mark.jail
def test_a_programs_output_that_finds_no_room_takes_nothing_else_away(stage: Stage) -> None:
    (stage.work / "making.py").write_text("open('out/made', 'w').write('x')\nprint('hello')\n")
    ran = _shell(stage, "custody run --out made making.py > /dev/full")
    assert (ran.exit_code, "succeeded" in ran.stderr, "no space left" in ran.stderr) == (1, True, True), ran
    assert (stage.work / "made" / "made").read_text() == "x"


def test_talk_that_nobody_can_hear_is_no_failure(stage: Stage) -> None:
    ran = _shell(stage, "custody verify --write-pin pin.note 2> /dev/full")
    assert (ran.exit_code, "consistent in itself" in ran.stdout) == (9, True)
    ran = _shell(stage, "custody principals list 2> /dev/full")
    assert ran.exit_code == 0


@pytest.mark.parametrize("arguments", ["log show", "log show --json", "--help"])
def test_a_reader_that_left_is_exit_1_without_a_word(stage: Stage, arguments: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = [str(Path(stage.variables()["PATH"].split(":")[0]) / "custody"), *shlex.split(arguments)]
    try:
        done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, env=stage.variables(), check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


JSON_TYPED = {
    "run --fast --json hello.py": True,
    "run --fast hello.py --json": False,
    "run --fast -- --json": False,
    "run -i --json --fast hello.py": False,
    "run --purpose why --json --fast hello.py": True,
    "run --purpose=why --fast hello.py --json": False,
    "run --fast - --json": False,
    "policy why --fast hello.py --json": False,
    "log show nothing --json": True,
    "log show --run --json --fast": False,
    "runs --json": True,
    "nowhere --json": True,
    "--fast run": False,
}


@pytest.mark.parametrize("line", JSON_TYPED)
def test_only_custodys_own_json_counts_on_a_line_that_cannot_be_parsed(line: str, stage: Stage) -> None:
    assert json_typed(line.split()) == JSON_TYPED[line]
    ran = stage.call(*line.split())
    assert ran.exit_code == 2
    assert bool(ran.stdout) == JSON_TYPED[line]
    if ran.stdout:
        assert json.loads(ran.stdout)["exit_code"] == 2
