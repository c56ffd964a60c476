"""There is no way round the gate: whatever command is given, no jail starts under policies that deny everything, or that do not fit the release."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from custody.cli import app
from custody.errors import SandboxError
from custody.flows.house import House, open_house
from custody.flows.pipeline import sandbox_of
from custody.policies import PolicySet
from custody.policies.types import Grant, Limits
from custody.sandbox.binary import find_nsjail
from custody.sandbox.types import Job
from custody.settings import load_settings
from tests.policies.test_closed_gate import foreign, older
from tests.scenarios.stage import USER, Stage

from .conftest import Ask, go
from .test_closed_home import put_in_force

ROOT = Path(__file__).resolve().parents[2]
EVERY_ROLE = ["developer", "auditor", "operator", "policy-admin", "security-reviewer", "runner", "heavy"]
DENY = '@id("nothing") @reason("Nothing is allowed") @control("AC-3") forbid (principal, action, resource);\n'
MAY_REACH_THE_JAIL = {"flows/pipeline.py", "flows/machine.py"}

GIVEN = {
    "init": ["--json"],
    "doctor": [],
    "deploy": [],
    "demo": None,  # makes a home of its own with policies of its own; nothing in it is the caller's
    "run": ["program.py"],
    "check": ["program.py"],
    "approve": ["HELD", "--yes"],
    "refuse": ["HELD"],
    "runs list": [],
    "runs show": ["HELD"],
    "runs continue": ["HELD"],
    "audit": ["requirements.txt"],
    "verify": [],
    "prove": ["1"],
    "keys rotate": [],
    "log show": [],
    "advisories import": ["osv.json"],
    "advisories status": [],
    "review run": ["--offline"],
    "review list": [],
    "review show": ["review-1"],
    "policy apply": ["policies", "--dry-run"],
    "policy lint": [],
    "policy test": [],
    "policy why": ["program.py"],
    "principals list": [],
    "principals add": ["somebody"],
    "principals disable": ["keeper"],
}
"""Every command and what it is given; None for those that are not about this home."""


def commands() -> Iterator[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from (f"{name} {below}" for below in command.commands)
        else:
            yield name


class Starts:
    """Counts every start of nsjail by this process, whoever starts it: the interpreter itself reports them."""

    def __init__(self) -> None:
        self.nsjail = str(find_nsjail(None).path)
        self.count = 0
        # a hook cannot be taken away again: it only counts
        sys.addaudithook(self._see)

    def _see(self, event: str, given: tuple[object, ...]) -> None:
        if event in {"subprocess.Popen", "os.posix_spawn", "os.exec"}:
            words = [str(given[0]), *(map(str, given[1]) if isinstance(given[1], list | tuple) else ())]
            self.count += self.nsjail in words


@dataclass(frozen=True)
class Counted:
    """A stage, a run that was held in it before, and the starts of jails."""

    stage: Stage
    starts: Starts
    held: str


SETS = {
    "denying": lambda: PolicySet({**PolicySet.shipped().files, "deny.cedar": DENY}),
    "of an older release": lambda: older(PolicySet.shipped()),
    "of a foreign release": lambda: foreign(PolicySet.shipped()),
}
"""Sets as the machinery itself, or that of an older release, wrote them: `policy apply` would refuse each of them."""


@pytest.fixture(scope="module", params=SETS)
def denying(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """A home under policies that let nothing run, with a run that was held before."""
    folder = tmp_path_factory.mktemp("gate")
    stage = Stage(folder / "stage", folder / "bytecode").prepare()
    assert stage.call("init").exit_code == 0
    roles = ", ".join(f'"{role}"' for role in EVERY_ROLE)
    agent = '\n[agents.coder]\nowner = "keeper"\nroles = ["developer"]\n'
    directory = stage.home / "directory.toml"
    directory.write_text(f'[humans.keeper]\n{agent}os_user = "{USER}"\n')
    for name, text in {
        "program.py": "print('ran')\n",
        "hiding.py": "exec(bytes.fromhex('7072696e74283129').decode())\n# " + "x7Qp2mZk9Lw4" * 60 + "\n",
        "requirements.txt": f"six==1.17.0 --hash=sha256:{'0' * 64}\n",
        "osv.json": "{}",
    }.items():
        (stage.work / name).write_text(text)
    held = str(stage.call("run", "--json", "hiding.py").value()["run"])
    directory.write_text(f'[humans.keeper]\nos_user = "{USER}"\nroles = [{roles}]\n{agent}')
    PolicySet.shipped().write_to(stage.work / "policies")
    with open_house(load_settings(stage.home)) as house:
        put_in_force(house, SETS[request.param]())
    return Counted(stage, Starts(), held)


def test_every_command_of_the_tree_is_driven_here() -> None:
    assert set(GIVEN) == set(commands())


@pytest.mark.jail
@pytest.mark.parametrize("name", sorted(name for name, given in GIVEN.items() if given is not None))
def test_under_such_policies_no_command_starts_a_jail(denying: Counted, name: str) -> None:
    arguments = [denying.held if word == "HELD" else word for word in GIVEN[name] or []]
    before = denying.starts.count
    ran = denying.stage.call(*name.split(), *arguments)
    started = denying.starts.count - before
    assert "Traceback" not in ran.stderr
    if name == "doctor":
        # its self-test is fixed and takes no input: it starts, which also shows that the counting works
        assert started > 0
    else:
        assert started == 0, ran
    assert "run:started" not in denying.stage.kinds()


@pytest.mark.jail
def test_the_same_jail_starts_where_policies_allow(tmp_path: Path, denying: Counted) -> None:
    stage = Stage(tmp_path / "stage", tmp_path / "bytecode").prepare()
    stage.call("init")
    (stage.work / "program.py").write_text("print('ran')\n")
    before = denying.starts.count
    assert stage.call("run", "program.py").stdout == "ran\n"
    assert denying.starts.count > before


def test_only_the_pipeline_the_machine_and_the_builder_import_the_jail() -> None:
    """Types are for everybody; the class that starts something is not."""
    reaching = set()
    for folder in ("custody/cli", "flows", "policies", "reports", "ledger", "dependencies"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    named = {f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names}
                    imported = {node.module or "", *named}
                elif isinstance(node, ast.Import):
                    imported = {alias.name.removeprefix("custody.") for alias in node.names}
                else:
                    continue
                jail = {name for name in imported if name.split(".")[0] == "sandbox"}
                if jail and not all(name.split(".")[1:2] == ["types"] or name == "sandbox.types" for name in jail):
                    reaching.add(path.relative_to(ROOT).as_posix())
    assert {path for path in reaching if not path.startswith("dependencies/")} == MAY_REACH_THE_JAIL


@pytest.mark.jail
def test_the_jail_refuses_a_grant_without_a_decision(house: House) -> None:
    job = Job(run="run-1", code=b"print(1)\n", file_name="program.py", language="python")
    grant = Grant(decision="", principal="alice", profile="default", limits=Limits())
    with pytest.raises(SandboxError, match="decision"):
        sandbox_of(house).run(job, grant)


@pytest.mark.jail
def test_nothing_runs_before_its_start_is_acknowledged(house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def look(*_: object, **__: object) -> object:
        seen.append([entry.kind for entry in house.ledger.entries()])
        raise SandboxError("the test ends here", hint="")

    monkeypatch.setattr("custody.sandbox.jail.Sandbox.run", look)
    assert go(house, ask()).end == "executed"
    assert [("run:started" in kinds, kinds[-1]) for kinds in seen] == [(True, "run:started")]
