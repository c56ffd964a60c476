"""Changing the signing key: who trusts either key can check everything, and a forged change is found."""

import base64
import os
import shutil
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from custody.errors import EvidenceError, LedgerError
from custody.ledger import Draft, Ledger, LedgerFiles, Pin, Verification, check_proof, verify_ledger
from custody.ledger.codec import encode_draft
from custody.ledger.events import LedgerKeyRotated
from custody.ledger.keys import KeyDirectory
from custody.ledger.memory import SignerMemory
from custody.ledger.notes import Signer, Verifier, parse_checkpoint, sign_checkpoint

from .drafts import ORIGIN, START, Drafts
from .forgery import Forger


def codes(verification: Verification) -> set[str]:
    return {problem.code for problem in verification.problems}


def rotate(ledger: Ledger, number: int = 1) -> None:
    ledger.rotate_key(event_id=f"rotation-{number}", actor="root", time=START)


def slip_in(ledger: Ledger, draft: Draft) -> None:
    """Write a change of key that only the present key signs for."""
    with ledger._turn() as signer:
        ledger._commit([draft], (), [signer])


def test_a_change_of_key_is_not_appended_like_an_event(ledger: Ledger, drafts: Drafts) -> None:
    event = LedgerKeyRotated(old_key=ledger.verifier_key, new_key=ledger.verifier_key, by="root")
    with pytest.raises(LedgerError, match="not an event like others"):
        ledger.append([drafts.make(), drafts.make(event)])
    assert ledger.size == 0


def test_both_keys_sign_for_the_change_and_either_checks_the_whole(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append(drafts.several(2))
    pin, proof, first = Pin("old pin", ledger.checkpoint().note), ledger.prove(0), ledger.verifier_key
    keys = [first]
    for number in range(2):
        rotate(ledger, number)
        keys.append(ledger.verifier_key)
        both = [Verifier.parse(key) for key in keys[-2:]]
        assert parse_checkpoint(ledger.checkpoint().note, *both).size == ledger.size
        ledger.append(drafts.several(2))
    assert len(set(keys)) == 3
    for key in keys:
        verification = verify_ledger(files, verifier_key=key, pins=[pin, Pin("new pin", ledger.checkpoint().note)])
        assert verification.consistent
        assert verification.anchored_to == 8
    assert check_proof(proof, next(ledger.entries()).leaf, first).index == 0
    entry = next(ledger.entries(kinds=["ledger:key_rotated"]))
    assert entry.event == LedgerKeyRotated(old_key=keys[0], new_key=keys[1], by="root")


def test_another_process_goes_on_with_the_new_key(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    with Ledger.open(files) as other:
        other.append([drafts.make()])
        rotate(ledger)
        other.append([drafts.make()])
        assert other.verifier_key == ledger.verifier_key
        assert other.checkpoint() == ledger.checkpoint()
    assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent


@pytest.mark.parametrize("point", ["before the commit", "after the commit"])
def test_a_rotation_that_a_crash_interrupts_is_finished_or_undone(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    first, committed = ledger.verifier_key, point == "after the commit"

    def crash(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        owner, name = (KeyDirectory, "promote") if committed else (SignerMemory, "recall")
        patch.setattr(owner, name, crash)
        with pytest.raises(KeyboardInterrupt):
            rotate(ledger)
    assert (files.keys / "signing.key.next").exists()
    assert ledger.size == (1 if committed else 0)
    assert ledger.checkpoint().size == ledger.size
    ledger.append([drafts.make()])
    assert not (files.keys / "signing.key.next").exists()
    assert (ledger.verifier_key != first) == committed
    for key in {first, ledger.verifier_key}:
        assert verify_ledger(files, verifier_key=key).consistent


def test_a_rotation_that_only_the_new_key_signed_is_found(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    """Somebody who can write the database names a key of his own, and signs all that follows."""
    ledger.append(drafts.several(2))
    trusted = ledger.verifier_key
    thief = Signer(ORIGIN, bytes(32))
    forged = LedgerKeyRotated(old_key=trusted, new_key=str(thief.verifier), by="root")
    slip_in(ledger, Drafts("forged").make(forged, run=None))
    assert codes(verify_ledger(files, verifier_key=trusted)) == {
        "checkpoint-signature",
        "key-rotation",
        "unsigned-tail",
    }
    ledger.close()
    stolen = files.keys / "thief"
    stolen.write_text(thief.private_text())
    Forger(files.database, stolen).sign_again([2])
    for key in (trusted, str(thief.verifier)):
        found = codes(verify_ledger(LedgerFiles(files.database, files.keys / "none"), verifier_key=key))
        assert {"checkpoint-signature", "key-rotation"} <= found


def test_a_key_of_another_name_or_from_nowhere_joins_no_chain(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    stranger = Signer("other.example", bytes(32)).verifier
    forged = LedgerKeyRotated(old_key=str(stranger), new_key=ledger.verifier_key, by="root")
    slip_in(ledger, drafts.make(forged, run=None))
    ledger.append([drafts.make()])
    assert codes(verify_ledger(files, verifier_key=ledger.verifier_key)) == {"key-rotation"}
    nonsense = LedgerKeyRotated(old_key="x", new_key="y", by="root")
    slip_in(ledger, drafts.make(nonsense, run=None))
    assert codes(verify_ledger(files, verifier_key=ledger.verifier_key)) == {"key-rotation"}


def test_no_rotation_can_be_slipped_in_before_the_pin(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    """From the pin on, entries before it are not read: a false change of key among them must not be believed."""
    ledger.append([*drafts.several(300)])
    pin, trusted = Pin("pin", ledger.checkpoint().note), ledger.verifier_key
    ledger.append(drafts.several(2))
    ledger.close()
    thief = Signer(ORIGIN, bytes(32))
    stolen = files.keys / "thief"
    stolen.write_text(thief.private_text())
    forged = LedgerKeyRotated(old_key=trusted, new_key=str(thief.verifier), by="root")
    with Forger(files.database).unguarded() as connection:
        leaf = encode_draft(Drafts("forged").make(forged, run=None), None)
        connection.execute("UPDATE entry SET leaf = ? WHERE idx = 7", (leaf,))
        connection.execute("UPDATE event_index SET kind = 'ledger:key_rotated' WHERE idx = 7")
        note = sign_checkpoint(ORIGIN, 302, ledger_root(connection), [thief]).note
        connection.execute("UPDATE checkpoint SET note = ? WHERE size = 302", (note,))
    verification = verify_ledger(files, verifier_key=trusted, pins=[pin], from_pin=True)
    assert {"leaf-changed", "pin-mismatch"} & codes(verification)


def ledger_root(connection: sqlite3.Connection) -> bytes:
    root: bytes = connection.execute("SELECT root FROM head").fetchone()[0]
    return root


def test_rotations_before_the_pin_are_believed_by_their_proof(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append(drafts.several(2))
    first = ledger.verifier_key
    rotate(ledger)
    ledger.append(drafts.several(300))
    pin = Pin("pin", ledger.checkpoint().note)
    ledger.append(drafts.several(3))
    for key in (first, ledger.verifier_key):
        verification = verify_ledger(files, verifier_key=key, pins=[pin], from_pin=True)
        assert verification.consistent
        assert any("were not read again" in sentence for sentence in verification.not_checked)


def test_a_reader_does_not_rotate(ledger: Ledger, files: LedgerFiles) -> None:
    with Ledger.open(files, read_only=True) as reader, pytest.raises(LedgerError, match="opened for reading only"):
        rotate(reader)
    assert not (files.keys / "signing.key.next").exists()


@pytest.mark.parametrize("torn", [b"", b"PRIVATE+KEY+test.exa", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["signing.key.next", "verifier.key.next"])
def test_a_next_key_of_which_half_was_written_is_in_nobodys_way(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, name: str, torn: bytes
) -> None:
    rotate(ledger)
    for number in (2, 3):
        (files.keys / name).write_bytes(torn)
        (files.keys / name).chmod(0o600)
        if number == 2:
            ledger.append([drafts.make()])
            assert not (files.keys / name).exists()
        else:
            rotate(ledger, number)
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent


def test_a_key_is_on_disk_before_the_entry_that_names_it(
    ledger: Ledger, files: LedgerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave the entry and take the key: nothing could ever be signed again."""
    done: list[str] = []
    real, commit = os.fsync, Ledger._commit

    def fsync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    def committing(*arguments: object, **named: object) -> object:
        done.append("commit")
        return commit(*arguments, **named)  # type: ignore[arg-type]  # because they are only handed on

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Ledger, "_commit", committing)
    rotate(ledger)
    before = done[: done.index("commit")]
    assert before[-1] == files.keys.name
    assert {"signing.key.next", "verifier.key.next"} <= {*before}
    assert done[done.index("commit") + 1 :] == [files.keys.name] * 2


def test_a_key_that_is_no_longer_in_force_signs_nothing(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, tmp_path: Path
) -> None:
    """Somebody puts an older copy of the keys back, at once or later, with or without the signer's memory."""
    ledger.append(drafts.several(2))
    shutil.copytree(files.keys, tmp_path / "old")
    trusted = ledger.verifier_key
    rotate(ledger)
    now = {path.name: path.read_bytes() for path in files.keys.iterdir()}
    for names in (
        ["signing.key"],
        ["signing.key", "verifier.key"],
        ["signing.key", "verifier.key", "last-signed.json"],
    ):
        for name in names:
            (files.keys / name).unlink()
            shutil.copy(tmp_path / "old" / name, files.keys / name)
        with pytest.raises(EvidenceError, match="is not the one that was put in force last") as error:
            ledger.append([drafts.make()])
        assert error.value.exit_code == 8
        with Ledger.open(files) as other, pytest.raises(EvidenceError, match="is not the one that was put in force"):
            other.append([drafts.make()])
        assert ledger.size == 3
        for name, content in now.items():
            (files.keys / name).write_bytes(content)
    ledger.append([drafts.make()])
    assert verify_ledger(files, verifier_key=trusted).consistent


@pytest.mark.mounts
def test_with_a_full_disk_the_old_key_or_the_new_one_is_in_force_and_a_second_try_is_enough(small_disk: Path) -> None:
    """Whatever room is left, from none to enough, a page more each time."""
    made = LedgerFiles(small_disk / "made" / "ledger.db", small_disk / "made" / "keys")
    with Ledger.create(made, origin=ORIGIN) as ledger:
        ledger.append(Drafts().several(20, run=None))
        trusted = ledger.verifier_key
    tried: list[int] = []
    for pages in range(64):
        home = small_disk / f"home-{pages}"
        shutil.copytree(made.database.parent, home)
        files = LedgerFiles(home / "ledger.db", home / "keys")
        with Ledger.open(files) as ledger:
            assert ledger.size == 20  # what SQLite wants beside the database is there
            fill(small_disk / "ballast", pages)
            try:
                rotate(ledger)
                tried.append(0)
            except LedgerError as error:
                tried.append(int(error.exit_code))
            assert ledger.size in {20, 21}
            assert verify_ledger(files, verifier_key=trusted).problems == ()
            (small_disk / "ballast").unlink()
            rotate(ledger, 2)
            ledger.append([Drafts("after").make(run=None)])
            assert not list(files.keys.glob("*.next"))
            for key in (trusted, ledger.verifier_key):
                assert verify_ledger(files, verifier_key=key).problems == ()
        shutil.rmtree(home)
        if tried[-1] == 0:
            break
    assert tried[-1] == 0
    assert len(tried) > 5
    assert {*tried[:-1]} == {74}


def fill(ballast: Path, pages: int) -> None:
    """Leave so many pages."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)) == 4096:
            pass
    os.truncate(ballast, max(ballast.stat().st_size - pages * 4096, 0))


def test_what_could_not_be_put_in_place_is_said_and_done_by_whoever_writes_next(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ledger.verifier_key

    def fails(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "verifier.key.next")

    with monkeypatch.context() as patch:
        patch.setattr(KeyDirectory, "promote", fails)
        with pytest.raises(LedgerError, match="the new key is in force since entry 0, but") as error:
            rotate(ledger)
    assert "no other change of key is needed" in error.value.hint
    ledger.append([drafts.make()])
    assert ledger.verifier_key != first
    assert verify_ledger(files, verifier_key=first).consistent


def test_no_key_is_ever_in_the_database(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    private = [(files.keys / "signing.key").read_text().strip()]
    ledger.append(drafts.several(3))
    rotate(ledger)
    private.append((files.keys / "signing.key").read_text().strip())
    stored = b"".join(path.read_bytes() for path in files.database.parent.glob("ledger.db*"))
    for text in private:
        secret = text.split("+", 4)[4]
        seed = base64.b64decode(secret)[1:]
        assert len(seed) == 32
        for form in (secret.encode(), seed, seed.hex().encode(), base64.b64encode(seed)):
            assert form not in stored
    for path in files.keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
