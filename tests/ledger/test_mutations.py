"""Every byte that is stored: whatever is flipped, removed, inserted, swapped, set to NULL or to another type is found.

Twelve entries in three batches, two payloads, four checkpoints (the first of the empty ledger), two anchors. `derived` is no evidence, and verify does not
read it: of it whoever asks gets what the key signed, or nothing. All bytes are tried with CUSTODY_TEST_DEPTH=deep, a random few hundred without.
"""

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from custody.ledger import Ledger, LedgerFiles, verify_ledger
from custody.ledger.types import Derived

from .drafts import ORIGIN, Drafts, artefact, claim, end, start
from .forgery import Forger

DEEP = os.environ.get("CUSTODY_TEST_DEPTH") == "deep"
SAMPLE = 200
FILE_FLIPS = 1200 if DEEP else 150
TABLES = {
    "entry": ("idx", "leaf", "event_id"),
    "event_index": ("idx", "kind", "run", "actor", "outcome", "time_us", "seq"),
    "head": ("id", "size", "frontier", "root"),
    "checkpoint": ("size", "previous", "note"),
    "payload": ("id", "idx", "hmac_key", "content"),
    "tile": ("level", "idx", "data", "root"),
    "anchor": ("size", "kind", "evidence"),
    "alembic_version": ("version_num",),
}
DERIVED = {"derived": ("name", "version", "upto", "content")}
Value = bytes | str | int | None


class Small(NamedTuple):
    """A ledger to damage."""

    files: LedgerFiles
    verifier_key: str


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return _build(tmp_path_factory.mktemp("small"), filler=0)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return _build(tmp_path_factory.mktemp("tiled"), filler=256)


@pytest.fixture(scope="module")
def two_tiles(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return _build(tmp_path_factory.mktemp("two"), filler=512)


def _build(home: Path, filler: int) -> Small:
    files = LedgerFiles(home / "ledger.db", home / "keys")
    drafts = Drafts()
    with Ledger.create(files, origin=ORIGIN) as ledger:
        payloads = [ledger.seal(content, media="text/plain") for content in (b"first", b"")]
        ledger.append(drafts.several(3 + filler))
        ledger.record_anchor(ledger.checkpoint())
        ledger.append(
            [drafts.make(claim()), drafts.make(start()), drafts.make(artefact(payloads[0].ref))], payloads[:1]
        )
        last = [
            drafts.make(artefact(payloads[1].ref)),
            drafts.make(end("executed", "failed")),
            *drafts.several(3, run=None),
        ]
        ledger.append([*last, drafts.make(run="ü")], payloads[1:])
        assert ledger.size == 12 + filler
        ledger.record_anchor(ledger.checkpoint())
        return Small(files, ledger.verifier_key)


def found(small: Small, database: Path) -> bool:
    """Whether anything is found, by somebody who has neither a pin nor the signer's memory."""
    files = LedgerFiles(database, database.with_name("none"))
    return not verify_ledger(files, verifier_key=small.verifier_key).consistent


class Mutation(NamedTuple):
    """One cell, and what it becomes."""

    table: str
    column: str
    row: int
    value: Value


def mutations(database: Path, tables: tuple[str, ...]) -> Iterator[Mutation]:
    """For every stored byte a flip, a removal and an insertion; for every cell NULL and other types."""
    with sqlite3.connect(database) as connection:
        for table in tables:
            for column in (TABLES | DERIVED)[table]:
                for row, value in connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall():  # noqa: S608 - because the names stand above
                    for changed in changes(value):
                        yield Mutation(table, column, row, changed)
    connection.close()


def changes(value: Value) -> Iterator[Value]:
    match value:
        case int():
            yield from (value + 1, value - 1, -value - 7, 1 << 62, None, str(value) + "x", b"\x00")
        case str():
            for position in range(len(value)):
                yield value[:position] + chr(ord(value[position]) ^ 1) + value[position + 1 :]
                yield value[:position] + value[position + 1 :]
                yield value[:position] + "x" + value[position:]
            yield from (value + "\n", None, 7, value.encode() + b"\xff")
        case bytes():
            for position in range(len(value)):
                yield value[:position] + bytes([value[position] ^ 4]) + value[position + 1 :]
                yield value[:position] + value[position + 1 :]
                yield value[:position] + b"x" + value[position:]
            yield from (value + b"\x00", None, 7, value.decode("latin-1") + "\u0101")
        case None:
            yield from (0, "", b"", "x")


def apply(database: Path, mutation: Mutation) -> bool:
    """Whether the database took it; what its constraints refuse cannot be stored."""
    try:
        with Forger(database).unguarded() as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(
                f"UPDATE {mutation.table} SET {mutation.column} = ? WHERE rowid = ?",  # noqa: S608 - because the names stand above
                (mutation.value, mutation.row),
            )
    except (sqlite3.IntegrityError, sqlite3.OperationalError):
        return False
    return True


@pytest.mark.parametrize(
    "tables", [("entry", "event_index"), ("head", "checkpoint", "payload", "anchor", "alembic_version")], ids="+".join
)
def test_every_change_of_a_stored_value_is_found(small: Small, tables: tuple[str, ...], tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    every = list(mutations(small.files.database, tables))
    assert len(every) > 1000
    chosen = every if DEEP else random.Random(11).sample(every, SAMPLE)  # noqa: S311 - because the same shall come again
    _try_all(small, database, chosen)


def test_every_change_of_a_tile_is_found(tiled: Small, tmp_path: Path) -> None:
    every = list(mutations(tiled.files.database, ("tile",)))
    chosen = random.Random(11).sample(every, 600 if DEEP else 25)  # noqa: S311 - because the same shall come again
    _try_all(tiled, tmp_path / "ledger.db", chosen)


def _try_all(small: Small, database: Path, chosen: list[Mutation]) -> None:
    content, tried, missed = small.files.database.read_bytes(), 0, []
    for mutation in chosen:
        _put(database, content)
        if apply(database, mutation) and _values(database) != _values(small.files.database):
            tried += 1
            if not found(small, database):
                missed.append(mutation)
    assert missed == []
    assert tried > len(chosen) / 2


def test_every_removed_row_is_found(tiled: Small, tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    content = tiled.files.database.read_bytes()
    for table in TABLES.keys() - {"anchor"}:  # a reminder of a pin: its loss is not missed (test_anchors)
        _put(database, content)
        with sqlite3.connect(database) as connection:
            row_ids = [row_id for (row_id,) in connection.execute(f"SELECT rowid FROM {table}")]  # noqa: S608 - because the names stand above
        connection.close()
        for row_id in row_ids[:3] + row_ids[-3:]:
            _put(database, content)
            Forger(database).run(f"DELETE FROM {table} WHERE rowid = ?", row_id)  # noqa: S608 - because the names stand above
            assert found(tiled, database), (table, row_id)


SWAPPED = [
    (table, column)
    for table, columns in TABLES.items()
    for column in columns
    if column not in {"idx", "level", "id", "version_num"}
    and (table, column) != ("checkpoint", "size")
    and table != "head"
]
"""Not the numbers that rows are found by: to swap these is to swap all else; and of some there is one row alone."""


@pytest.mark.parametrize(("table", "column"), SWAPPED)
def test_every_swap_of_two_values_is_found(two_tiles: Small, tmp_path: Path, table: str, column: str) -> None:
    database = tmp_path / "ledger.db"
    content = two_tiles.files.database.read_bytes()
    with sqlite3.connect(two_tiles.files.database) as connection:
        cells = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()  # noqa: S608 - because the names stand above
    connection.close()
    tried = 0
    for (one, first), (other, second) in [*pairwise(cells[:8] + cells[-8:]), (cells[0], cells[-1])]:
        if first == second:
            continue
        _put(database, content)
        between = -first - 7 if isinstance(first, int) else b"between"
        try:
            with Forger(database).unguarded() as forged:
                for row_id, value in ((one, between), (other, first), (one, second)):
                    forged.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row_id))  # noqa: S608 - because the names stand above
        except sqlite3.IntegrityError:  # what its constraints refuse cannot be stored
            continue
        assert found(two_tiles, database), (table, one)
        tried += 1
    assert tried > 0 or len({value for _row_id, value in cells}) == 1  # as of actors: there is one alone


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO entry SELECT 12, leaf, 'another' FROM entry WHERE idx = 11",
        "INSERT INTO entry SELECT -1, leaf, 'another' FROM entry WHERE idx = 0",
        "INSERT INTO event_index SELECT 12, kind, NULL, actor, outcome, time_us, NULL FROM event_index WHERE idx = 11",
        "INSERT INTO head SELECT 2, size, frontier, root FROM head",
        "INSERT INTO tile VALUES (0, 0, zeroblob(8192), zeroblob(32))",
        "INSERT INTO tile VALUES (-1, -1, x'', x'')",
        "INSERT INTO checkpoint SELECT 5, 3, note FROM checkpoint WHERE size = 6",
        "INSERT INTO checkpoint SELECT 13, 12, note FROM checkpoint WHERE size = 12",
        "INSERT INTO checkpoint SELECT -1, NULL, note FROM checkpoint WHERE size = 0",
        "INSERT INTO anchor SELECT 6, kind, evidence FROM anchor WHERE size = 3",
        "INSERT INTO anchor SELECT size, 'other', evidence FROM anchor WHERE size = 3",
        "INSERT INTO payload SELECT 'another', idx, hmac_key, content FROM payload",
        "INSERT INTO payload SELECT 'another', -1, hmac_key, content FROM payload",
        "INSERT INTO alembic_version VALUES ('0000')",
    ],
)
def test_every_inserted_row_is_found(small: Small, tmp_path: Path, statement: str) -> None:
    database = tmp_path / "ledger.db"
    shutil.copyfile(small.files.database, database)
    with Forger(database).unguarded() as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"{statement} LIMIT 1" if " SELECT " in statement else statement)
    assert found(small, database)


def test_of_derived_state_every_changed_byte_is_as_if_there_were_none(tmp_path: Path) -> None:
    """Verify does not read it; whoever decides by it must get what the key signed, or nothing."""
    files, kept = LedgerFiles(tmp_path / "kept.db", tmp_path / "keys"), Derived(2, b"state")
    with Ledger.create(files, origin=ORIGIN) as ledger:
        ledger.append(Drafts().several(3))
        ledger.keep_derived("baseline", version=1, state=kept)
    every = list(mutations(files.database, ("derived",)))
    assert len(every) > 200
    content, database = files.database.read_bytes(), tmp_path / "ledger.db"
    for mutation in every if DEEP else random.Random(3).sample(every, 60):  # noqa: S311 - because the same shall come again
        _put(database, content)
        if not apply(database, mutation):
            continue
        with Ledger.open(LedgerFiles(database, files.keys), read_only=True) as ledger:
            assert ledger.derived("baseline", version=1) is None, mutation


def test_a_file_that_was_cut_anywhere_is_found(small: Small, tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    content = small.files.database.read_bytes()
    for size in range(0, len(content), 4096):
        for cut in (size, size + 1, size + 4095):
            _put(database, content[:cut])
            assert found(small, database), cut


def test_a_changed_byte_of_the_log_beside_the_database_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """SQLite passes over what does not fit from there on: to whoever has the signer's memory, that is an older copy put back."""
    home = tmp_path / "home"
    files, drafts = LedgerFiles(home / "ledger.db", tmp_path / "keys"), Drafts()
    database, copy = tmp_path / "ledger.db", {}
    with Ledger.create(files, origin=ORIGIN) as ledger:
        for _ in range(3):
            ledger.append(drafts.several(2))
        key = ledger.verifier_key
        copy = {suffix: Path(f"{files.database}{suffix}").read_bytes() for suffix in ("", "-wal")}
    dice, log = random.Random(9), copy["-wal"]  # noqa: S311 - because the same shall come again
    places = [dice.randrange(len(log)) for _ in range(FILE_FLIPS // 3)]
    alike = 0
    for place in (*range(32), *places):
        _put(database, copy[""])
        changed = log[:place] + bytes([log[place] ^ (1 << dice.randrange(8))]) + log[place + 1 :]
        Path(f"{database}-wal").write_bytes(changed)
        verification = verify_ledger(LedgerFiles(database, files.keys), verifier_key=key)
        if verification.consistent:
            assert verification.size == 6
            alike += 1
    assert alike < len(places)


def test_a_flipped_bit_of_the_file_is_found_or_changes_nothing_that_is_stored(small: Small, tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    content = small.files.database.read_bytes()
    before = _values(small.files.database)
    dice = random.Random(7)  # noqa: S311 - because the same shall come again
    for _ in range(FILE_FLIPS):
        position, bit = dice.randrange(len(content)), 1 << dice.randrange(8)
        _put(database, content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :])
        assert found(small, database) or _values(database) == before, (position, bit)


def test_every_truncation_is_found_by_the_pin_and_those_within_a_batch_without_it(small: Small, tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    for size in range(12):
        shutil.copyfile(small.files.database, database)
        Forger(database).cut(size)
        whole_batches = size in {0, 3, 6}
        assert found(small, database) != whole_batches
        memory = LedgerFiles(database, small.files.keys)
        codes = {p.code for p in verify_ledger(memory, verifier_key=small.verifier_key).problems}
        assert "truncated" in codes


def _put(database: Path, content: bytes) -> None:
    database.write_bytes(content)
    for leftover in (database.with_name("ledger.db-wal"), database.with_name("ledger.db-shm")):
        leftover.unlink(missing_ok=True)


def _values(database: Path) -> object:
    """Everything that is stored, or the error that reading it gives."""
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        tables = {
            table: connection.execute(f"SELECT rowid, * FROM {table} ORDER BY 1").fetchall()  # noqa: S608 - because the names stand above
            for table in TABLES
        }
    except (sqlite3.DatabaseError, OverflowError) as error:
        return repr(error)
    else:
        return tables
    finally:
        connection.close()
