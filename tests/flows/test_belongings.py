"""A home that somebody else could have written is not used; it can still be verified."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.errors import ConfigurationError, Exit
from custody.flows.house import Places, now, open_house, open_ledger
from custody.flows.machine import Check, doctor
from custody.flows.verification import verify
from custody.ledger import Draft, events
from custody.settings import Settings, load_settings
from tests.conftest import MakeHome


@pytest.fixture
def settings(make_home: MakeHome) -> Settings:
    return make_home()


def elsewhere(settings: Settings, tmp_path: Path, name: str, *, link: Callable[[Path, Path], None]) -> Path:
    """Move a file out of the home, and leave a link to it."""
    path = settings.home / name
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / path.name
    path.rename(target)
    link(path, target)
    return path


OWN = ["ledger/ledger.sqlite", "keys/signing.key", "keys/verifier.key", "keys/last-signed.json"]


@pytest.mark.parametrize("name", OWN)
def test_a_file_that_is_a_link_to_another_place_is_not_used(settings: Settings, tmp_path: Path, name: str) -> None:
    path = elsewhere(settings, tmp_path, name, link=Path.symlink_to)
    with pytest.raises(ConfigurationError, match=f"`{path}` is a link to another place") as error:
        open_ledger(settings)
    assert "set CUSTODY_HOME" in error.value.hint
    with pytest.raises(ConfigurationError, match="is a link"):
        open_ledger(settings, read_only=True)


@pytest.mark.parametrize("name", OWN)
def test_a_file_that_has_another_name_is_not_used(settings: Settings, tmp_path: Path, name: str) -> None:
    """Both are written in place: what looks like a copy of before is the file of now."""
    path = elsewhere(settings, tmp_path, name, link=Path.hardlink_to)
    with pytest.raises(ConfigurationError, match=f"`{path}` has 2 names") as error:
        open_ledger(settings)
    assert "make one with `cp`" in error.value.hint
    (tmp_path / "elsewhere" / path.name).unlink()
    open_ledger(settings).close()


@pytest.mark.parametrize("name", [*OWN, "ledger/ledger.sqlite-wal", "ledger/ledger.sqlite-shm"])
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_not_used(settings: Settings, name: str, mode: int) -> None:
    with open_ledger(settings):  # its log lies beside it as long as it is open
        path = settings.home / name
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match=f"`{path}` can be written by others .* {mode:04o}"):
            open_ledger(settings)


def test_a_file_of_somebody_else_is_not_used(settings: Settings) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file to another user needs root: run the tests as root")
    path = settings.home / "ledger" / "ledger.sqlite"
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigurationError, match=f"`{path}` belongs to uid 65534"):
        open_ledger(settings)


def place_of(settings: Settings) -> Check:
    with open_house(settings) as house:
        (found,) = [check for check in doctor(house) if check.name == "home stays in its place"]
    return found


def test_doctor_warns_of_a_folder_above_the_home_that_everybody_can_write(make_home: MakeHome, tmp_path: Path) -> None:
    (tmp_path / "shared" / "mine").mkdir(parents=True)
    settings = make_home("shared/mine/home")
    (tmp_path / "shared").chmod(0o777)
    found = place_of(settings)
    assert (found.state, found.severity) == ("warning", Exit.MEDIUM)
    assert f"everybody can write `{tmp_path / 'shared'}`" in found.cause
    for mode in (0o1777, 0o770):  # as /tmp is, where nobody renames what is not his; and of a group of one's own
        (tmp_path / "shared").chmod(mode)
        assert place_of(settings).state == "ok"


def test_a_folder_behind_a_link_is_used_where_nobody_else_can_write(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (settings.home / "ledger").rename(tmp_path / "disk" / "deep" / "ledger")
    (settings.home / "ledger").symlink_to(tmp_path / "disk" / "deep" / "ledger")
    assert place_of(settings).state == "ok"
    (tmp_path / "disk").chmod(0o777)
    assert f"everybody can write `{tmp_path / 'disk'}`" in place_of(settings).cause
    (tmp_path / "disk" / "deep" / "ledger").chmod(0o777)
    with pytest.raises(ConfigurationError, match="ledger` can be written by others"):
        open_ledger(settings)


def test_a_ledger_behind_a_link_is_verified_with_what_its_log_holds(settings: Settings, tmp_path: Path) -> None:
    """The log lies beside the file, not beside the link; and the verdict is not recorded."""
    with open_ledger(settings) as ledger:
        beat = events.LedgerHeartbeat(interval_seconds=60)
        ledger.append([Draft(id="beat", event=beat, actor="custody", time=now())])
        assert Places(settings.home).ledger.database.with_name("ledger.sqlite-wal").stat().st_size > 0
        copy = tmp_path / "copy"
        shutil.copytree(settings.home, copy)
        size = ledger.size
    (copy / "ledger" / "ledger.sqlite-shm").unlink()
    (copy / "ledger").rename(tmp_path / "real")
    (copy / "ledger").mkdir()
    (copy / "ledger" / "ledger.sqlite").symlink_to(tmp_path / "real" / "ledger.sqlite")
    (tmp_path / "real").chmod(0o500)
    if os.geteuid() == 0:
        subprocess.run(["/usr/bin/mount", "--bind", "-o", "ro", tmp_path / "real", tmp_path / "real"], check=True)
    try:
        verified = verify(load_settings(copy), actor="alice")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["/usr/bin/umount", tmp_path / "real"], check=True)
        (tmp_path / "real").chmod(0o700)
    assert (verified.verification.consistent, verified.verification.size) == (True, size)
    assert verified.exit_code == Exit.UNANCHORED
    assert any("not recorded" in remark and "is a link" in remark for remark in verified.remarks)
