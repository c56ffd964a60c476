"""What cannot be done: one sentence and a hint, the right exit code, and nothing half done."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody import __version__
from custody.flows.house import Places
from custody.ledger import Draft, Ledger, LedgerFiles, events
from custody.policies import Directory

from .conftest import needs_root
from .stage import DAEMON, USER, Ran, Stage

Prepare = Callable[[Stage], None]


def _nothing(stage: Stage) -> None:
    del stage


@dataclass(frozen=True)
class Bad:
    """One thing that cannot be done."""

    arguments: tuple[str, ...]
    exit_code: int
    error: str
    """Part of the sentence."""
    hint: str = ""
    """Part of the hint."""
    prepare: Prepare = _nothing
    environment: dict[str, str] = field(default_factory=dict)
    recorded: tuple[str, ...] = ()
    """What the ledger has of it: only that somebody may try, which is decided before a file is looked at."""


def _no_home(stage: Stage) -> None:
    stage.home.rename(stage.folder / "elsewhere")


def _no_policies(stage: Stage) -> None:
    """A ledger in which no policy set was ever put in force."""
    stage.home.rename(stage.folder / "elsewhere")
    (stage.home / "ledger").mkdir(parents=True)
    (stage.home / "keys").mkdir()
    (stage.home / "directory.toml").write_text(Directory.starter(USER))
    from_empty = Ledger.create(_files(stage), origin="custody.local/test")
    with from_empty as ledger:
        opened = events.LedgerOpened(
            origin=ledger.origin, verifier_key=ledger.verifier_key, schema="0001", release=__version__, by=USER
        )
        ledger.append([Draft(id="ledger/opened", event=opened, actor=USER, time=datetime.now(UTC))])


def _files(stage: Stage) -> LedgerFiles:
    return Places(stage.home).ledger


def _no_keys(stage: Stage) -> None:
    (stage.home / "keys").rename(stage.folder / "keys")


def _no_ledger(stage: Stage) -> None:
    (stage.home / "ledger" / "ledger.sqlite").rename(stage.folder / "ledger.sqlite")


def _linked_ledger(stage: Stage) -> None:
    _no_ledger(stage)
    (stage.home / "ledger" / "ledger.sqlite").symlink_to(stage.folder / "ledger.sqlite")


def _garbage_key(stage: Stage) -> None:
    (stage.home / "keys" / "verifier.key").write_text("garbage\n")


def _open_to_all(name: str) -> Prepare:
    def prepare(stage: Stage) -> None:
        path = stage.home / name
        path.chmod(path.stat().st_mode | 0o022)

    return prepare


def _newer_schema(stage: Stage) -> None:
    connection = sqlite3.connect(stage.home / "ledger" / "ledger.sqlite")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()


def _in_home(name: str, text: str) -> Prepare:
    def prepare(stage: Stage) -> None:
        (stage.home / name).write_text(text)

    return prepare


def _in_work(name: str, content: bytes) -> Prepare:
    def prepare(stage: Stage) -> None:
        (stage.work / name).write_bytes(content)

    return prepare


def _unreadable(stage: Stage) -> None:
    (stage.work / "locked.py").touch(mode=0o000)


HELLO = ("run", "hello.py")
BAD = {
    "no home": Bad(HELLO, 1, "there is no custody home at `", "custody init", _no_home),
    "no policy set in force": Bad(HELLO, 1, "no policy set is in force", "custody init", _no_policies),
    "no keys": Bad(HELLO, 1, "the ledger's key is missing: `", "put it back from the copy that you keep", _no_keys),
    "no ledger": Bad(HELLO, 1, "there is no ledger at `", "put it back from the copy that you keep", _no_ledger),
    "a public key that is none": Bad(
        HELLO, 1, "has not the form name+id+key", "put it back from the copy that you keep", _garbage_key
    ),
    "a public key that is none, to verify by": Bad(
        ("verify",), 74, "has not the form name+id+key", "copy of `keys/verifier.key`", _garbage_key
    ),
    "a home that others can write": Bad(HELLO, 1, "custody` can be written by others", "chmod go-w", _open_to_all("")),
    "a directory.toml that others can write": Bad(
        HELLO, 1, "directory.toml` can be written by others", "chmod go-w", _open_to_all("directory.toml")
    ),
    "settings that others can write": Bad(
        ("doctor",), 1, "custody.toml` can be written by others", "chmod go-w", _open_to_all("custody.toml")
    ),
    "keys that others can write": Bad(HELLO, 1, "keys` can be written by others", "", _open_to_all("keys")),
    "a ledger that others can write": Bad(HELLO, 1, "ledger` can be written by others", "", _open_to_all("ledger")),
    "a database that others can write": Bad(
        HELLO, 1, "ledger.sqlite` can be written by others", "chmod go-w", _open_to_all("ledger/ledger.sqlite")
    ),
    "a database elsewhere": Bad(HELLO, 1, "is a link to another place", "set CUSTODY_HOME", _linked_ledger),
    "a misspelt variable": Bad(
        HELLO, 1, "`CUSTODY_PROFIL`; the nearest is `CUSTODY_PROFILE`", "", environment={"CUSTODY_PROFIL": "strict"}
    ),
    "a misspelt variable of a section": Bad(
        HELLO,
        1,
        "the nearest is `CUSTODY_LEDGER__WAIT_SECONDS`",
        environment={"CUSTODY_LEDGER__WAIT_SECOND": "1"},
    ),
    "a ledger of a newer schema": Bad(HELLO, 74, "has schema 9999", "newer", _newer_schema),
    "a broken custody.toml": Bad(HELLO, 1, "is not TOML", "mend the file", _in_home("custody.toml", "profile = [")),
    "an unknown setting": Bad(HELLO, 1, "setting `colour`", "docs/settings.md", _in_home("custody.toml", "colour = 1")),
    "a broken directory.toml": Bad(
        HELLO, 1, "directory.toml` cannot be used", "", _in_home("directory.toml", "[humans")
    ),
    "no directory.toml": Bad(HELLO, 1, "directory.toml", "", lambda stage: (stage.home / "directory.toml").unlink()),
    "a program that is not there": Bad(("run", "nowhere.py"), 2, "`nowhere.py` cannot be read: no such file"),
    "a directory instead of a program": Bad(("run", "."), 2, "`.` is a directory, not a file"),
    "a program with NUL bytes": Bad(("run", "nul.py"), 2, "holds NUL bytes", "", _in_work("nul.py", b"x = 1\0\n")),
    "an empty program": Bad(("run", "empty.py"), 2, "`empty.py` is empty", "", _in_work("empty.py", b" \n")),
    "a program of more than 1 MiB": Bad(
        ("run", "large.py"), 2, "more than 1 MiB", "input files", _in_work("large.py", b"#" * (1024 * 1024 + 1))
    ),
    "requirements with options": Bad(
        ("run", "-r", "r.in", "hello.py"), 2, "`r.in`, line 1: option", "hashes", _in_work("r.in", b"--pre\n")
    ),
    "requirements that are not there": Bad(("run", "-r", "r.in", "hello.py"), 2, "`r.in` cannot be read"),
    "an input file that is not there": Bad(("run", "-i", "data.csv", "hello.py"), 2, "`data.csv` cannot be read"),
    "an input file with the program's name": Bad(("run", "-i", "hello.py", "hello.py"), 2, "the same name"),
    "a program called out": Bad(
        ("run", "out"), 2, "`out` is not a file name", "what the program leaves", _in_work("out", b"1")
    ),
    "a program whose name reads backwards": Bad(
        ("run", "a\u202eyp.b"), 2, "is not a file name", "", _in_work("a\u202eyp.b", b"1")
    ),
    "requirements without a package": Bad(
        ("run", "-r", "r.in", "hello.py"), 2, "`r.in` names no package", "leave it out", _in_work("r.in", b"")
    ),
    "an audit of nothing": Bad(("audit", "r.in"), 2, "nothing to audit", "", _in_work("r.in", b"")),
    "an audit of what is no file": Bad(("audit", "/dev/null"), 2, "is not a regular file"),
    "a workspace without room for the input": Bad(
        ("run", "-l", "disk_mib=1", "-i", "data", "hello.py"),
        2,
        "the workspace of 1 MiB",
        "",
        _in_work("data", b"x" * 2**20),
    ),
    "too few files for a program": Bad(("run", "-l", "files=1", "hello.py"), 2, "limit `files` is 1", "at least 4"),
    "too little memory for an interpreter": Bad(
        ("run", "-l", "memory_mib=1", "hello.py"), 2, "limit `memory_mib` is 1", "at least 16"
    ),
    "too few open files for an interpreter": Bad(
        ("run", "-l", "open_files=1", "hello.py"), 2, "limit `open_files` is 1", "at least 8"
    ),
    "a mount of the home": Bad(("run", "--mount", "../custody", "hello.py"), 2, "is that very directory"),
    "a mount in the home": Bad(("run", "--mount", "../custody/keys", "hello.py"), 2, "custody's own home"),
    "a mount around the home": Bad(("run", "--mount", "..", "hello.py"), 2, "custody's own home"),
    "a place for artefacts below a file": Bad(("run", "--out", "hello.py/x", "hello.py"), 2, "not a directory"),
    "a place for artefacts that is no disk": Bad(("run", "--out", "/proc/x", "hello.py"), 2, "cannot be written"),
    "a kind that is not there": Bad(("log", "show", "--kind", "run:ended"), 2, "`run:ended`", "docs/events.md"),
    "entries of a run that is not there": Bad(
        ("log", "show", "--run", "run-of-nothing"), 2, "there is no run", "runs list", recorded=("policy:decided",)
    ),
    "an approval of nothing": Bad(("approve", "--yes"), 2, "nothing was named to approve", "custody approve"),
    "a folder without rules": Bad(("policy", "lint", "."), 1, "`.` holds no `.cedar` file", "`.cedar`"),
    "a group with an option of its commands": Bad(("runs", "--fast"), 2, "no such option: --fast", "--help"),
    "an unknown profile": Bad(("run", "-p", "loose", "hello.py"), 2, "there is no profile `loose`", "`strict`"),
    "a limit of nothing": Bad(
        ("run", "-l", "wall_seconds=0", "hello.py"), 2, "limit `wall_seconds` must be at least 1"
    ),
    "a limit beyond the profile": Bad(
        ("run", "-l", "wall_seconds=99999", "hello.py"),
        2,
        "limit `wall_seconds` is 99999, more than the profile `default` has",
        "ask for at most 600",
    ),
    "an unknown limit": Bad(("run", "-l", "wishes=3", "hello.py"), 2, "there is no limit `wishes`", "wall_seconds"),
    "a limit without a number": Bad(("run", "-l", "files=many", "hello.py"), 2, "needs a whole number, not `many`"),
    "a host without a port": Bad(
        ("run", "--host", "example.com", "hello.py"), 2, "is not a host and port", "NAME:PORT"
    ),
    "a mount that is not there": Bad(("run", "--mount", "/nowhere/at/all", "hello.py"), 2, "cannot be mounted"),
    "a taken place for artefacts": Bad(("run", "--out", ".", "hello.py"), 2, "is not an empty directory"),
    "a run that is not there": Bad(("runs", "show", "run-of-nothing"), 2, "there is no run `run-of-nothing`"),
    "a run that is not there to continue": Bad(("runs", "continue", "run-of-nothing"), 2, "there is no run"),
    "a run that is not there to approve": Bad(("approve", "run-of-nothing", "--yes"), 2, "there is no run"),
    "advisories that are not there": Bad(
        ("advisories", "import", "osv.json"), 2, "osv.json", recorded=("policy:decided",)
    ),
    "a pin that is not there": Bad(("verify", "--pin", "kept.note"), 2, "pin `kept.note` cannot be read"),
    "a pin that is none": Bad(("verify", "--pin", "hello.py"), 2, "pin `hello.py` is no signed note"),
    "a key that is not there": Bad(("verify", "--key", "kept.key"), 2, "`kept.key` cannot be read"),
    "a beginning that is no time": Bad(
        ("review", "run", "--since", "yesterday"), 2, "`yesterday` is not a time", "24h"
    ),
    "an end before the beginning": Bad(
        ("review", "run", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"),
        2,
        "ends before it begins",
    ),
    "a command that is not there": Bad(("fly",), 2, "fly", "--help"),
    "an option that is not there": Bad(("run", "--fast", "hello.py"), 2, "--fast", "--help"),
    "a command without its argument": Bad(("run",), 2, "missing argument", "--help"),
    "no room for the ledger": Bad(HELLO, 74, "free", "", environment={"CUSTODY_LEDGER__DISK_RESERVE_MIB": "99999999"}),
    "a demo over something else": Bad(("demo", "--into", "."), 2, "exists and is no demo", "--into"),
    "a home over something else": Bad(("init",), 2, "exists already"),
}


def _says(ran: Ran, bad: Bad) -> None:
    lines = ran.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], ran
    assert bad.error in lines[0]
    assert bad.hint in lines[1]
    assert lines[1].removeprefix("hint:").strip()
    assert not lines[0].endswith(".")
    assert ran.exit_code == bad.exit_code


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_with_a_hint_and_changes_nothing(name: str, with_home: Stage) -> None:
    bad = BAD[name]
    (with_home.work / "hello.py").write_text("print('hello')\n")
    bad.prepare(with_home)
    kinds, files = with_home.kinds(), with_home.files()
    ran = with_home.call(*bad.arguments, environment=bad.environment)
    _says(ran, bad)
    assert ran.stdout == ""
    assert with_home.kinds() == [*kinds, *bad.recorded]
    assert with_home.files() == files
    told = with_home.call(*bad.arguments, "--json") if bad.arguments[0] == "runs" else None
    assert told is None or told.value()["exit_code"] == bad.exit_code


def test_an_unreadable_program_is_refused(with_home: Stage) -> None:
    _unreadable(with_home)
    kinds = with_home.kinds()
    # root reads every file, unless it gives up the right to
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    ran = with_home.run([*without, str(Path(sys.executable).with_name("custody")), "run", "locked.py"])
    _says(ran, Bad((), 2, "`locked.py` cannot be read: permission denied"))
    assert with_home.kinds() == kinds


@needs_root
def test_an_unknown_caller_is_denied_on_record(with_home: Stage) -> None:
    (with_home.work / "hello.py").write_text("print('hello')\n")
    ran = with_home.call("run", "hello.py", environment={"SUDO_UID": str(DAEMON)})
    assert ran.exit_code == 3
    assert "principal-known" in ran.stderr
    assert with_home.kinds()[-3:] == ["run:submitted", "policy:decided", "run:finished"]
    ran = with_home.call("log", "show", environment={"SUDO_UID": str(DAEMON)})
    _says(ran, Bad((), 3, "may not read the ledger"))
    assert with_home.kinds()[-2:] == ["policy:decided", "access:denied"]


def test_without_nsjail_a_run_is_unavailable_on_record(with_home: Stage) -> None:
    (with_home.work / "hello.py").write_text("print('hello')\n")
    ran = with_home.call("run", "hello.py", environment={"CUSTODY_SANDBOX__NSJAIL": "/nowhere/nsjail"})
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert "/nowhere/nsjail" in ran.stderr
    assert "hint: `custody doctor`" in ran.stderr
    kinds = with_home.kinds()
    assert kinds[-1] == "run:finished"
    assert "run:started" not in kinds


NO_NAMESPACES = "echo 0 > /proc/sys/user/max_user_namespaces && exec custody run hello.py"


@pytest.mark.jail
def test_without_user_namespaces_a_run_is_unavailable_and_the_cause_is_named(with_home: Stage) -> None:
    (with_home.work / "hello.py").write_text("print('hello')\n")
    # in a namespace of their own everybody is called root
    (with_home.home / "directory.toml").write_text('[humans.root]\nos_user = "root"\nroles = ["developer"]\n')
    ran = with_home.run(["unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES])
    assert ran.exit_code == 1, ran
    assert ran.stdout == ""
    assert "namespace" in ran.stderr
    assert "hint: `custody doctor`" in ran.stderr
    assert with_home.kinds()[-1] == "run:finished"
    assert "run:started" not in with_home.kinds()


@contextmanager
def _mounted(place: Path, *arguments: str) -> Iterator[None]:
    done = subprocess.run(["/usr/bin/mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount here, run the tests as its root: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", str(place)], check=True)


@needs_root
@pytest.mark.mounts
def test_a_full_disk_is_met_before_anything_is_half_done(with_home: Stage) -> None:
    (with_home.work / "hello.py").write_text("print('hello')\n")
    (with_home.work / "large.txt").write_bytes(os.urandom(6 * 1024 * 1024))
    with _small_home(with_home):
        kinds, files = with_home.kinds(), with_home.files()
        # less than the reserve is free: refused before it gets tight
        _says(with_home.call(*HELLO), Bad((), 74, "free", "space"))
        # the reserve is there, but the disk fills up while the input is written
        small = {"CUSTODY_LEDGER__DISK_RESERVE_MIB": "1"}
        ran = with_home.call("run", "--input", "large.txt", "hello.py", environment=small)
        _says(ran, Bad((), 74, ""))
        assert with_home.kinds() == kinds
        assert with_home.files() == files
        # nothing is broken by it
        assert with_home.call("verify", environment=small).exit_code == 9
        assert with_home.call("check", "hello.py", environment=small).exit_code == 0


@needs_root
@pytest.mark.parametrize("arguments", [("log", "show"), ("check", "hello.py"), ("runs", "list")])
@pytest.mark.mounts
def test_a_disk_without_a_byte_is_called_full(with_home: Stage, arguments: tuple[str, ...]) -> None:
    (with_home.work / "hello.py").write_text("print('hello')\n")
    with _small_home(with_home):
        filling = with_home.home / "filling"
        with suppress(OSError), filling.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        small = {"CUSTODY_LEDGER__DISK_RESERVE_MIB": "1"}
        _says(with_home.call(*arguments, environment=small), Bad((), 74, "no room left on its disk", "free some space"))
        filling.unlink()
        assert with_home.call(*arguments, environment=small).exit_code == 0


@needs_root
@pytest.mark.jail
@pytest.mark.mounts
def test_a_disk_that_fills_during_a_run_says_that_it_was_executed(with_home: Stage) -> None:
    (with_home.work / "long.py").write_text("import time\ntime.sleep(50)\n")
    small = {"CUSTODY_LEDGER__DISK_RESERVE_MIB": "1"}
    command = [str(Path(sys.executable).with_name("custody")), "run", "long.py"]
    environment = {**with_home.variables(), **small}
    with _small_home(with_home):
        filling = with_home.home / "filling"
        with subprocess.Popen(command, cwd=with_home.work, env=environment, stderr=subprocess.PIPE) as process:
            while "run:started" not in with_home.kinds():
                with suppress(subprocess.TimeoutExpired):
                    assert process.wait(0.05) is None
            with suppress(OSError), filling.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            process.terminate()
            _, stderr = process.communicate(timeout=60)
        ran = Ran(process.returncode, "", stderr.decode())
        _says(
            ran, Bad((), 74, "was executed, and its end is not on record", "the next command closes the run as unknown")
        )
        assert "no room left on its disk" in ran.stderr
        filling.unlink()
        # what is looked at next has its end: nothing is shown as if it were still under way
        listed = with_home.call("runs", "list", "--json", environment=small).value()["runs"]
        assert isinstance(listed, list)
        assert [(run["state"], run["end"]) for run in listed] == [("finished", "unknown")]


@contextmanager
def _small_home(stage: Stage) -> Iterator[None]:
    """The home on a disk of its own, of 6 MiB."""
    whole = stage.folder / "whole"
    stage.home.rename(whole)
    stage.home.mkdir()
    with _mounted(stage.home, "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs"):
        subprocess.run(["/usr/bin/cp", "-a", f"{whole}/.", str(stage.home)], check=True)
        yield


@needs_root
def test_a_home_of_somebody_else_is_not_used_and_can_still_be_verified(with_home: Stage) -> None:
    for name in ("", "directory.toml", "custody.toml", "keys", "ledger"):
        path = with_home.home / name
        os.chown(path, DAEMON, DAEMON)
        for arguments in (HELLO, ("runs", "list"), ("doctor",), ("approve",)):
            (with_home.work / "hello.py").write_text("print('hello')\n")
            _says(with_home.call(*arguments), Bad((), 1, f"`{path}` belongs to uid {DAEMON}", "chown"))
        ran = with_home.call("verify")
        assert (ran.exit_code, f"the verdict was not recorded: `{path}` belongs to" in ran.stderr) == (9, True), ran
        os.chown(path, 0, 0)


@needs_root
@pytest.mark.mounts
def test_a_home_that_cannot_be_written_takes_no_run_and_can_still_be_verified(with_home: Stage) -> None:
    (with_home.work / "hello.py").write_text("print('hello')\n")
    kinds, files = with_home.kinds(), with_home.files()
    # looking at the kinds leaves the files that SQLite shares between readers; a home that was closed has none
    for left in (with_home.home / "ledger").glob("ledger.sqlite-*"):
        left.unlink()
    with _mounted(with_home.home, "--bind", str(with_home.home)):
        subprocess.run(["/usr/bin/mount", "-o", "remount,bind,ro", str(with_home.home)], check=True)
        for arguments in (
            HELLO,
            ("runs", "list"),
            ("log", "show"),
            ("doctor",),
            ("review", "list"),
            ("advisories", "status"),
        ):
            ran = with_home.call(*arguments)
            _says(ran, Bad((), 74, "cannot be written: read-only file system", "`custody verify` works"))
            assert ran.stdout == ""
        ran = with_home.call("verify")
        assert ran.exit_code == 9
        assert "the verdict was not recorded: the home `" in ran.stderr
    assert with_home.kinds() == kinds
    assert with_home.files() == files
