"""The JSON fields that docs/cli.md lists are the fields that commands print: no more, no fewer, in the home that the README left."""

import json
import os
import re
import shlex
from collections.abc import Mapping

import pytest

from .conftest import ROOT
from .newcomer import LOGINS, Done, Newcomer

_SECTION = re.compile(r"^## (custody [^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\| `([a-z_0-9]+)` \|", re.MULTILINE)
LISTED = {
    name: set(_FIELD.findall(text))
    for name, text in _SECTION.findall((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"))
}

COMMANDS = {
    "custody init": "CUSTODY_HOME=another-home custody init",
    "custody doctor": "custody doctor",
    "custody demo": "custody demo --no-prefect --into another-demo",
    "custody run": "custody run hello.py",
    "custody check": "custody check hello.py",
    "custody audit": "custody audit requirements.txt",
    "custody verify": "custody verify",
    "custody prove": "custody prove 0",
    "custody runs list": "custody runs list",
    "custody runs show": "custody runs show RUN",
    "custody advisories import": "custody advisories import all.zip",
    "custody advisories status": "custody advisories status",
    "custody policy apply": 'custody policy apply "${CUSTODY_HOME:-$HOME/.custody}/policies"',
    "custody policy lint": "custody policy lint",
    "custody policy test": "custody policy test",
    "custody policy why": "custody policy why RUN",
    "custody principals list": "custody principals list",
    "custody log show": "custody log show",
    "custody review run": "custody review run --offline",
    "custody review list": "custody review list",
    "custody review show": "custody review show REVIEW",
}
ELSEWHERE = {
    "custody approve": "needs a held run: below",
    "custody refuse": "needs a held run: below",
    "custody principals add": "comes before the other: below",
    "custody principals disable": "needs somebody to disable: below",
    "custody runs continue": "prints what `custody run` prints",
    "custody deploy": "needs a Prefect server",
    "custody keys rotate": "would change the key of the home that the others look at; tests/test_commands.py runs it",
}


def with_json_first(command: str) -> str:
    """Options stand before the program, which takes everything after it for its own."""
    return re.sub(r"custody (run|check|policy why) ", r"custody \1 --json ", command)


def test_every_command_is_compared_or_has_a_reason_why_not() -> None:
    assert sorted([*COMMANDS, *ELSEWHERE]) == sorted(LISTED)


@pytest.mark.jail
@pytest.mark.online
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_the_fields_that_its_page_lists(
    name: str, newcomer: Newcomer, played: Mapping[int, Done]
) -> None:
    assert played
    command = COMMANDS[name].replace("RUN", newcomer.run).replace("REVIEW", newcomer.review)
    if name in {"custody run", "custody check", "custody policy why"}:
        done = newcomer.type(f"{with_json_first(command)} 2>/dev/null")
    else:
        done = newcomer.type(f"{command} --json 2>/dev/null")
    assert set(json.loads(done.output)) == LISTED[name]


@pytest.mark.jail
def test_an_error_is_an_object_too(newcomer: Newcomer) -> None:
    done = newcomer.type(f"CUSTODY_HOME={shlex.quote('/nonexistent/home')} custody runs list --json 2>/dev/null")
    assert set(json.loads(done.output)) == {"error", "hint", "exit_code"}


@pytest.mark.jail
@pytest.mark.online
def test_a_run_that_was_not_executed_has_the_fields_up_to_its_outcome(
    newcomer: Newcomer, played: Mapping[int, Done]
) -> None:
    assert played
    done = newcomer.type("custody run --json --host api.example.org:443 hello.py 2>/dev/null")
    fields = json.loads(done.output)
    assert fields["outcome"] is None
    executed_only = {field for field in LISTED["custody run"] if field not in fields}
    assert set(fields) < LISTED["custody run"]
    assert {"stdout", "usage", "unobserved"} <= executed_only


@pytest.mark.online
@pytest.mark.skipif(os.geteuid() != 0, reason="custody believes sudo only as root: run the tests as root")
def test_an_approval_prints_the_fields_that_its_page_lists(newcomer: Newcomer, played: Mapping[int, Done]) -> None:
    assert played
    held = json.loads(newcomer.type("sudo custody run --json puzzle.py 2>/dev/null", uid=LOGINS["coder"]).output)
    assert held["end"] == "held"
    approve = f"sudo custody approve {held['run']} --yes --json 2>/dev/null"
    assert set(json.loads(newcomer.type(approve, uid=LOGINS["bob"]).output)) == LISTED["custody approve"]
    again = json.loads(newcomer.type("sudo custody run --json puzzle.py 2>/dev/null", uid=LOGINS["coder"]).output)
    refuse = f"sudo custody refuse {again['run']} --json 2>/dev/null"
    assert set(json.loads(newcomer.type(refuse, uid=LOGINS["bob"]).output)) == LISTED["custody refuse"]
    continued = newcomer.type(f"sudo custody runs continue {held['run']} --json 2>/dev/null", uid=LOGINS["coder"])
    assert set(json.loads(continued.output)) == LISTED["custody run"]


@pytest.mark.jail
@pytest.mark.online
def test_what_waits_for_approval_is_one_list(newcomer: Newcomer, played: Mapping[int, Done]) -> None:
    assert played
    assert set(json.loads(newcomer.type("custody approve --json 2>/dev/null").output)) == {"held"}


@pytest.mark.jail
@pytest.mark.online
def test_changes_of_the_directory_print_the_fields_that_their_pages_list(
    newcomer: Newcomer, played: Mapping[int, Done]
) -> None:
    assert played
    for command in ("custody principals add", "custody principals disable"):
        done = newcomer.type(f"{command} somebody-new --json 2>/dev/null")
        assert set(json.loads(done.output)) == LISTED[command]
