"""The signer's memory: in two places of one file, of which no crash and no power cut can spoil both."""

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from custody.errors import EvidenceError
from custody.ledger import Ledger, LedgerFiles, verify_ledger
from custody.ledger import memory as under_test
from custody.ledger.memory import _PLACE, Signed, SignerMemory, _line_of, _sum_of
from custody.ledger.tree import leaf_hash

from .drafts import ORIGIN, Drafts

ROOT = leaf_hash(b"x")


@pytest.fixture
def memory(tmp_path: Path) -> SignerMemory:
    made = SignerMemory(tmp_path / "last-signed.json")
    made.remember(Signed(0, ROOT))
    return made


def file_of(memory: SignerMemory) -> Path:
    return memory._path


class Disk:
    """What was written and synced, in order, and what a power cut may have left of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
        self.events: list[tuple[bytes, int] | None] = []
        """A line and its place, or a sync."""
        self._before = before
        put, sync = SignerMemory._put, SignerMemory._sync

        def note_put(memory: SignerMemory, descriptor: int, line: bytes, place: int) -> None:
            self.events.append((line, place))
            put(memory, descriptor, line, place)

        def note_sync(memory: SignerMemory, descriptor: int) -> None:
            sync(memory, descriptor)
            self.events.append(None)

        monkeypatch.setattr(SignerMemory, "_put", note_put)
        monkeypatch.setattr(SignerMemory, "_sync", note_sync)

    def contents(self, events: int) -> Iterator[bytes]:
        """Every content that the file may have after a power cut when so many things were done.

        Each page is as it was at the last sync, or as any write since then left it, or cut short within any of these.
        """
        durable, pending = [self._before[:_PLACE], self._before[_PLACE:]], [list[bytes](), list[bytes]()]
        for event in self.events[:events]:
            if event is None:
                durable = [(lines or [old])[-1] for old, lines in zip(durable, pending, strict=True)]
                pending = [[], []]
            else:
                pending[event[1] // _PLACE].append(event[0])
        pages = []
        for old, lines in zip(durable, pending, strict=True):
            versions = [old, *lines]
            torn = [new[:cut] + was[cut:] for was, new in itertools.pairwise(versions) for cut in range(1, 100, 7)]
            pages.append(versions + torn)
        for first, second in itertools.product(*pages):
            yield first + second


def test_what_was_remembered_last_is_recalled(memory: SignerMemory) -> None:
    assert memory.recall() == Signed(0, ROOT)
    for size in range(1, 7):
        memory.remember(Signed(size, ROOT))
        assert memory.recall() == SignerMemory(file_of(memory)).recall() == Signed(size, ROOT)
        assert file_of(memory).stat().st_size == 2 * _PLACE
    assert file_of(memory).stat().st_mode & 0o777 == 0o600


def test_the_file_is_written_in_place(memory: SignerMemory) -> None:
    before = file_of(memory).stat().st_ino
    memory.remember(Signed(1, ROOT))
    memory.remember(Signed(2, ROOT))
    assert file_of(memory).stat().st_ino == before


@pytest.mark.parametrize("settled_every", [0.0, 1e9])
def test_no_power_cut_loses_what_was_on_disk_or_leaves_more_than_was_signed_for(
    memory: SignerMemory, monkeypatch: pytest.MonkeyPatch, settled_every: float
) -> None:
    """Whatever of the writes since the last wait for the disk arrives there, whole, in part or not at all."""
    monkeypatch.setattr(under_test, "_SETTLED_EVERY", settled_every)
    before = file_of(memory).read_bytes()
    disk = Disk(monkeypatch, before)
    done: list[tuple[int, int]] = []
    for size in range(1, 5):
        memory.remember(Signed(size, ROOT))
        done.append((len(disk.events), size))
    memory.settle()
    tried = 0
    for events in range(len(disk.events) + 1):
        begun = next((size for count, size in done if events <= count), 4)
        settled = max((size for count, size in done if count <= events and disk.events[count - 1] is None), default=0)
        for content in disk.contents(events):
            file_of(memory).write_bytes(content)
            assert settled <= SignerMemory(file_of(memory)).recall().size <= begun
            tried += 1
    assert tried > 100
    assert settled == (4 if settled_every == 0 else 1)
    assert disk.events[-1] is None  # the last was put on disk by `settle`, or before


def test_closing_puts_on_disk_what_was_not_waited_for(memory: SignerMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_SETTLED_EVERY", 1e9)
    memory.remember(Signed(1, ROOT))
    disk = Disk(monkeypatch, file_of(memory).read_bytes())
    memory.settle()
    assert disk.events == []
    memory.remember(Signed(2, ROOT))
    assert [event is None for event in disk.events] == [False]
    memory.settle()
    memory.settle()
    assert [event is None for event in disk.events] == [False, True]
    for content in disk.contents(2):
        file_of(memory).write_bytes(content)
        assert SignerMemory(file_of(memory)).recall() == Signed(2, ROOT)


def test_what_lags_behind_is_caught_up_with_after_a_power_cut(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has every batch, the memory any that was there since it was last waited for."""
    monkeypatch.setattr(under_test, "_SETTLED_EVERY", 1e9)
    place = files.keys / "last-signed.json"
    ledger.append(drafts.several(2))
    disk = Disk(monkeypatch, place.read_bytes())
    for _ in range(3):
        ledger.append(drafts.several(2))
    for content in {*disk.contents(len(disk.events))}:
        place.write_bytes(content)
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent
        with Ledger.open(files) as after:
            after.append([drafts.make()])
            assert SignerMemory(place).recall().size == after.size


def test_a_line_of_mixed_halves_is_no_memory(memory: SignerMemory) -> None:
    memory.remember(Signed(1, ROOT))
    memory.remember(Signed(2, leaf_hash(b"y")))
    first, second = file_of(memory).read_bytes()[:_PLACE], file_of(memory).read_bytes()[_PLACE:]
    mixed = [second[:cut] + first[cut:] for cut in range(1, 120) if second[:cut] + first[cut:] not in {first, second}]
    assert len(mixed) > 60
    for line in mixed:
        file_of(memory).write_bytes(first + line)
        assert memory.recall() == Signed(1, ROOT)


def test_two_spoilt_places_are_no_memory(memory: SignerMemory) -> None:
    for content in (os.urandom(_PLACE - 1) + b"\n" + b"{}".ljust(_PLACE), bytes(2 * _PLACE), b"", b"{}"):
        file_of(memory).write_bytes(content)
        with pytest.raises(EvidenceError, match="memory cannot be read"):
            memory.recall()


@pytest.mark.parametrize("size", ["-1", "300.0", "true", '"3"', "null", "1e400", "18446744073709551616"])
def test_a_size_that_no_tree_has_is_no_memory(memory: SignerMemory, size: str) -> None:
    """A tree of less than no entries would be compared with nothing, and nobody would be told."""
    root, checked = "A" * 43 + "=", ""
    with suppress(orjson.JSONDecodeError):
        checked = _sum_of(root, orjson.loads(size))  # right, so that nothing but the size can be refused
    line = b'{"root":"%s","size":%s,"sum":"%s"}' % (root.encode(), size.encode(), checked.encode())
    file_of(memory).write_bytes(line.ljust(_PLACE - 1) + b"\n" + b" " * _PLACE)
    with pytest.raises(EvidenceError, match="memory cannot be read"):
        memory.recall()


def test_verify_says_that_a_memory_is_there_and_cannot_be_read(ledger: Ledger, files: LedgerFiles) -> None:
    place, said = files.keys / "last-signed.json", "what the signer last signed for: its memory"
    place.write_bytes(_line_of(Signed(-1, ROOT)) * 2)
    assert f"{said} cannot be read" in verify_ledger(files, verifier_key=ledger.verifier_key).not_checked
    place.unlink()
    assert f"{said} is not here" in verify_ledger(files, verifier_key=ledger.verifier_key).not_checked
    os.mkfifo(place)  # nobody writes into it, and nobody waits for that
    assert f"{said} cannot be read" in verify_ledger(files, verifier_key=ledger.verifier_key).not_checked


def test_a_ledger_that_is_closed_waits_for_what_it_did_not_wait_for(
    files: LedgerFiles, drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "_SETTLED_EVERY", 1e9)
    Ledger.create(files, origin=ORIGIN).close()
    place = files.keys / "last-signed.json"
    with Ledger.open(files) as ledger:
        ledger.append([drafts.make()])
        disk = Disk(monkeypatch, place.read_bytes())
        ledger.append([drafts.make()])
        assert len(disk.events) == 1
    assert disk.events[-1] is None
    for content in disk.contents(len(disk.events)):
        place.write_bytes(content)
        assert SignerMemory(place).recall().size == 2


def test_a_memory_that_is_gone_when_the_ledger_is_closed_is_met_by_the_next_append(
    files: LedgerFiles, drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "_SETTLED_EVERY", 1e9)
    with Ledger.create(files, origin=ORIGIN) as ledger:
        for _ in range(2):
            ledger.append([drafts.make()])
        (files.keys / "last-signed.json").unlink()
    with Ledger.open(files) as ledger, pytest.raises(EvidenceError, match="memory is gone"):
        ledger.append([drafts.make()])


def test_what_another_process_wrote_meanwhile_is_recalled(memory: SignerMemory) -> None:
    other = SignerMemory(file_of(memory))
    for size in range(1, 6):
        (memory, other)[size % 2].remember(Signed(size, ROOT))
        assert memory.recall() == other.recall() == Signed(size, ROOT)
    kept = file_of(memory).read_bytes()
    other.remember(Signed(9, ROOT))
    file_of(memory).write_bytes(kept)  # an older copy, put back
    assert memory.recall() == Signed(5, ROOT)
