"""Stages for whole sessions, and homes to begin with: made once by the library, copied for each session."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.flows.advisories import import_demo
from custody.flows.house import open_house
from custody.flows.setup import initialise
from custody.settings import load_settings

from .stage import USER, Stage


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled modules of this test run, the same place for all folders of tests."""
    return tmp_path_factory.getbasetemp() / "bytecode"


@pytest.fixture(scope="session")
def plain_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home as `custody init` makes it."""
    home = tmp_path_factory.mktemp("plain") / "home"
    initialise(home, os_user=USER)
    return home


@pytest.fixture(scope="session")
def demo_data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the shipped demo advisory data."""
    home = tmp_path_factory.mktemp("demo-data") / "home"
    initialise(home, os_user=USER)
    with open_house(load_settings(home)) as house:
        import_demo(house, house.directory.by_os_user(USER))
    return home


@pytest.fixture
def stage(tmp_path: Path, bytecode: Path) -> Stage:
    """An empty directory, no home yet."""
    return Stage(tmp_path / "stage", bytecode).prepare()


@pytest.fixture
def with_home(tmp_path: Path, bytecode: Path, plain_home: Path) -> Stage:
    """An empty directory and a plain home."""
    return Stage(tmp_path / "stage", bytecode).prepare(plain_home)


@pytest.fixture
def home_of(plain_home: Path, demo_data_home: Path) -> Callable[[str], Path]:
    """The home that a scenario's `given` line names."""
    return {"a home": plain_home, "a home with demo data": demo_data_home}.__getitem__


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can speak for another OS user: run the tests as root"
)
