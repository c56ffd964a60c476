"""Migrations: from empty, from the revision before over a ledger that is in use, whole or not at all, and never back.

There is one migration so far. The next one is played by a test's own, in a copy of the folder of migrations.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from custody.errors import LedgerError
from custody.ledger import Ledger, LedgerFiles, migrate, verify_ledger
from custody.ledger import migrations as shipped
from custody.ledger.database import make_engine, rows
from custody.ledger.evidence import _expected_schema
from custody.ledger.tables import METADATA, REVISION

from .drafts import Drafts, artefact

NEXT = '''
"""What a later release may want: one more index, and a table of its own."""

import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{before}"


def upgrade() -> None:
    op.create_index("event_index_outcome", "event_index", ["outcome", "time_us"])
    op.create_table("export_cursor", sa.Column("name", sa.Text, primary_key=True), sa.Column("upto", sa.BigInteger))
    {more}
'''


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations of a later release, which from here on is the one that runs."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(shipped.__path__[0]), folder, ignore=shutil.ignore_patterns("__pycache__"))
    add(folder)
    monkeypatch.setattr(migrate, "_SCRIPTS", str(folder))
    return folder


def add(folder: Path, more: str = "") -> None:
    (folder / "versions" / "next.py").write_text(NEXT.format(before=REVISION, more=more))


def everything(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of the log, and how all things are defined."""
    with sqlite3.connect(database) as connection:
        stored = {t: connection.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in METADATA.tables}  # noqa: S608 - because the names are ours
        stored["sqlite_schema"] = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 2").fetchall()
        stored["alembic_version"] = connection.execute("SELECT * FROM alembic_version").fetchall()
    connection.close()
    return stored


def run(files: LedgerFiles) -> None:
    engine = make_engine(f"{files.database.as_uri()}?mode=rw", wait_seconds=1, read_only=False)
    try:
        with engine.begin() as connection:
            migrate.migrate(connection)
    finally:
        engine.dispose()


@pytest.fixture
def used(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> LedgerFiles:
    """A ledger with a row in every table."""
    payload = ledger.seal(b"content", media="text/plain")
    ledger.append([*drafts.several(260), drafts.make(artefact(payload.ref))], [payload])
    ledger.record_anchor(ledger.checkpoint())
    ledger.close()
    return files


def test_the_migrations_from_empty_make_the_tables_that_the_code_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    engine = make_engine(f"{(tmp_path / 'new.db').as_uri()}?mode=rwc", wait_seconds=1, read_only=False)
    for _ in range(2):  # the second time there is nothing to do
        with engine.begin() as connection:
            migrate.migrate(connection)
            found = {
                (kind, name): sql for kind, name, sql in rows(connection, "SELECT type, name, sql FROM sqlite_schema")
            }
            assert found == _expected_schema()
            assert list(rows(connection, "SELECT version_num FROM alembic_version")) == [(REVISION,)]
    engine.dispose()


def test_the_tables_can_be_made_by_postgresql_too() -> None:
    """Nothing of SQLite stands in them but its triggers; numbers of entries have 64 bits there."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # because SQLAlchemy has no types there
    made = {table.name: str(CreateTable(table).compile(dialect=dialect)) for table in METADATA.sorted_tables}
    indexes = [str(CreateIndex(index).compile(dialect=dialect)) for t in METADATA.sorted_tables for index in t.indexes]
    assert len(indexes) == 4
    assert "idx BIGINT NOT NULL" in made["entry"]
    assert "leaf BYTEA NOT NULL" in made["entry"]
    assert "size BIGINT NOT NULL" in made["checkpoint"]
    assert not any(word in text for text in made.values() for word in ("SERIAL", "AUTOINCREMENT", "BLOB"))


def test_the_revision_that_the_code_knows_is_the_newest_that_is_shipped() -> None:
    scripts = ScriptDirectory(shipped.__path__[0])
    assert scripts.get_heads() == [REVISION]
    assert len(list(scripts.walk_revisions())) == len(list(Path(shipped.__path__[0], "versions").glob("0*.py")))


def test_the_next_migration_leaves_every_row_of_a_ledger_in_use_as_it_was(used: LedgerFiles, later: Path) -> None:
    before = everything(used.database)
    assert all(before[table] for table in METADATA.tables.keys() - {"derived"})
    run(used)
    after = everything(used.database)
    assert after["alembic_version"] == [("next",)]
    assert {name for _kind, name, _sql in after["sqlite_schema"]} - {
        name for _kind, name, _sql in before["sqlite_schema"]
    } == {"event_index_outcome", "export_cursor", "sqlite_autoindex_export_cursor_1"}
    assert [thing for thing in after["sqlite_schema"] if thing in before["sqlite_schema"]] == before["sqlite_schema"]
    assert {table: after[table] for table in METADATA.tables} == {table: before[table] for table in METADATA.tables}
    run(used)
    assert everything(used.database) == after


def test_this_release_neither_opens_nor_takes_back_what_a_later_one_wrote(
    used: LedgerFiles, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (used.keys / "verifier.key").read_text()
    run(used)
    after = everything(used.database)
    monkeypatch.undo()
    with pytest.raises(LedgerError, match="cannot be brought up to date") as error:
        run(used)
    assert "newer one" in error.value.hint
    for read_only in (False, True):
        with pytest.raises(LedgerError, match="has schema next") as error:
            Ledger.open(used, read_only=read_only)
        assert error.value.exit_code == 74
    verification = verify_ledger(used, verifier_key=key)
    assert {problem.code for problem in verification.problems} == {"schema-changed"}
    assert everything(used.database) == after


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ('raise OSError("the disk is gone")', OSError),
        ('op.execute("UPDATE entry SET leaf = leaf")', DBAPIError),
        ('op.execute("DELETE FROM checkpoint")', DBAPIError),
    ],
    ids=["breaks", "touches entries", "touches checkpoints"],
)
def test_a_migration_that_breaks_or_touches_evidence_leaves_nothing_behind(
    used: LedgerFiles, later: Path, more: str, error: type[Exception]
) -> None:
    before = everything(used.database)
    add(later, more)
    with pytest.raises(error):
        run(used)
    assert everything(used.database) == before
    with Ledger.open(used) as ledger:
        assert verify_ledger(used, verifier_key=ledger.verifier_key).consistent
        assert ledger.append([Drafts("after").make(run=None)])[0].index == 261
