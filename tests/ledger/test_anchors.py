"""What is recorded of pins that were kept outside: checked like everything else, a reminder, and never a pin itself."""

from dataclasses import replace

import pytest

from custody.errors import LedgerError
from custody.ledger import Ledger, LedgerFiles, Pin, Verification, verify_ledger
from custody.ledger.types import Checkpoint

from .drafts import ORIGIN, Drafts
from .forgery import Forger


@pytest.fixture
def kept(ledger: Ledger, drafts: Drafts) -> Checkpoint:
    """A checkpoint of three entries, recorded as kept, in a ledger of five."""
    ledger.append(drafts.several(3))
    checkpoint = ledger.checkpoint()
    ledger.record_anchor(checkpoint)
    ledger.append(drafts.several(2))
    return checkpoint


def alone(ledger: Ledger, files: LedgerFiles, *pins: Pin) -> Verification:
    """By somebody who has not the signer's memory."""
    elsewhere = LedgerFiles(files.database, files.keys / "none")
    return verify_ledger(elsewhere, verifier_key=ledger.verifier_key, pins=pins)


def codes(verification: Verification) -> set[str]:
    return {problem.code for problem in verification.problems}


def test_it_is_said_which_pin_should_be_asked_for(ledger: Ledger, files: LedgerFiles, kept: Checkpoint) -> None:
    ledger.record_anchor(kept)  # once more is once
    without = alone(ledger, files)
    assert (without.consistent, without.anchored_to) == (True, None)
    assert any(sentence.startswith("1 anchors: ") for sentence in without.checks)
    reminder = "the pin of 3 entries of which it is recorded that it was kept outside: it was not given"
    assert reminder in without.not_checked
    with_pin = alone(ledger, files, Pin("pin", kept.note))
    assert (with_pin.anchored_to, reminder in with_pin.not_checked) == (3, False)


def test_only_a_checkpoint_of_the_ledger_is_recorded(
    ledger: Ledger, files: LedgerFiles, kept: Checkpoint, drafts: Drafts
) -> None:
    with Ledger.create(LedgerFiles(files.database.with_name("other.db"), files.keys / "other"), origin=ORIGIN) as other:
        other.append(drafts.several(3))
        foreign = other.checkpoint()
    for wrong in (foreign, replace(kept, note=kept.note + "\n"), replace(kept, size=4)):
        with pytest.raises(LedgerError, match="is not stored in this ledger"):
            ledger.record_anchor(wrong)
    assert alone(ledger, files).consistent


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE anchor SET size = 5", "anchor-mismatch"),
        ("UPDATE anchor SET size = 4", "anchor-mismatch"),
        ("UPDATE anchor SET evidence = evidence || char(10)", "anchor-mismatch"),
        ("UPDATE anchor SET evidence = CAST(evidence AS BLOB)", "anchor-mismatch"),
        ("UPDATE anchor SET evidence = hex(zeroblob(1000000))", "anchor-mismatch"),
        ("UPDATE anchor SET kind = 'witness'", "anchor-unknown"),
        ("UPDATE anchor SET kind = x'70696e'", "anchor-unknown"),
    ],
)
def test_an_anchor_that_was_changed_is_found(
    ledger: Ledger, files: LedgerFiles, kept: Checkpoint, statement: str, code: str
) -> None:
    Forger(files.database).run(statement)
    assert codes(alone(ledger, files)) == {code}


def test_an_anchor_that_outlives_its_entries_shows_that_they_were_cut_off(
    ledger: Ledger, files: LedgerFiles, kept: Checkpoint
) -> None:
    forger = Forger(files.database)
    forger.cut(0)
    forger.run("INSERT INTO anchor VALUES (?, 'pin', ?)", kept.size, kept.note)
    assert codes(alone(ledger, files)) == {"anchor-mismatch"}


def test_a_removed_anchor_is_not_missed(ledger: Ledger, files: LedgerFiles, kept: Checkpoint) -> None:
    """It proves nothing that the pin does not prove: whoever cuts the ledger takes it away as well."""
    Forger(files.database).cut(0)
    assert alone(ledger, files).consistent
    assert codes(alone(ledger, files, Pin("pin", kept.note))) == {"truncated"}
