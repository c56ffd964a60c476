"""The door: whatever happens inside, the caller gets a sentence, a hint and an exit code."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ..scenarios.stage import Ran, Stage


@pytest.fixture
def stage(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """An empty directory, no home yet."""
    return Stage(tmp_path / "stage", tmp_path_factory.getbasetemp() / "bytecode").prepare()


def test_without_arguments_the_commands_are_listed(stage: Stage) -> None:
    ran = stage.call()
    assert ran.exit_code == 2
    assert "doctor" in ran.stdout + ran.stderr


@pytest.mark.parametrize("arguments", [("runs",), ("review",), ("log",), ("advisories",)])
def test_a_group_without_a_command_lists_its_commands(stage: Stage, arguments: tuple[str, ...]) -> None:
    ran = stage.call(*arguments)
    assert ran.exit_code == 2
    assert "list" in ran.stdout + ran.stderr or "show" in ran.stdout + ran.stderr or "import" in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "arguments", [("runs", "show", "\udcff"), ("approve", "\udcff", "--yes"), ("log", "show", "--run", "\udcff")]
)
def test_an_argument_that_is_not_text_is_refused(stage: Stage, arguments: tuple[str, ...]) -> None:
    assert stage.call("init").exit_code == 0
    ran = stage.call(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == ["error", "hint"]


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback(stage: Stage) -> None:
    assert stage.call("init").exit_code == 0
    reading, writing = os.pipe()
    os.close(reading)
    program = [str(Path(sys.executable).with_name("custody")), "log", "show"]
    try:
        done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, env=stage.variables(), check=False)
    finally:
        os.close(writing)
    assert b"Traceback" not in done.stderr


@pytest.mark.jail
def test_a_run_whose_process_died_is_never_shown_as_started(stage: Stage) -> None:
    assert stage.call("init").exit_code == 0
    (stage.work / "sleeping.py").write_text("import time\ntime.sleep(50)\n")
    program = [str(Path(sys.executable).with_name("custody")), "run", "sleeping.py"]
    with subprocess.Popen(program, cwd=stage.work, env=stage.variables(), stderr=subprocess.PIPE) as process:
        while "run:started" not in stage.kinds():
            with suppress(subprocess.TimeoutExpired):
                assert process.wait(0.05) is None
        assert _states(stage) == [("started", "")]  # its process lives: it is left alone
        process.kill()
        process.communicate(timeout=30)
    assert _states(stage) == [("finished", "unknown")]


def _states(stage: Stage) -> list[tuple[str, str]]:
    listed = stage.call("runs", "list", "--json").value()["runs"]
    assert isinstance(listed, list)
    return [(run["state"], run["end"]) for run in listed]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_command_line_is_loaded_ends_it_with_a_line(stage: Stage, number: signal.Signals) -> None:
    early = _waiting_import(stage)
    program = [str(Path(sys.executable).with_name("custody")), "log", "show"]
    environment = {**stage.variables(), "PYTHONPATH": str(stage.work)}
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        with early.open("wb"):  # opens when the other side has
            process.send_signal(number)
        # closed: a signal that came just before the other side began to read is looked at when it has read
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode().splitlines() == ["error: interrupted", "hint: nothing was done"]


def _waiting_import(stage: Stage) -> Path:
    """Lets the first module that is loaded after the signals are taken wait for the writer of a pipe."""
    pipe = stage.work / "pipe"
    os.mkfifo(pipe)
    (stage.work / "typer.py").write_text(f"open({str(pipe)!r}).read()\n")
    return pipe


def test_what_nohup_wants_ignored_stays_ignored(stage: Stage) -> None:
    early = _waiting_import(stage)
    program = ["/usr/bin/nohup", str(Path(sys.executable).with_name("custody")), "--version"]
    environment = {**stage.variables(), "PYTHONPATH": str(stage.work)}
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        with early.open("wb"):
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, b"error: interrupted" in stderr) == (130, True)


@pytest.mark.jail
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_cancelled_on_record(stage: Stage, number: signal.Signals) -> None:
    assert stage.call("init").exit_code == 0
    (stage.work / "sleeping.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(30)\n")
    program = [str(Path(sys.executable).with_name("custody")), "run", "sleeping.py"]
    with subprocess.Popen(program, cwd=stage.work, env=stage.variables(), stderr=subprocess.PIPE) as process:
        while "run:started" not in stage.kinds():
            with suppress(subprocess.TimeoutExpired):
                assert process.wait(0.05) is None
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    ran = Ran(process.returncode, "", stderr.decode())
    assert ran.exit_code == 130, ran
    assert stage.kinds()[-2:] == ["run:cancelled", "run:finished"]
    assert "cancelled" in ran.stderr
