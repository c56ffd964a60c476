"""A disk that is full before a run, or becomes full while it runs: nothing runs, or nothing is handed out; and all goes on when there is room."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.errors import Exit, LedgerError
from custody.flows.house import open_house
from custody.flows.machine import recover
from custody.flows.verification import verify
from custody.ledger import events
from custody.sandbox import Sandbox
from custody.settings import Settings, load_settings
from tests.conftest import MakeHome

from .conftest import go, kinds, request_of

pytestmark = pytest.mark.mounts


@pytest.fixture
def small(make_home: MakeHome, tmp_path: Path) -> Iterator[Settings]:
    """A home on a file system of 16 MiB, of which none is kept in reserve but one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: run the tests as root to see the disk full")
    made = make_home(configuration="\n[ledger]\ndisk_reserve_mib = 1\n")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], check=True)
    try:
        shutil.copytree(made.home, place / "home")
        yield load_settings(place / "home")
    finally:
        subprocess.run(["/usr/bin/umount", "-l", place], check=True)


def ballast(settings: Settings) -> Path:
    return settings.home.parent / "ballast"


def fill(settings: Settings) -> None:
    """Leave not one byte."""
    with ballast(settings).open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


@pytest.mark.parametrize("opened_before", [False, True])
def test_nothing_runs_on_a_full_disk(small: Settings, monkeypatch: pytest.MonkeyPatch, *, opened_before: bool) -> None:
    monkeypatch.setattr(Sandbox, "run", lambda *_, **__: pytest.fail("a jail was started"))
    with open_house(small) as house:
        size = house.ledger.size
        if opened_before:
            fill(small)
            with pytest.raises(LedgerError) as caught:
                go(house, request_of(house))
    if not opened_before:
        fill(small)
        with pytest.raises(LedgerError) as caught, open_house(small) as house:
            go(house, request_of(house))
    assert caught.value.exit_code == Exit.LEDGER
    assert caught.value.hint
    ballast(small).unlink()
    monkeypatch.undo()
    with open_house(small) as house:
        assert house.ledger.size == size
    assert verify(small, actor="alice").verification.consistent


@pytest.mark.jail
def test_a_disk_that_becomes_full_while_a_program_runs_withholds_its_result(
    small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Sandbox.run

    def running(*arguments: object, **named: object) -> object:
        outcome = real(*arguments, **named)  # type: ignore[arg-type]  # because they are only handed on
        fill(small)
        return outcome

    with open_house(small) as house:
        with monkeypatch.context() as patch:
            patch.setattr(Sandbox, "run", running)
            with pytest.raises(LedgerError, match="was executed, and its end is not on record") as caught:
                go(house, request_of(house, "print('x' * 50000)\n"))
        assert caught.value.exit_code == Exit.LEDGER
        assert "its result is given to nobody" in caught.value.hint
        ballast(small).unlink()
        (run,) = recover(house)
        assert kinds(house, run).count("run:finished") == 1
        (end,) = (entry.event for entry in house.ledger.entries(run=run, kinds=("run:finished",)))
        assert isinstance(end, events.RunFinished)
        assert (end.end, end.started, end.stdout) == ("unknown", True, None)
        assert go(house, request_of(house)).end == "executed"
    assert verify(small, actor="alice").verification.consistent
