"""Derived state: kept beside the log, replaced, ignored when its maker changed, and never evidence."""

from datetime import timedelta
from pathlib import Path

import pytest

from custody.errors import LedgerError
from custody.ledger import Ledger, LedgerFiles, verify_ledger
from custody.ledger.types import Derived

from .drafts import ORIGIN, START, Drafts


def test_derived_state_comes_back_to_the_version_that_kept_it(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(drafts.several(3))
    assert ledger.derived("baseline", version=1) is None
    ledger.keep_derived("baseline", version=1, state=Derived(2, b"two"))
    ledger.keep_derived("baseline", version=1, state=Derived(3, b"three"))
    ledger.keep_derived("other", version=1, state=Derived(0, b""))
    assert ledger.derived("baseline", version=1) == Derived(3, b"three")
    assert ledger.derived("baseline", version=2) is None
    ledger.keep_derived("baseline", version=2, state=Derived(1, b"new"))
    assert ledger.derived("baseline", version=1) is None


def test_derived_state_ahead_of_the_log_is_refused_and_not_given(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(drafts.several(1))
    for upto in (-1, 2):
        with pytest.raises(LedgerError, match="ahead of the 1 entries"):
            ledger.keep_derived("baseline", version=1, state=Derived(upto, b""))
    ledger.append(drafts.several(1))
    ledger.keep_derived("baseline", version=1, state=Derived(2, b""))
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE head SET size = 1, frontier = substr(frontier, 1, 32), root = frontier")
    assert ledger.derived("baseline", version=1) is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE derived SET upto = 1",
        "UPDATE derived SET version = 2",
        "UPDATE derived SET name = 'other'",
        "UPDATE derived SET content = substr(content, 1, 64) || x'79'",
        "UPDATE derived SET content = CAST(substr(content, 1, 64) || x'79' AS BLOB)",
        "UPDATE derived SET content = x'79'",
        "UPDATE derived SET content = zeroblob(64) || x'78'",
        "UPDATE derived SET content = 'x'",
        "UPDATE derived SET content = x''",
    ],
)
def test_what_the_key_did_not_sign_is_not_given(ledger: Ledger, drafts: Drafts, change: str) -> None:
    """Decisions count on it, and verify does not read it."""
    ledger.append(drafts.several(3))
    ledger.keep_derived("baseline", version=1, state=Derived(2, b"x"))
    assert ledger.derived("baseline", version=1) == Derived(2, b"x")
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql(change)
    for name, version in (("baseline", 1), ("baseline", 2), ("other", 1)):
        assert ledger.derived(name, version=version) is None


def test_what_another_ledger_or_an_older_key_signed_is_not_given(
    ledger: Ledger, drafts: Drafts, tmp_path: Path
) -> None:
    files = LedgerFiles(tmp_path / "second" / "ledger.db", tmp_path / "second" / "keys")
    with Ledger.create(files, origin=ORIGIN) as another:
        another.append(drafts.several(3))
        another.keep_derived("baseline", version=1, state=Derived(2, b"x"))
        with another._engine.begin() as connection:
            row = connection.exec_driver_sql("SELECT name, version, upto, content FROM derived").one()
    ledger.append(drafts.several(3))
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO derived (name, version, upto, content) VALUES (?, ?, ?, ?)", tuple(row))
    assert ledger.derived("baseline", version=1) is None
    ledger.keep_derived("baseline", version=1, state=Derived(3, b"y"))
    ledger.rotate_key(event_id="rotation", actor="root", time=START + timedelta(hours=1))
    assert ledger.derived("baseline", version=1) is None


def test_changing_or_deleting_derived_state_changes_no_evidence(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append(drafts.several(3))
    before = ledger.checkpoint()
    ledger.keep_derived("baseline", version=1, state=Derived(3, b"x"))
    for statement in ("UPDATE derived SET content = x'00'", "DELETE FROM derived"):
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql(statement)
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent
    assert ledger.checkpoint() == before
    assert ledger.append([drafts.make()])[0].index == 3


def test_a_result_that_is_too_large_is_not_kept_and_what_was_kept_before_is_gone(
    ledger: Ledger, drafts: Drafts
) -> None:
    ledger.append(drafts.several(1))
    ledger.keep_derived("baseline", version=1, state=Derived(1, b"x"))
    ledger.keep_derived("baseline", version=1, state=Derived(1, bytes(3_000_000)))
    assert ledger.derived("baseline", version=1) is None
