"""Derived state: kept beside the log, replaced, ignored when its maker changed, and never evidence."""

import pytest

from custody.errors import LedgerError
from custody.ledger import Ledger, LedgerFiles, verify_ledger
from custody.ledger.types import Derived

from .drafts import Drafts


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
    ledger.keep_derived("baseline", version=1, state=Derived(1, b""))
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE derived SET upto = 2")
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
