"""Ledgers to write to and to attack."""

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
