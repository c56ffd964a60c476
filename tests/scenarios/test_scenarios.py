"""Every scenario file of this folder, played by the real command line; CUSTODY_TEST_UPDATE=1 writes them anew."""

import os
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody import __version__

from .conftest import needs_root
from .script import Command, Scenario, Values, differences, fill, read, renewed, write
from .stage import DAEMON, NOBODY, USER, Ran, Stage

FOLDER = Path(__file__).parent
UPDATE = os.environ.get("CUSTODY_TEST_UPDATE") == "1"
_NEEDS = {"jail": pytest.mark.jail, "index": pytest.mark.online, "root": needs_root}


def _parameters() -> list[object]:
    return [
        pytest.param(path, id=path.stem, marks=[_NEEDS[need] for need in read(path.read_text()).directives("needs")])
        for path in sorted(FOLDER.glob("*.txt"))
    ]


@pytest.mark.parametrize("path", _parameters())
def test_the_session_goes_as_written(
    path: Path, tmp_path: Path, bytecode: Path, home_of: Callable[[str], Path]
) -> None:
    scenario = read(path.read_text())
    given = scenario.directives("given")
    environment = dict(line.split("=", 1) for line in scenario.directives("env"))
    stage = Stage(tmp_path / "stage", bytecode, environment).prepare(home_of(given[0]) if given else None)
    values = _known(stage)
    for name, content in scenario.files.items():
        (stage.work / name).write_text(fill(content, values))
    for command in scenario.commands:
        ran = _type(stage, command, values)
        if UPDATE:
            _replace(scenario, command, renewed(command, ran.exit_code, ran.stdout, ran.stderr, values))
            continue
        wrong = differences(command, ran.exit_code, ran.stdout, ran.stderr, values)
        assert not wrong, f"{path.name}:{command.line}: $ {command.text}\n" + "\n".join(wrong)
    if UPDATE:
        path.write_text(write(scenario))


def _known(stage: Stage) -> Values:
    return {
        "home": str(stage.home),
        "dir": str(stage.work),
        "user": USER,
        "version": __version__,
        "daemon": str(DAEMON),
        "nobody": str(NOBODY),
        "today": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _type(stage: Stage, command: Command, values: Values) -> Ran:
    """Run what stands after the dollar sign: variables first, a file for standard input last; no shell."""
    words = shlex.split(fill(command.text, values))
    environment = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    stdin = b""
    if len(words) > 2 and words[-2] == "<":
        stdin = (stage.work / words[-1]).read_bytes()
        words = words[:-2]
    return stage.run(words, environment=environment, stdin=stdin)


def _replace(scenario: Scenario, old: Command, new: Command) -> None:
    scenario.parts[next(i for i, part in enumerate(scenario.parts) if part is old)] = new


def test_the_format_survives_reading_and_writing() -> None:
    for path in FOLDER.glob("*.txt"):
        text = path.read_text()
        assert write(read(text)) == text, path.name
