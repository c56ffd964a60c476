"""The attack matrix, with what is *not* found when no checkpoint was kept outside: that is documentation too.

The ledger has 307 entries in batches of 100, 100, 100 and 7. `alone` is the database with nothing but the trusted key; `memory` is the
live home, where the signer's own memory lies; `pinned` has a checkpoint of size 300 that was kept outside.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from custody.errors import EvidenceError
from custody.ledger import Ledger, LedgerFiles, Pin, Verification, verify_ledger

from .drafts import ORIGIN, Drafts, egress
from .forgery import Forger

BATCHES = (100, 200, 300)


class Original(NamedTuple):
    """The ledger before anybody touches it."""

    files: LedgerFiles
    verifier_key: str
    snapshot: Path
    """The database as it was at 200 entries."""
    pin: Pin


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    home = tmp_path_factory.mktemp("original")
    files = LedgerFiles(home / "ledger.db", home / "keys")
    drafts = Drafts()
    with Ledger.create(files, origin=ORIGIN) as ledger:
        key = ledger.verifier_key
        ledger.append(drafts.several(100))
        ledger.append(drafts.several(100))
    snapshot = home / "snapshot.db"
    shutil.copyfile(files.database, snapshot)
    with Ledger.open(files) as ledger:
        ledger.append(drafts.several(100))
        pin = Pin("the pin", ledger.checkpoint().note)
        ledger.append(drafts.several(7))
    return Original(files, key, snapshot, pin)


class Scene(NamedTuple):
    """A copy for one attack."""

    files: LedgerFiles
    forger: Forger
    original: Original


@pytest.fixture
def scene(original: Original, tmp_path: Path) -> Scene:
    files = LedgerFiles(tmp_path / "ledger.db", tmp_path / "keys")
    shutil.copyfile(original.files.database, files.database)
    shutil.copytree(original.files.keys, files.keys)
    return Scene(files, Forger(files.database, files.keys / "signing.key"), original)


def edit(scene: Scene) -> None:
    scene.forger.edit(77, host="harmless.example.org")


def edit_and_derive(scene: Scene) -> None:
    edit(scene)
    scene.forger.derive()


def edit_derive_and_drop_checkpoints(scene: Scene) -> None:
    edit_and_derive(scene)
    scene.forger.run("DELETE FROM checkpoint WHERE size > 0")


def edit_an_index_column(scene: Scene) -> None:
    scene.forger.run("UPDATE event_index SET actor = 'somebody' WHERE idx = 77")


def hide_an_entry_from_the_index(scene: Scene) -> None:
    scene.forger.run("DELETE FROM event_index WHERE idx = 77")


def delete_an_entry(scene: Scene) -> None:
    scene.forger.run("DELETE FROM event_index WHERE idx = 77")
    scene.forger.run("DELETE FROM entry WHERE idx = 77")


def swap_two_entries(scene: Scene) -> None:
    with scene.forger.unguarded() as connection:
        (one,) = connection.execute("SELECT leaf FROM entry WHERE idx = 77").fetchone()
        (other,) = connection.execute("SELECT leaf FROM entry WHERE idx = 78").fetchone()
        connection.execute("UPDATE entry SET leaf = ? WHERE idx = 77", (other,))
        connection.execute("UPDATE entry SET leaf = ? WHERE idx = 78", (one,))


def cut_off_to_a_checkpoint(scene: Scene) -> None:
    scene.forger.cut(200)


def cut_off_within_a_batch(scene: Scene) -> None:
    scene.forger.cut(305)


def cut_off_what_follows_the_pin(scene: Scene) -> None:
    scene.forger.cut(300)


def restore_an_old_copy(scene: Scene) -> None:
    shutil.copyfile(scene.original.snapshot, scene.files.database)


def delete_the_database(scene: Scene) -> None:
    scene.files.database.unlink()


def edit_and_sign_again(scene: Scene) -> None:
    edit_and_derive(scene)
    scene.forger.sign_again(BATCHES)


def fork_after_200_and_sign_again(scene: Scene) -> None:
    for index in range(200, 307):
        scene.forger.edit(index, host="forged.example.org")
    scene.forger.derive()
    scene.forger.sign_again(BATCHES)


def edit_after_the_pin_and_sign_again(scene: Scene) -> None:
    scene.forger.edit(303, host="forged.example.org")
    scene.forger.derive()
    scene.forger.sign_again(BATCHES)


def backdate_and_sign_again(scene: Scene) -> None:
    scene.forger.backdate(303, "2026-02-01T00:00:00.000000Z")
    scene.forger.derive()
    scene.forger.sign_again(BATCHES)


def begin_anew_with_another_key(scene: Scene) -> None:
    shutil.rmtree(scene.files.keys)
    scene.files.database.unlink()
    with Ledger.create(scene.files, origin=ORIGIN) as ledger:
        ledger.append([Drafts().make(egress("harmless.example.org"))])


def remove_the_guards(scene: Scene) -> None:
    scene.forger.run("CREATE TABLE leftover (x)")


class Row(NamedTuple):
    """What each of the three checkers finds: first the codes alone, then with memory, then with a pin."""

    attack: Callable[[Scene], None]
    alone: set[str]
    memory: set[str]
    pinned: set[str]


MISSED: set[str] = set()
MISMATCH = {"checkpoint-mismatch"}
NAMED = {"leaf-changed", "checkpoint-mismatch", "head-changed"}
"""A changed leaf under a full tile, where nothing was made to fit it."""
PIN = {"pin-mismatch"}
GONE = {"entry-missing", "sequence-gap"} | NAMED

MATRIX = [
    Row(edit, NAMED, NAMED | PIN, NAMED | PIN),
    Row(edit_and_derive, MISMATCH, MISMATCH | PIN, MISMATCH | PIN),
    Row(edit_derive_and_drop_checkpoints, {"unsigned-tail"}, {"unsigned-tail"} | PIN, {"unsigned-tail"} | PIN),
    Row(edit_an_index_column, {"index-changed"}, {"index-changed"}, {"index-changed"}),
    Row(hide_an_entry_from_the_index, *[{"index-changed", "sequence-gap"}] * 3),
    Row(delete_an_entry, GONE, GONE | PIN, GONE | PIN),
    Row(swap_two_entries, NAMED | {"index-changed"}, NAMED | {"index-changed"} | PIN, NAMED | {"index-changed"} | PIN),
    Row(cut_off_to_a_checkpoint, MISSED, {"truncated"}, {"truncated"}),
    Row(cut_off_within_a_batch, {"unsigned-tail"}, {"unsigned-tail", "truncated"}, {"unsigned-tail"}),
    Row(cut_off_what_follows_the_pin, MISSED, {"truncated"}, MISSED),
    Row(restore_an_old_copy, MISSED, {"truncated"}, {"truncated"}),
    Row(delete_the_database, *[{"database-missing"}] * 3),
    Row(edit_and_sign_again, MISSED, PIN, PIN),
    Row(fork_after_200_and_sign_again, MISSED, PIN, PIN),
    Row(edit_after_the_pin_and_sign_again, MISSED, PIN, MISSED),
    Row(backdate_and_sign_again, {"time-backwards"}, {"time-backwards"} | PIN, {"time-backwards"}),
    Row(
        begin_anew_with_another_key,
        {"checkpoint-signature", "unsigned-tail"},
        {"checkpoint-signature", "unsigned-tail"},
        {"checkpoint-signature", "unsigned-tail", "truncated"},
    ),
    Row(remove_the_guards, *[{"schema-changed"}] * 3),
]


def codes(verification: Verification) -> set[str]:
    return {problem.code for problem in verification.problems}


@pytest.mark.parametrize("row", MATRIX, ids=[row.attack.__name__ for row in MATRIX])
def test_the_matrix_of_attacks(scene: Scene, row: Row) -> None:
    row.attack(scene)
    key, pin = scene.original.verifier_key, scene.original.pin
    home = LedgerFiles(scene.files.database, scene.files.keys)
    elsewhere = LedgerFiles(scene.files.database, scene.files.keys.with_name("no-keys-here"))
    kept_inside = Pin("a copy inside", scene.original.pin.note, outside=False)
    with_memory = verify_ledger(home, verifier_key=key)
    pinned = verify_ledger(elsewhere, verifier_key=key, pins=[pin])
    assert codes(with_memory) == row.memory
    assert codes(pinned) == row.pinned
    assert codes(verify_ledger(elsewhere, verifier_key=key, pins=[kept_inside])) == row.pinned
    if row.attack is not delete_the_database:
        assert codes(verify_ledger(elsewhere, verifier_key=key)) == row.alone
    assert pinned.anchored_to == (
        300 if row.pinned.isdisjoint({"truncated", "pin-mismatch", "database-missing", "schema-changed"}) else None
    )
    assert with_memory.anchored_to is None


def test_nothing_is_found_where_nothing_was_done(scene: Scene) -> None:
    verification = verify_ledger(scene.files, verifier_key=scene.original.verifier_key, pins=[scene.original.pin])
    assert verification.consistent
    assert (verification.size, verification.anchored_to) == (307, 300)
    assert verification.not_checked[-1].startswith("whether entries 300 to 306 are what they were")


def test_the_first_bad_entry_is_named(scene: Scene) -> None:
    edit_and_derive(scene)
    elsewhere = LedgerFiles(scene.files.database, scene.files.keys.with_name("no-keys-here"))
    verification = verify_ledger(elsewhere, verifier_key=scene.original.verifier_key)
    assert [(p.code, p.index) for p in verification.problems] == [("checkpoint-mismatch", 0)]
    assert "entries 0 to 99" in verification.problems[0].message
    scene.forger.edit(255, host="x")
    scene.forger.run("UPDATE entry SET leaf = ? WHERE idx = 77", b"{}")
    verification = verify_ledger(elsewhere, verifier_key=scene.original.verifier_key)
    assert ("leaf-unreadable", 77) in [(p.code, p.index) for p in verification.problems]


def test_an_entry_under_a_full_tile_is_named_exactly(scene: Scene) -> None:
    edit(scene)
    elsewhere = LedgerFiles(scene.files.database, scene.files.keys.with_name("no-keys-here"))
    verification = verify_ledger(elsewhere, verifier_key=scene.original.verifier_key)
    (problem,) = [p for p in verification.problems if p.code == "leaf-changed"]
    assert "entry 77 is not the one that its tile was made of" in problem.message


def test_a_signer_does_not_go_on_from_an_old_copy(scene: Scene) -> None:
    restore_an_old_copy(scene)
    with (
        Ledger.open(scene.files) as ledger,
        pytest.raises(EvidenceError, match="holds 200 entries, but 307 were signed for") as error,
    ):
        ledger.append([Drafts("more").make()])
    assert "outside pin" in error.value.hint
    assert error.value.exit_code == 8


@pytest.mark.parametrize("attack", [edit_and_sign_again, fork_after_200_and_sign_again, cut_off_within_a_batch])
def test_a_signer_does_not_go_on_from_a_rewritten_history(scene: Scene, attack: Callable[[Scene], None]) -> None:
    attack(scene)
    with Ledger.open(scene.files) as ledger:
        before = ledger.size
        with pytest.raises(EvidenceError, match="signed for"):
            ledger.append([Drafts("more").make()])
        assert ledger.size == before
