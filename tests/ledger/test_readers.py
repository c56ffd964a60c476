"""Other processes read along: they change no finding, and one that dies loses nothing."""

import gc
import io
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from custody.ledger import Ledger, LedgerFiles, Pin, Verification, verify_ledger
from custody.ledger.readers import Readers, _Other, reasonable_number
from custody.ledger.reading import ANSWER, QUESTION, answer, opened
from custody.ledger.sections import SECTION, Section, SectionReader
from custody.ledger.tree import fold_row

from .drafts import ORIGIN, START, Drafts, artefact, egress
from .forgery import Forger

SIZE = 5 * SECTION + 77


class Long(NamedTuple):
    """A ledger of several sections, with a rotation and payloads in some of them."""

    files: LedgerFiles
    verifier_key: str
    pin: Pin


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Long:
    home = tmp_path_factory.mktemp("long")
    files = LedgerFiles(home / "ledger.db", home / "keys")
    drafts = Drafts()
    with Ledger.create(files, origin=ORIGIN) as ledger:
        key = ledger.verifier_key
        ledger.append(drafts.several(700))
        ledger.rotate_key(event_id="rotation", actor="root", time=START + timedelta(seconds=700))
        payload = ledger.seal(b"content", media="text/plain")
        ledger.append([drafts.make(artefact(payload.ref))], [payload])
        ledger.append([*drafts.several(SIZE - ledger.size - 1), drafts.make(artefact(payload.ref))])
        return Long(files, key, Pin("pin", ledger.checkpoint().note))


@pytest.fixture
def copied(long: Long, tmp_path: Path) -> Long:
    files = LedgerFiles(tmp_path / "ledger.db", tmp_path / "keys")
    shutil.copyfile(long.files.database, files.database)
    shutil.copytree(long.files.keys, files.keys)
    return long._replace(files=files)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sections that others were asked for; the reading begins when all of them are ready."""
    begin, ask, sections = Readers.begin, _Other.ask, list[int]()

    def begin_and_wait(self: Readers, uri: str, others: int) -> None:
        begin(self, uri, others)
        assert len(self._others) == others
        while not all(other.ready for other in self._others):
            self._listen(wait=True)

    def ask_and_note(self: _Other, number: int, first: int, count: int) -> bool:
        sections.append(number)
        return ask(self, number, first, count)

    monkeypatch.setattr(Readers, "begin", begin_and_wait)
    monkeypatch.setattr(_Other, "ask", ask_and_note)
    return sections


def verified(long: Long, processes: int, *, from_pin: bool = False) -> Verification:
    key, pins = long.verifier_key, [long.pin]
    return verify_ledger(long.files, verifier_key=key, pins=pins, from_pin=from_pin, processes=processes)


def nothing(_forger: Forger) -> None:
    """As it was."""


def change_a_leaf(forger: Forger) -> None:
    forger.edit(2 * SECTION + 5, host="changed.example.org")


def change_two_leaves(forger: Forger) -> None:
    forger.edit(4 * SECTION, host="changed.example.org")
    forger.edit(SECTION + 1, count=7)


def spoil_a_leaf(forger: Forger) -> None:
    forger.run("UPDATE entry SET leaf = x'7b7d' WHERE idx = ?", 3 * SECTION - 1)


def make_a_gap(forger: Forger) -> None:
    forger.run("DELETE FROM event_index WHERE idx = ?", 3 * SECTION)
    forger.run("DELETE FROM entry WHERE idx = ?", 3 * SECTION)


def hide_from_the_index(forger: Forger) -> None:
    forger.run("DELETE FROM event_index WHERE idx = ?", SECTION)


def lie_in_the_index(forger: Forger) -> None:
    forger.run("UPDATE event_index SET outcome = 'good' WHERE idx IN (?, 3)", 4 * SECTION + 9)


def change_a_payload(forger: Forger) -> None:
    forger.run("UPDATE payload SET content = x'00'")


def go_back_in_time(forger: Forger) -> None:
    forger.backdate(2 * SECTION, "2026-02-01T00:00:00.000000Z")


def number_below_nothing(forger: Forger) -> None:
    forger.run("INSERT INTO entry SELECT -5, leaf, 'another' FROM entry WHERE idx = 0")


def cut_the_end(forger: Forger) -> None:
    forger.cut(4 * SECTION + 3)


def change_a_tile(forger: Forger) -> None:
    forger.run("UPDATE tile SET root = zeroblob(32) WHERE level = 0 AND idx = 3")


ATTACKS = [
    nothing, change_a_leaf, change_two_leaves, spoil_a_leaf, make_a_gap, hide_from_the_index, lie_in_the_index,
    change_a_payload, go_back_in_time, number_below_nothing, cut_the_end, change_a_tile,
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_how_many_processes_read_changes_no_finding(
    copied: Long, attack: Callable[[Forger], None], asked: list[int]
) -> None:
    attack(Forger(copied.files.database))
    alone, together = verified(copied, 1), verified(copied, 2)
    assert together == alone
    assert alone.consistent == (attack is nothing)
    assert (asked != []) == (attack not in {make_a_gap, number_below_nothing})


def test_from_a_pin_others_read_what_follows(copied: Long, asked: list[int]) -> None:
    drafts = Drafts("more")
    drafts._count = SIZE
    with Ledger.open(copied.files) as ledger:
        ledger.append(drafts.several(3 * SECTION, run="more"))
    assert verified(copied, 3, from_pin=True) == verified(copied, 1, from_pin=True)
    assert asked
    assert min(asked) >= SIZE // SECTION


def test_entries_that_come_meanwhile_change_nothing(
    copied: Long, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others begin to read when there are more entries, tiles and checkpoints than this process sees."""
    begin, drafts = Readers.begin, Drafts("meanwhile")
    drafts._count = SIZE

    def append_and_begin(self: Readers, uri: str, others: int) -> None:
        with Ledger.open(copied.files) as ledger:
            ledger.append(drafts.several(2 * SECTION, run="meanwhile"))
        begin(self, uri, others)

    before = verified(copied, 1)
    monkeypatch.setattr(Readers, "begin", append_and_begin)
    assert verified(copied, 2) == before
    assert (before.size, before.consistent, asked != []) == (SIZE, True, True)


@pytest.mark.parametrize("questions", [1, 2])
def test_what_a_process_had_that_dies_is_read_here(
    copied: Long, asked: list[int], monkeypatch: pytest.MonkeyPatch, questions: int
) -> None:
    ask = _Other.ask

    def kill_and_ask(self: _Other, number: int, first: int, count: int) -> bool:
        if len(asked) == questions - 1:
            self._process.send_signal(signal.SIGKILL)
        return ask(self, number, first, count)

    monkeypatch.setattr(_Other, "ask", kill_and_ask)
    alone, together = verified(copied, 1), verified(copied, 2)
    said = "a process that read along ended early (signal 9): its part was read by another"
    assert said in together.checks
    assert replace(together, checks=tuple(check for check in together.checks if check != said)) == alone
    assert together.consistent


def test_a_process_that_cannot_be_started_is_only_missing(copied: Long, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(copied.files.database))
    assert verified(copied, 3) == verified(copied, 1)


def test_no_process_is_left_behind(copied: Long, asked: list[int]) -> None:
    before = _children()
    verified(copied, 3)
    assert _children() <= before  # whoever else runs here may have children of his own


def _children() -> set[str]:
    """Processes that this one started, dead ones that nobody waited for among them."""
    return {
        child
        for path in Path("/proc/self/task").glob("*/children")
        for child in path.read_text(encoding="ascii").split()
    }


def test_small_ledgers_are_read_by_one_process() -> None:
    assert reasonable_number(0) == reasonable_number(1000) == 1
    assert 1 <= reasonable_number(1 << 40) <= 4


def test_the_process_answers_what_it_is_asked_and_doubts_what_it_should(copied: Long) -> None:
    """The same code as in the process, here, with pipes of our own."""
    spoil_a_leaf(Forger(copied.files.database))
    questions = io.BytesIO(b"".join(QUESTION.pack(n * SECTION, SECTION) for n in (1, 2, 9)) + b"cut")
    database = opened(copied.files.database.as_uri() + "?mode=ro")
    heard, said = os.pipe()
    answer(SectionReader(database, contents=True, rooted=True), questions, said)
    os.close(said)
    with os.fdopen(heard, "rb") as stream:
        assert stream.read(ANSWER.size) == ANSWER.pack(0, 0)
        first, length = ANSWER.unpack(stream.read(ANSWER.size))
        section = Section.parse(stream.read(length))
        assert first == SECTION
        own = SectionReader(database, contents=True).read(SECTION, SECTION)
        assert own is not None
        assert section == own._replace(root=fold_row(own.hashes))
        assert [ANSWER.unpack(stream.read(ANSWER.size)) for _ in range(2)] == [(2 * SECTION, 0), (9 * SECTION, 0)]
        assert stream.read() == b""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.execute("DELETE FROM derived")
    database.close()


def test_a_section_comes_back_from_its_bytes() -> None:
    for section in (
        Section(b"h" * 96, b""),
        Section(b"h" * 64, b"r" * 32, oldest=-5, newest=7, back=-9, payloads=3, rotations=(1, 2**40)),
    ):
        assert Section.parse(bytes(section)) == section
    with pytest.raises(struct.error):
        Section.parse(b"short")


def test_memory_does_not_grow_with_the_ledger(ledger: Ledger, files: LedgerFiles) -> None:
    drafts, peaks = Drafts(), []
    for size in (2 * SECTION, 16 * SECTION):
        while ledger.size < size:
            ledger.append([drafts.make(egress("x" * 500), run=None) for _ in range(SECTION)])
        verify_ledger(files, verifier_key=ledger.verifier_key)  # what is cached once is cached now
        gc.collect()
        tracemalloc.start()
        try:
            assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_process_that_reads_along_loads_little() -> None:
    """What it loads it has to save before it is of any use."""
    said = subprocess.run(
        [sys.executable, "-c", "import sys, custody.ledger.reading; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    roots = {name.partition(".")[0] for name in said.stdout.split()}
    assert "orjson" in roots
    assert not roots & {"sqlalchemy", "alembic", "pydantic", "pydantic_core", "typing_extensions", "cryptography"}
