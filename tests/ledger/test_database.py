"""The database under the ledger: guards, transactions, and what happens when it cannot be written."""

import fcntl
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from custody.errors import ConfigurationError, EvidenceError, LedgerError
from custody.ledger import Ledger, LedgerFiles, verify_ledger
from custody.ledger.database import in_plain_words, make_engine, rows
from custody.ledger.writing import Batch

from .drafts import ORIGIN, Drafts, artefact


def uri_of(path: Path) -> str:
    return path.as_uri() + "?mode=rwc"


def test_every_connection_is_durable_and_guarded(ledger: Ledger) -> None:
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "trusted_schema": 0,
    }
    with ledger._engine.begin() as connection:
        assert expected == {name: next(rows(connection, f"PRAGMA {name}"))[0] for name in expected}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET leaf = x'00'",
        "DELETE FROM entry",
        "INSERT OR REPLACE INTO entry VALUES (0, x'00', 'other')",
        "UPDATE checkpoint SET note = ''",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO checkpoint VALUES (0, NULL, '')",
        "UPDATE payload SET content = x'00'",
        "DELETE FROM payload",
        "INSERT OR REPLACE INTO payload SELECT id, idx, hmac_key, x'00' FROM payload",
        "DELETE FROM head",
        "INSERT OR REPLACE INTO head VALUES (1, 0, x'', x'')",
        "INSERT INTO head VALUES (2, 0, x'', x'')",
        "UPDATE anchor SET evidence = ''",
        "DELETE FROM anchor",
        "INSERT OR REPLACE INTO anchor SELECT size, kind, '' FROM anchor",
        "DELETE FROM tile",
        "UPDATE tile SET data = x''",
        "INSERT OR REPLACE INTO tile VALUES (0, 0, x'', x'')",
        "INSERT INTO event_index VALUES (9999, '', NULL, '', '', 0, NULL)",
    ],
)
def test_accidents_meet_a_trigger(ledger: Ledger, drafts: Drafts, statement: str) -> None:
    payload = ledger.seal(b"x", media="text/plain")
    ledger.append([*drafts.several(260), drafts.make(artefact(payload.ref))], [payload])
    ledger.record_anchor(ledger.checkpoint())
    with pytest.raises(DBAPIError, match=r"append-only|constraint"), ledger._engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_the_default_transactions_of_sqlalchemy_lose_updates_and_ours_do_not(tmp_path: Path) -> None:
    """Two read-modify-writes, interleaved: with the default both succeed and one is gone."""
    path = tmp_path / "counter.db"
    default = create_engine(f"sqlite:///{path}")
    with default.begin() as connection:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))
    with default.connect() as one, default.connect() as two:
        seen = [c.execute(text("SELECT n FROM counter")).scalar_one() for c in (one, two)]
        for connection, n in zip((one, two), seen, strict=True):
            connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})
            connection.commit()
    with default.connect() as connection:
        assert connection.execute(text("SELECT n FROM counter")).scalar_one() == 1
    default.dispose()
    ours = make_engine(uri_of(path), wait_seconds=0, read_only=False)
    with ours.begin() as one:
        assert one.exec_driver_sql("SELECT n FROM counter").scalar_one() == 1
        with pytest.raises(DBAPIError, match="locked"), ours.begin():
            pass
        one.exec_driver_sql("UPDATE counter SET n = 2")
    ours.dispose()


def test_a_locked_database_is_said_after_the_wait_and_nothing_is_written(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    other = sqlite3.connect(files.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        Ledger.open(files, wait_seconds=0.05) as hasty,
        pytest.raises(LedgerError, match="is locked by another process") as error,
    ):
        hasty.append([drafts.make()])
    assert error.value.exit_code == 74
    other.execute("ROLLBACK")
    other.close()
    assert ledger.append([drafts.make()])[0].index == 0


def test_the_turn_is_waited_for_only_so_long(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append([drafts.make()])
    for name in ("turn.lock", "queue.lock"):
        holder = os.open(files.keys / name, os.O_RDWR)
        fcntl.flock(holder, fcntl.LOCK_EX)
        with Ledger.open(files, wait_seconds=0.05) as hasty, pytest.raises(LedgerError, match=r"waited 0\.05 seconds"):
            hasty.append([drafts.make()])
        os.close(holder)
    assert ledger.append([drafts.make()])[0].index == 1


def test_an_error_in_the_middle_leaves_nothing_half_written(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append(drafts.several(254))
    real = Batch._insert_tiles

    def fails(self: Batch, level: int, old: int, roots: Sequence[bytes]) -> None:
        real(self, level, old, roots)
        raise OSError(5, "Input/output error", "disk")

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_insert_tiles", fails)
        with pytest.raises(LedgerError, match="Input/output error"):
            ledger.append(drafts.several(5))
    assert ledger.size == 254
    ledger.append(drafts.several(5))
    assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent


def test_a_head_or_frontier_that_was_edited_is_not_built_upon(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append(drafts.several(3))
    for change in ("root = zeroblob(32)", "frontier = zeroblob(64)", "frontier = x'00'", "size = 2", "size = 'x'"):
        whole = {p: p.read_bytes() for p in files.database.parent.glob("ledger.db*")}
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE head SET {change}")  # noqa: S608 - because of the parameter
        with pytest.raises(EvidenceError, match="head of the ledger"):
            ledger.append([drafts.make()])
        with ledger._engine.begin() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one() == 3
        ledger.close()
        for path, content in whole.items():
            path.write_bytes(content)
    assert ledger.append([drafts.make()])[0].index == 3


def test_a_lost_or_broken_memory_of_the_signer_halts_the_log(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append([drafts.make()])
    memory = files.keys / "last-signed.json"
    for content in (b"", b"{}", b'{"size":"x","root":""}', b'{"size":1,"root":"?"}', b"[]"):
        memory.write_bytes(content)
        with pytest.raises(EvidenceError, match="memory cannot be read"):
            ledger.append([drafts.make()])
    memory.unlink()
    with pytest.raises(EvidenceError, match="memory is gone"):
        ledger.append([drafts.make()])
    assert ledger.size == 1


def test_entries_that_nobody_signed_for_are_not_built_upon(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    """The memory is behind, as after a crash, but what follows it carries no checkpoint of ours."""
    ledger.append(drafts.several(2))
    memory = (files.keys / "last-signed.json").read_bytes()
    ledger.append(drafts.several(2))
    (files.keys / "last-signed.json").write_bytes(memory)
    with sqlite3.connect(files.database) as connection:
        connection.execute("DROP TRIGGER checkpoint_no_delete")
        connection.execute("DELETE FROM checkpoint WHERE size = 4")
    connection.close()
    with pytest.raises(EvidenceError, match="were never signed for"):
        ledger.append([drafts.make()])


def test_a_memory_that_a_crash_left_behind_is_caught_up(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(300))
    memory = (files.keys / "last-signed.json").read_bytes()
    batch = drafts.several(300)
    ledger.append(batch)
    newest = (files.keys / "last-signed.json").read_bytes()
    (files.keys / "last-signed.json").write_bytes(memory)
    assert all(a.repeated for a in ledger.append(batch))
    assert (files.keys / "last-signed.json").read_bytes() == newest


def test_a_file_that_may_not_grow_is_an_error_and_nothing_acknowledged_is_lost(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    """A limit on the size of files, which everybody may set: writing fails somewhere within a batch."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    acknowledged = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(LedgerError) as error:  # noqa: PT012 - because the point of failure is found by trying
            while True:
                acknowledged = ledger.append(drafts.several(50))[-1].index + 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.exit_code == 74
    assert ledger.size == acknowledged > 0
    ledger.append(drafts.several(5))
    assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent


@pytest.mark.mounts
def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(small_disk: Path, drafts: Drafts) -> None:
    files = LedgerFiles(small_disk / "ledger.db", small_disk / "keys")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    with Ledger.create(files, origin=ORIGIN) as ledger:
        acknowledged = 0
        with pytest.raises(LedgerError, match=r"no room left|No space left|cannot be read or written") as error:  # noqa: PT012 - because the point of failure is found by trying
            while True:
                acknowledged = ledger.append(drafts.several(50))[-1].index + 1
        assert error.value.exit_code == 74
        assert acknowledged > 0
        assert ledger.size - acknowledged in {0, 50}
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent
        with pytest.raises(LedgerError, match="kept in reserve"):
            ledger.check_reserve()
        ballast.unlink()
        ledger.append(drafts.several(5))
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent


@pytest.mark.mounts
def test_no_ledger_is_half_made_on_a_full_disk(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2 * 1024 * 1024 - 60_000))
    files = LedgerFiles(small_disk / "ledger.db", small_disk / "keys")
    with pytest.raises(LedgerError, match=r"no room left|No space left|cannot be read or written"):
        Ledger.create(files, origin=ORIGIN)
    assert [p.name for p in small_disk.iterdir() if p.is_file()] == ["ballast"]
    assert not files.keys.exists() or not list(files.keys.iterdir())


def test_a_ledger_on_a_medium_that_cannot_be_written_says_so(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, tmp_path: Path
) -> None:
    ledger.append([drafts.make()])
    ledger.close()
    files.database.chmod(0o400)
    with Ledger.open(files, read_only=True) as reader:
        assert reader.size == 1
    if os.geteuid() == 0:
        home = files.database.parent
        subprocess.run(["/usr/bin/mount", "--bind", home, home], check=True)
        try:
            subprocess.run(["/usr/bin/mount", "-o", "remount,bind,ro", home], check=True)
            with (
                pytest.raises(LedgerError, match=r"read-only|Read-only|cannot be opened"),
                Ledger.open(files) as closed,
            ):
                closed.append([drafts.make()])
        finally:
            subprocess.run(["/usr/bin/umount", home], check=True)
    else:
        with pytest.raises(LedgerError, match=r"read-only|cannot be opened"), Ledger.open(files) as closed:
            closed.append([drafts.make()])


def test_a_directory_where_the_database_should_be_is_said(files: LedgerFiles) -> None:
    files.database.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        Ledger.open(files)
    with pytest.raises(ConfigurationError, match="already there"):
        Ledger.create(files, origin=ORIGIN)
    shutil.rmtree(files.database)


def test_errors_of_the_driver_carry_the_way_out(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    with pytest.raises(LedgerError) as error, in_plain_words(damaged):
        sqlite3.connect(damaged).execute("SELECT * FROM sqlite_schema")
    assert error.value.hint
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER mine AFTER INSERT ON event_index BEGIN DELETE FROM event_index WHERE kind = 'policy:changed'; END",
        "CREATE VIEW mine AS SELECT * FROM entry",
        "DROP TRIGGER entry_no_update; CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT 1; END",
    ],
    ids=["trigger", "view", "guard with another body"],
)
def test_a_database_in_which_something_of_somebody_elses_would_work_along_is_not_opened(
    ledger: Ledger, files: LedgerFiles, statement: str
) -> None:
    ledger.close()
    with sqlite3.connect(files.database) as connection:
        connection.executescript(statement)
    connection.close()
    for read_only in (False, True):
        with pytest.raises(EvidenceError, match="which is not of this release") as error:
            Ledger.open(files, read_only=read_only)
        assert error.value.exit_code == 8
    assert not verify_ledger(files, verifier_key=(files.keys / "verifier.key").read_text()).consistent


def test_missing_guards_are_for_verify_to_name(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    """They keep accidents out; without them the log is as sound."""
    ledger.close()
    with sqlite3.connect(files.database) as connection:
        connection.execute("DROP TRIGGER entry_no_update")
    connection.close()
    with Ledger.open(files) as opened:
        opened.append([drafts.make()])
        found = verify_ledger(files, verifier_key=opened.verifier_key)
    assert [problem.code for problem in found.problems] == ["schema-changed"]
