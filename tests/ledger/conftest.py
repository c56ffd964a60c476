"""Ledgers to write to and to attack."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.ledger import Ledger, LedgerFiles

from .drafts import ORIGIN, Drafts


@pytest.fixture
def files(tmp_path: Path) -> LedgerFiles:
    """Where the test's ledger lies."""
    return LedgerFiles(tmp_path / "home" / "ledger.db", tmp_path / "home" / "keys")


@pytest.fixture
def ledger(files: LedgerFiles) -> Iterator[Ledger]:
    """An empty, open ledger."""
    with Ledger.create(files, origin=ORIGIN) as made:
        yield made


@pytest.fixture
def drafts() -> Drafts:
    """Makes drafts, one second after the other."""
    return Drafts()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two MiB of room: a file system of its own for root, a limit on the size of files for everybody else."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: run the tests as root to see the disk full")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["/usr/bin/umount", place], check=True)
