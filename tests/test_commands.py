"""The command tree: each command records what it does or is listed as silent, and none starts more than it needs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from custody.cli import app

from .scenarios.stage import USER, Ran, Stage

ROOT = Path(__file__).resolve().parent.parent

SILENT = {
    "advisories status": "it looks at files beside the ledger and decides nothing",
    "doctor": "it looks at the machine and decides nothing; what it finds missing is recorded by the run that is refused for it",
    "policy lint": "it looks at a folder that is not in force and decides nothing",
    "policy test": "it plays the tests of a folder that is not in force and decides nothing real",
    "demo": "it records in a home of its own, never in the caller's; tests/demo plays it",
}
"""Commands that leave no entry, and why."""

RECORDS = {
    "init": "ledger:opened",
    "run": "run:finished",
    "check": "policy:decided",
    "runs list": "ledger:read",
    "runs show": "ledger:read",
    "approve": "approval:granted",
    "refuse": "approval:refused",
    "runs continue": "run:finished",
    "policy apply": "policy:changed",
    "policy why": "ledger:read",
    "principals list": "policy:decided",
    "principals add": "principal:added",
    "principals disable": "principal:disabled",
    "advisories import": "advisories:imported",
    "audit": "dependencies:audited",
    "verify": "ledger:verified",
    "prove": "ledger:exported",
    "keys rotate": "ledger:key_rotated",
    "log show": "ledger:read",
    "review run": "review:completed",
    "review list": "policy:decided",
    "review show": "policy:decided",
    # without a server it gets as far as the decision; tests/flows/orchestration registers the schedules at one
    "deploy": "policy:decided",
}
"""Every other command, and the kind of entry that says what it did."""

KEEPER = f"""\
[humans.keeper]
os_user = "{USER}"
roles = ["developer", "auditor", "operator", "policy-admin"]

[humans.helper]
"""
AGENT = f"""\
[humans.keeper]

[agents.coder]
os_user = "{USER}"
owner = "keeper"
roles = ["developer"]
"""
REVIEWER = f"""\
[humans.keeper]

[humans.reviewer]
os_user = "{USER}"
roles = ["security-reviewer"]

[agents.coder]
owner = "keeper"
roles = ["developer"]
"""
HIDING = "exec(bytes.fromhex('7072696e742827736f2c20736f2729').decode())\n" + "#" + "x7Qp2mZk9Lw4" * 60 + "\n"
PINNED = f"six==1.17.0 --hash=sha256:{'0' * 64}\n"
ADVISORY = {
    "id": "TEST-1",
    "summary": "a fault",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "x"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
        }
    ],
}


class Walked(NamedTuple):
    """What a command gave back, and the kinds of the entries that it left."""

    ran: Ran
    kinds: list[str]


def _commands() -> Iterator[tuple[str, TyperCommand]]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            for below, leaf in command.commands.items():
                assert isinstance(leaf, TyperCommand)
                yield f"{name} {below}", leaf
        else:
            assert isinstance(command, TyperCommand)
            yield name, command


COMMANDS = dict(_commands())


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Walked]:
    """Every command that is run here, once, in one home, each with --json."""
    folder = tmp_path_factory.mktemp("commands")
    stage = Stage(folder / "stage", tmp_path_factory.getbasetemp() / "bytecode").prepare()
    files = {
        "hello.py": "print('hello')\n",
        "hiding.py": HIDING,
        "pinned.in": PINNED,
        "osv.json": json.dumps({**ADVISORY, "modified": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}),
    }
    for name, text in files.items():
        (stage.work / name).write_text(text)
    found: dict[str, Walked] = {}

    def walk(name: str, *arguments: str, caller: str = KEEPER) -> Ran:
        if stage.home.exists():
            (stage.home / "directory.toml").write_text(caller)
        before = len(stage.kinds())
        ran = stage.call(*name.split(), "--json", *arguments)
        found[name] = Walked(ran, stage.kinds()[before:])
        return ran

    walk("init")
    held = str(walk("run", "hiding.py", caller=AGENT).value()["run"])
    walk("approve", held, "--yes", caller=REVIEWER)
    walk("runs continue", held, caller=AGENT)
    again = str(walk("run", "hiding.py", caller=AGENT).value()["run"])
    walk("refuse", again, caller=REVIEWER)
    walk("run", "hello.py")
    walk("check", "hello.py")
    walk("runs list")
    walk("runs show", held)
    walk("advisories import", "osv.json")
    walk("advisories status")
    walk("audit", "pinned.in")
    walk("verify")
    walk("prove", held)
    walk("keys rotate", "--yes")
    walk("log show")
    review = str(walk("review run", "--offline").value()["review"])
    walk("review list")
    walk("review show", review)
    walk("principals list")
    walk("principals add", "newcomer")
    walk("principals disable", "helper")
    walk("policy lint")
    walk("policy test")
    walk("policy why", held)
    shutil.copytree(stage.home / "policies", stage.work / "rules")
    (stage.work / "rules" / "own.cedar").write_text("// rules of our own\n")
    walk("policy apply", "rules")
    walk("doctor")
    walk("deploy")
    return found


def test_every_command_records_or_is_listed_as_silent_with_a_reason() -> None:
    assert set(RECORDS) | set(SILENT) == set(COMMANDS)
    assert not set(RECORDS) & set(SILENT)
    assert all(SILENT.values())


@pytest.mark.jail
@pytest.mark.parametrize("name", RECORDS)
def test_a_command_leaves_the_entry_that_says_what_it_did(walked: Mapping[str, Walked], name: str) -> None:
    assert RECORDS[name] in walked[name].kinds, walked[name].ran


@pytest.mark.jail
@pytest.mark.parametrize("name", sorted(set(SILENT) - {"demo"}))
def test_a_silent_command_leaves_none(walked: Mapping[str, Walked], name: str) -> None:
    assert walked[name].kinds == []


@pytest.mark.jail
@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"demo"}))
def test_json_is_exactly_one_object_that_agrees_with_the_exit_code(walked: Mapping[str, Walked], name: str) -> None:
    ran = walked[name].ran
    value = ran.value()
    assert value
    assert "Traceback" not in ran.stderr
    assert value.get("exit_code", ran.exit_code) == ran.exit_code
    assert (name == "deploy") == ("error" in value), value


@pytest.mark.jail
def test_the_doctor_names_a_cause_and_a_cure_for_everything_that_is_not_well(walked: Mapping[str, Walked]) -> None:
    checks = walked["doctor"].ran.value()["checks"]
    assert isinstance(checks, list)
    assert {check["state"] for check in checks} <= {"ok", "missing", "warning", "not_run_live"}
    assert [
        check for check in checks if check["state"] in {"missing", "warning"} and not (check["cause"] and check["cure"])
    ] == []
    assert walked["doctor"].ran.exit_code == max(check["severity"] for check in checks)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_and_json(name: str, tmp_path: Path) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options
    ran = Stage(tmp_path / "stage", tmp_path / "bytecode").prepare().call(*name.split(), "--help")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert f"custody {name} " in ran.stdout.splitlines()[0]
    described = [line for line in ran.stdout.splitlines() if line.startswith("  ") and line.strip()]
    assert described[0].strip().endswith((".", "!", ":")) or len(described) > 1


HEAVY = ("prefect", "sqlalchemy", "fastapi", "cedarpy", "alembic", "rich", "httpx", "cryptography")
LOADED = """
import sys
from custody.cli import main
sys.argv = ["custody", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


MODULES = 350
"""More than help needs today by a quarter: what benchmarks/cli.py times grows with them."""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    modules = done.stderr.split()
    loaded = {name.partition(".")[0] for name in modules}
    assert "custody" in loaded
    assert loaded.isdisjoint(HEAVY)
    assert len(modules) <= MODULES


def test_the_benchmark_of_the_command_line_measures_what_it_says() -> None:
    """It runs and judges; how fast this machine is while tests run is not asked."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "cli.py", "--json", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    value = json.loads(done.stdout)
    assert [result["name"] for result in value["results"]] == ["custody --help", "custody --version"]
    assert all(result["value"] > 1 for result in value["results"])
    assert done.returncode == (0 if all(result["ok"] for result in value["results"]) else 1)
