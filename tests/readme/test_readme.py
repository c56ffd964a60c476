"""The README is true: every command of it is typed by a newcomer who has the wheel, and does what the page says."""

import os
import re
from collections.abc import Mapping

import pytest

from .conftest import README, ROOT, playable
from .newcomer import LOGINS, Done, Newcomer, Step, missing_line, steps_of

STEPS = list(enumerate(steps_of(README)))
PLAYED = [(number, step) for number, step in STEPS if playable(step)]
NAMED = sorted(set(re.findall(r"`custody ([a-z]+(?: [a-z]+)?)`", README.read_text(encoding="utf-8"))))


@pytest.mark.jail
@pytest.mark.online
@pytest.mark.parametrize(("number", "step"), PLAYED, ids=[step.command.split("\n")[0][:60] for _, step in PLAYED])
def test_a_command_of_the_readme_does_what_it_says(number: int, step: Step, played: Mapping[int, Done]) -> None:
    done = played[number]
    assert done.exit_code in step.exit_codes, done.output
    assert missing_line(step.quoted, done.output) == "", done.output


@pytest.mark.skipif(os.geteuid() != 0, reason="custody believes sudo only as root: run the tests as root")
def test_commands_of_other_logins_were_played() -> None:
    assert {step.login for _, step in PLAYED} == {"", *LOGINS}


def test_the_readme_tries_most_of_the_commands() -> None:
    typed = " ".join(step.command for _, step in STEPS)
    untried = {name for name in NAMED if f"custody {name}" not in typed}
    assert untried == {"deploy"}, "it needs a Prefect server; tests/flows registers it with one"


@pytest.mark.parametrize("name", NAMED)
def test_a_command_that_the_readme_names_is_there(name: str, newcomer: Newcomer) -> None:
    done = newcomer.type(f"custody {name} --help")
    assert done.exit_code == 0, done.output
    assert f"Usage: custody {name}" in done.output


def test_no_output_is_invented_for_a_command_that_prints_nothing() -> None:
    assert missing_line(("hello",), "") == "hello"
    assert missing_line(("a ... c", "...", "e"), "a b c\nd\ne\n") == ""
    assert missing_line(("e", "a"), "a\ne\n") == "a"


def test_make_has_the_targets_that_the_readme_names() -> None:
    targets = re.findall(r"^make ([a-z-]+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == ["demo", "test"]
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
