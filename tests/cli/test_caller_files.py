"""A home of root serves other people by sudo: none of them reads or writes by it what only root may."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.core import TyperArgument, TyperCommand, TyperOption

from custody.caller_files import MOST_BYTES, CallerFiles
from custody.errors import UsageError

from ..scenarios.conftest import needs_root
from ..scenarios.stage import DAEMON, NOBODY, USER, Stage
from ..test_commands import COMMANDS

SECRET = "the-secret-of-root"
AS_DAEMON = {"SUDO_UID": str(DAEMON)}
DIRECTORY = f"""\
[humans.keeper]
os_user = "{USER}"
roles = ["developer", "auditor", "operator", "policy-admin"]

[humans.visitor]
os_user = "daemon"
roles = ["developer", "auditor", "operator", "policy-admin"]
"""
MAKING = "import pathlib\npathlib.Path('out').mkdir(exist_ok=True)\npathlib.Path('out/made.txt').write_text('made')\n"


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A home of ours, in a place that other users of the machine can reach; `open.py` is for all, `locked` for root only."""
    folder = Path(tempfile.mkdtemp(prefix="custody-test-"))
    folder.chmod(0o755)
    made = Stage(folder / "stage", tmp_path_factory.getbasetemp() / "bytecode").prepare()
    assert made.call("init").exit_code == 0
    (made.home / "directory.toml").write_text(DIRECTORY)
    (made.work / "open.py").write_text("print(1)\n")
    (made.work / "making.py").write_text(MAKING)
    locked = made.work / "locked"
    locked.mkdir(mode=0o700)
    for name in ("secret", "rules.cedar", "osv.json"):
        (locked / name).write_text(SECRET)
    yield made
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Refused:
    """One option that names a file, given one that only root may read or write."""

    arguments: tuple[str, ...]
    exit_code: int = 2
    recorded: tuple[str, ...] = ()


RUN = "run-20260101T000000-0123456789"
REFUSED = {
    "run program": Refused(("run", "locked/secret")),
    "run requirements": Refused(("run", "-r", "locked/secret", "open.py")),
    "run inputs": Refused(("run", "-i", "locked/secret", "open.py")),
    "run out": Refused(("run", "--out", "locked/new", "open.py")),
    "run receipt": Refused(("run", "--receipt", "locked/new", "open.py")),
    "runs continue receipt": Refused(("runs", "continue", RUN, "--receipt", "locked/new")),
    "check program": Refused(("check", "locked/secret")),
    "check requirements": Refused(("check", "-r", "locked/secret", "open.py")),
    "check inputs": Refused(("check", "-i", "locked/secret", "open.py")),
    "runs show out": Refused(("runs", "show", RUN, "--out", "locked/new")),
    "runs continue out": Refused(("runs", "continue", RUN, "--out", "locked/new")),
    "audit requirements": Refused(("audit", "locked/secret")),
    "advisories import source": Refused(("advisories", "import", "locked/osv.json"), 2, ("policy:decided",)),
    "policy apply folder": Refused(("policy", "apply", "locked"), 1, ("policy:decided", "policy:rejected")),
    "policy lint folder": Refused(("policy", "lint", "locked"), 1),
    "policy test folder": Refused(("policy", "test", "locked"), 1),
    "policy why what": Refused(("policy", "why", "locked/secret")),
    "policy why policies": Refused(("policy", "why", "--policies", "locked", "open.py"), 1),
    "policy why requirements": Refused(("policy", "why", "-r", "locked/secret", "open.py")),
    "policy why inputs": Refused(("policy", "why", "-i", "locked/secret", "open.py")),
    "verify pin": Refused(("verify", "--pin", "locked/secret")),
    "verify key": Refused(("verify", "--key", "locked/secret")),
    "verify write_pin": Refused(("verify", "--write-pin", "locked/new.note")),
    "verify report": Refused(("verify", "--report", "locked/secret")),
    "prove out": Refused(("prove", "0", "--out", "locked/new.proof")),
    "prove check": Refused(("prove", "--check", "locked/secret", "--key", "open.py")),
    "prove key": Refused(("prove", "--check", "open.py", "--key", "locked/secret")),
    "demo into": Refused(("demo", "--into", "locked/new")),
}
"""Every option and argument that names a file, by command and parameter."""
ELSEWHERE = {
    "init policies": "it needs a place without a home: test_a_home_is_not_made_of_rules_that_only_root_may_read"
}


def test_no_option_that_names_a_file_is_forgotten() -> None:
    named = {f"{name} {parameter.name}" for name, command in COMMANDS.items() for parameter in _paths(command)}
    assert len(named) > 20
    assert named - set(REFUSED) - set(ELSEWHERE) == set()


def _paths(command: TyperCommand) -> Iterator[TyperArgument | TyperOption]:
    """Parameters that Typer reads as paths, and those whose place in the usage says FILE."""
    for parameter in command.params:
        assert isinstance(parameter, TyperArgument | TyperOption)
        annotation = parameter.type_descriptor.annotation
        if annotation in {Path, list[Path]} or "FILE" in (parameter.metavar or ""):
            yield parameter


@needs_root
@pytest.mark.parametrize("name", REFUSED)
def test_what_only_root_may_touch_is_refused_to_a_caller_by_sudo(name: str, stage: Stage) -> None:
    case, kinds, files = REFUSED[name], stage.kinds(), stage.files()
    ran = stage.call(*case.arguments, environment=AS_DAEMON)
    assert ran.exit_code == case.exit_code, ran
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == ["error", "hint"], ran
    assert "internal" not in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    assert stage.kinds() == [*kinds, *case.recorded]
    assert stage.files() == files


@needs_root
def test_a_home_is_not_made_of_rules_that_only_root_may_read(stage: Stage) -> None:
    environment = {**AS_DAEMON, "CUSTODY_HOME": str(stage.folder / "second")}
    ran = stage.call("init", "--policies", "locked", environment=environment)
    assert (ran.exit_code, SECRET in ran.stderr) == (1, False), ran
    assert not (stage.folder / "second").exists()


@needs_root
def test_what_only_the_caller_may_read_is_read(stage: Stage) -> None:
    own = stage.work / "own"
    own.mkdir(mode=0o700)
    shutil.copy(stage.work / "open.py", own)
    os.chown(own, DAEMON, DAEMON)
    assert stage.call("check", "-i", "making.py", "own/open.py", environment=AS_DAEMON).exit_code == 0
    other = {"SUDO_UID": str(NOBODY)}
    ran = stage.call("check", "own/open.py", environment=other)
    assert (ran.exit_code, "permission denied" in ran.stderr) == (2, True), ran


@needs_root
@pytest.mark.jail
def test_artefacts_pins_and_proofs_belong_to_the_caller(stage: Stage) -> None:
    own = stage.work / "own"
    own.mkdir(mode=0o700)
    os.chown(own, DAEMON, DAEMON)
    ran = stage.call("run", "--json", "--out", "own/made", "making.py", environment=AS_DAEMON)
    assert ran.exit_code == 0, ran
    run = str(ran.value()["run"])
    for arguments in (
        ("runs", "show", run, "--out", "own/again"),
        ("verify", "--write-pin", "own/pin.note"),
        ("prove", run, "--out", "own/end.proof"),
    ):
        assert stage.call(*arguments, environment=AS_DAEMON).exit_code in {0, 9}
    written = sorted(path for path in own.rglob("*") if path.is_file())
    assert [str(path.relative_to(own)) for path in written] == [
        "again/made.txt",
        "end.proof",
        "made/made.txt",
        "pin.note",
    ]
    assert {path.stat().st_uid for path in own.rglob("*")} == {DAEMON}
    assert (own / "made/made.txt").read_text() == (own / "again/made.txt").read_text() == "made"


@needs_root
def test_rights_come_back_whatever_happens(tmp_path: Path) -> None:
    before = (os.geteuid(), os.getegid(), os.getgroups())
    files = CallerFiles(tmp_path, DAEMON)
    with files.rights():
        assert (os.geteuid(), os.getegid(), os.getresuid()[0]) == (DAEMON, DAEMON, 0)
        assert 0 not in os.getgroups()
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    with pytest.raises(KeyError), files.rights():
        raise KeyError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    with CallerFiles(tmp_path, 64107).rights():  # a uid that the machine does not know
        assert (os.geteuid(), os.getgroups()) == (64107, [])
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before


@pytest.mark.parametrize("name", ["ledger/ledger.sqlite", "keys/signing.key", "keys/verifier.key"])
@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_the_ledgers_own_files_are_never_given_to_a_program(stage: Stage, name: str, way: str) -> None:
    path = stage.home / name
    if way == "link":
        path = stage.work / "innocent"
        path.symlink_to(stage.home / name)
    elif way == "hard link":
        path = stage.work / "innocent"
        path.hardlink_to(stage.home / name)
    kinds = stage.kinds()
    for arguments in (("run", "-i", str(path), "open.py"), ("run", str(path)), ("verify", "--pin", str(path))):
        ran = stage.call(*arguments)
        if way == "hard link" and arguments[0] == "run":  # a home of which a file has two names is not even opened
            assert (ran.exit_code, "has 2 names" in ran.stderr) == (1, True), ran
        else:
            assert (ran.exit_code, "is part of the ledger or its keys" in ran.stderr) == (2, True), ran
    with pytest.raises(UsageError, match="is part of the ledger or its keys"):
        CallerFiles(stage.home, None).read(path)
    if way == "hard link":
        path.unlink()
    assert stage.kinds() == kinds


def test_the_public_key_may_be_read_where_it_lies(stage: Stage) -> None:
    assert stage.call("verify", "--key", str(stage.home / "keys" / "verifier.key")).exit_code == 9


def test_nothing_is_written_among_the_ledgers_files(stage: Stage) -> None:
    for arguments in (
        ("verify", "--write-pin", str(stage.home / "keys" / "verifier.key")),
        ("run", "--out", str(stage.home / "ledger" / "out"), "open.py"),
    ):
        ran = stage.call(*arguments)
        assert (ran.exit_code, "lies among the files of the ledger" in ran.stderr) == (2, True), ran


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_only_regular_files_are_read_and_nothing_is_waited_for(stage: Stage, kind: str) -> None:
    path = stage.work / "odd"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o644)
        case "device":
            path = Path("/dev/zero")
        case _:
            path.mkdir()
    for arguments in (
        ("run", str(path)),
        ("run", "-r", str(path), "open.py"),
        ("run", "-i", str(path), "open.py"),
        ("audit", str(path)),
        ("verify", "--pin", str(path)),
        ("verify", "--key", str(path)),
        ("prove", "--check", str(path), "--key", "open.py"),
    ):
        ran = stage.call(*arguments)
        assert ran.exit_code == 2, ran
        assert "is not a regular file" in ran.stderr or "is a directory, not a file" in ran.stderr, ran


def test_standard_input_can_be_named(stage: Stage) -> None:
    ran = stage.run(["custody", "check", "-i", "/dev/stdin", "open.py"], stdin=b"data")
    assert ran.exit_code == 0, ran
    ran = stage.run(["custody", "check", "-"], stdin=b"print(1)")
    assert ran.exit_code == 0, ran


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    files, large = CallerFiles(tmp_path / "home", None), tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES)
    assert len(files.read(large)) == MOST_BYTES
    with large.open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(UsageError, match="larger than 32 MiB"):
        files.read(large)


def test_a_path_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="NUL byte"):
        CallerFiles(tmp_path, None).read(Path("a\0b"))


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match="cannot be read"):
        CallerFiles(tmp_path / "home", None).read(tmp_path / "loop")
