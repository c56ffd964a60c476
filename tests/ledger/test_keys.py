"""The signer's memory: in two places of one file, of which a crash can spoil only the one that is being written."""

import os
from pathlib import Path

import pytest

from custody.errors import EvidenceError
from custody.ledger.keys import _PLACE, KeyDirectory, Signed
from custody.ledger.tree import EMPTY_ROOT, leaf_hash

ROOT = leaf_hash(b"x")


@pytest.fixture
def keys(tmp_path: Path) -> KeyDirectory:
    directory = KeyDirectory(tmp_path / "keys")
    directory.create("test.example/audit")
    return directory


def memory(keys: KeyDirectory) -> Path:
    return keys.directory / "last-signed.json"


def test_the_newest_of_both_places_is_recalled(keys: KeyDirectory) -> None:
    assert keys.recall() == Signed(0, EMPTY_ROOT)
    for size in range(1, 7):
        keys.remember(Signed(size, ROOT))
        assert keys.recall() == Signed(size, ROOT)
        assert memory(keys).stat().st_size == 2 * _PLACE
    assert memory(keys).stat().st_mode & 0o777 == 0o600


def test_the_file_is_written_in_place(keys: KeyDirectory) -> None:
    before = memory(keys).stat().st_ino
    keys.remember(Signed(1, ROOT))
    keys.remember(Signed(2, ROOT))
    assert memory(keys).stat().st_ino == before


@pytest.mark.parametrize("written", [0, 1, 5, 40, 63, 64])
def test_a_write_that_was_cut_short_leaves_the_one_before(keys: KeyDirectory, written: int) -> None:
    for size in (1, 2, 3):
        keys.remember(Signed(size, ROOT))
    whole = memory(keys).read_bytes()
    keys.remember(Signed(4, ROOT))
    after = memory(keys).read_bytes()
    changed = [place for place in (0, _PLACE) if whole[place : place + _PLACE] != after[place : place + _PLACE]]
    assert len(changed) == 1
    torn = bytearray(b"\0" * (2 * _PLACE))
    torn[:] = whole
    torn[changed[0] : changed[0] + _PLACE] = after[changed[0] :][:written].ljust(_PLACE, b"\0")
    memory(keys).write_bytes(bytes(torn))
    assert keys.recall() == Signed(3, ROOT)
    keys.remember(Signed(4, ROOT))
    assert keys.recall() == Signed(4, ROOT)


def test_one_line_as_an_earlier_release_wrote_it_is_read_and_replaced(keys: KeyDirectory) -> None:
    line = memory(keys).read_bytes()[:_PLACE].strip() + b"\n"
    memory(keys).write_bytes(line)
    assert keys.recall() == Signed(0, EMPTY_ROOT)
    keys.remember(Signed(1, ROOT))
    assert keys.recall() == Signed(1, ROOT)
    assert memory(keys).stat().st_size == 2 * _PLACE


def test_two_spoilt_places_are_no_memory(keys: KeyDirectory) -> None:
    memory(keys).write_bytes(os.urandom(_PLACE - 1) + b"\n" + b"{}".ljust(_PLACE))
    with pytest.raises(EvidenceError, match="memory cannot be read"):
        keys.recall()
