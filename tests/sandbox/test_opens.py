"""Watching openings must leave the process as it is: no lock of it may be lost, no descriptor left."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.sandbox.opens import FileWatch, _Granted, _name_of, open_files

pytestmark = [
    pytest.mark.jail,
    pytest.mark.skipif(os.geteuid() != 0, reason="marks on file systems need CAP_SYS_ADMIN: run as root"),
]
IS_FREE = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("held")
    else:
        print("free")
"""


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[FileWatch]:
    watch = open_files([tmp_path])
    assert isinstance(watch, FileWatch)
    yield watch
    watch.close()


def _asked_by_another(path: Path) -> str:
    done = subprocess.run([sys.executable, "-I", "-c", IS_FREE, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_lock_of_this_process_outlives_that_others_open_the_file(watch: FileWatch, tmp_path: Path) -> None:
    path = tmp_path / "database"
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for _ in range(5):
            assert _asked_by_another(path) == "held"
        watch.finish()
        assert _asked_by_another(path) == "held"


def test_the_same_lock_is_lost_where_the_descriptor_of_an_event_is_closed_in_the_process_itself(tmp_path: Path) -> None:
    """The control: without a table of its own, what this watch closes would take the lock away."""
    path = tmp_path / "database"
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(os.open(path, os.O_RDONLY))
        assert _asked_by_another(path) == "free"


def test_it_leaves_no_descriptor_and_no_thread_behind(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(30):
        watch = open_files([tmp_path])
        assert isinstance(watch, FileWatch)
        (tmp_path / "x").write_text("x")
        watch.close()
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 15  # others of this process may come and go
    assert [thread for thread in threading.enumerate() if thread.name == "file-watch"] == []


def test_no_copy_of_a_pipe_keeps_it_open(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    watch = open_files([tmp_path])
    assert isinstance(watch, FileWatch)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
        watch.close()


def test_an_opening_whose_name_cannot_be_told_counts_and_is_said_to_be_lost(watch: FileWatch, tmp_path: Path) -> None:
    """The mount of this directory is the machine's own here, so that files beside it are reached through it, too."""
    (tmp_path / "granted").mkdir()
    (tmp_path / "granted" / "inside").touch()
    (tmp_path / "granted-not").touch()
    watch.admit(os.open(tmp_path / "granted", os.O_PATH), "data")
    (tmp_path / "granted" / "inside").read_bytes()
    (tmp_path / "granted-not").read_bytes()
    watch.finish()
    assert list(watch.counts) == ["/mnt/data/inside"]
    assert watch.total >= 2
    assert watch.lost


def test_the_place_that_a_mount_had_is_no_part_of_a_name_when_the_jail_is_gone() -> None:
    def name(path: str, *places: str) -> str | None:
        granted, seen = _Granted(7, "data"), iter(places)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("custody.sandbox.opens._path", lambda link: next(seen) if link.endswith("/7") else path)
            return _name_of(8, granted)

    assert name("/mnt/data/a/b", "/mnt/data", "/mnt/data") == "/mnt/data/a/b"
    assert name("/a/b", "/", "/") == "/mnt/data/a/b"
    assert name("/a/b", "/mnt/data", "/", "/") == "/mnt/data/a/b"  # it went while the name was read
    assert name("/mnt/data/mnt/data/a", "/mnt/data", "/mnt/data") == "/mnt/data/mnt/data/a"
    assert name("/mnt/data/a", "/", "/") == "/mnt/data/mnt/data/a"
    assert name("/", "/", "/") == "/mnt/data"
    assert name("/mnt/data", "/mnt/data", "/mnt/data") == "/mnt/data"
    assert name("/mnt/database", "/mnt/data", "/mnt/data") is None
