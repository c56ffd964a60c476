"""What verification checks, says, and works on."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import ConfigurationError, EvidenceError, LedgerError
from custody.ledger import Ledger, LedgerFiles, Pin, Verification, check_proof, evidence, verify_ledger
from custody.ledger.notes import Proof, parse_proof, render_proof

from .drafts import ORIGIN, Drafts, artefact, claim, end, start
from .forgery import Forger


def codes(verification: Verification) -> set[str]:
    return {problem.code for problem in verification.problems}


def test_an_empty_ledger_verifies(ledger: Ledger, files: LedgerFiles) -> None:
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert verification.consistent
    assert (verification.size, verification.anchored_to, verification.checkpoint) == (0, None, ledger.checkpoint())


def test_only_an_agreeing_pin_from_outside_anchors(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    empty = ledger.checkpoint().note
    ledger.append(drafts.several(2))
    two = ledger.checkpoint().note
    ledger.append(drafts.several(3))

    def anchored(*pins: Pin) -> int | None:
        verification = verify_ledger(files, verifier_key=ledger.verifier_key, pins=pins)
        assert verification.consistent
        return verification.anchored_to

    assert anchored() is None
    assert anchored(Pin("inside", two, outside=False)) is None
    assert anchored(Pin("the empty tree, part of every ledger", empty)) is None
    assert anchored(Pin("old", two), Pin("new", ledger.checkpoint().note)) == 5
    assert anchored(Pin("old", two), Pin("new, inside", ledger.checkpoint().note, outside=False)) == 2


def test_a_pin_of_another_ledger_or_a_cut_one_is_said_and_anchors_nothing(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, tmp_path: Path
) -> None:
    ledger.append([drafts.make()])
    other_files = LedgerFiles(tmp_path / "other.db", tmp_path / "other-keys")
    with Ledger.create(other_files, origin=ORIGIN) as other:
        other.append([drafts.make()])
        foreign = other.checkpoint().note
    for note in (foreign, ledger.checkpoint().note[:-2], "", "\n\n"):
        verification = verify_ledger(files, verifier_key=ledger.verifier_key, pins=[Pin("the pin", note)])
        assert codes(verification) == {"pin-unusable"}
        assert verification.anchored_to is None
        assert "the pin cannot be used" in verification.problems[0].message


def test_a_wrong_key_fits_no_checkpoint_and_none_is_a_usage_error(
    ledger: Ledger, files: LedgerFiles, tmp_path: Path
) -> None:
    other_files = LedgerFiles(tmp_path / "other.db", tmp_path / "other-keys")
    with Ledger.create(other_files, origin=ORIGIN) as other:
        verification = verify_ledger(files, verifier_key=other.verifier_key)
    assert "checkpoint-signature" in codes(verification)
    assert verification.checkpoint is None
    with pytest.raises(LedgerError, match="verifier key"):
        verify_ledger(files, verifier_key="nonsense")


def test_where_there_never_was_a_ledger_it_is_a_matter_of_set_up(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        verify_ledger(LedgerFiles(tmp_path / "none.db", tmp_path / "none"), verifier_key=ledger.verifier_key)
    assert error.value.hint == "run `custody init`"


def test_a_file_that_is_no_database_is_a_problem_and_not_a_traceback(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append(drafts.several(300))
    key = ledger.verifier_key
    ledger.close()
    whole = files.database.read_bytes()
    for content in (b"", b"not a database at all" * 100, whole[: len(whole) // 2], whole[:100], bytes(len(whole))):
        files.database.write_bytes(content)
        for leftover in files.database.parent.glob("ledger.db-*"):
            leftover.unlink()
        verification = verify_ledger(files, verifier_key=key)
        assert codes(verification) & {"database-unreadable", "database-damaged", "schema-changed"}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [_pipe, Path.mkdir, _device, _loop], ids=["pipe", "folder", "device", "loop"])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_what_lies_where_logs_belong_and_is_no_file_is_not_waited_for(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, suffix: str, make: Callable[[Path], None]
) -> None:
    """SQLite opens it with the database: a pipe there would hold whoever verifies a copy for ever."""
    ledger.append(drafts.several(3))
    key = ledger.verifier_key
    ledger.close()
    make(Path(f"{files.database}{suffix}"))
    verification = verify_ledger(files, verifier_key=key)
    assert [(p.code, p.message) for p in verification.problems] == [
        ("database-unreadable", f"beside the database lies `ledger.db{suffix}`, which is not a plain file")
    ]


def test_a_log_that_belongs_to_nothing_changes_nothing(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(3))
    key = ledger.verifier_key
    ledger.close()
    for suffix in ("-wal", "-shm", "-journal"):
        place = Path(f"{files.database}{suffix}")
        place.write_bytes(os.urandom(100_000))
        verification = verify_ledger(files, verifier_key=key)
        assert (verification.consistent, verification.size) == (True, 3)
        place.unlink()


def test_a_copy_is_taken_of_one_moment_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere somebody writes, and moves pages from the log to the database while they are copied."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0")
    real, writes = shutil.copyfile, iter([True, True, False, *[True] * 100])

    def copying(one: Path, other: Path) -> None:
        real(one, other)
        if next(writes):
            source.write_bytes(source.read_bytes() + b"1")

    monkeypatch.setattr(shutil, "copyfile", copying)
    evidence._copy_at_rest([(source, target)])
    assert source.read_bytes() == target.read_bytes() == b"011"
    with pytest.raises(LedgerError, match="is written all the time"):
        evidence._copy_at_rest([(source, target)])


def test_progress_is_told(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(1500))
    steps: list[tuple[int, int]] = []
    verify_ledger(files, verifier_key=ledger.verifier_key, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1024, 1500), (1500, 1500)]


def test_what_was_checked_and_what_not_is_said(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append([drafts.make(run="open"), drafts.make(end(), run="closed")])
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert any(sentence.startswith("2 entries:") for sentence in verification.checks)
    assert any(sentence.startswith("2 checkpoints:") for sentence in verification.checks)
    assert "how 1 runs end: they have no end yet" in verification.not_checked
    without_memory = verify_ledger(replace(files, keys=files.keys / "none"), verifier_key=ledger.verifier_key)
    assert any("signer" in sentence for sentence in without_memory.not_checked)


def test_what_is_longer_than_it_may_be_is_not_loaded(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    payload = ledger.seal(b"content", media="text/plain")
    ledger.append([drafts.make(artefact(payload.ref))], [payload])
    key = ledger.verifier_key
    ledger.close()
    whole = files.database.read_bytes()
    for statement, code in {
        "UPDATE entry SET leaf = zeroblob(100000000)": "leaf-unreadable",
        "UPDATE payload SET content = zeroblob(100000000)": "payload-changed",
        "UPDATE checkpoint SET note = hex(zeroblob(1000000)) WHERE size = 1": "checkpoint-signature",
    }.items():
        Forger(files.database).run(statement)
        assert code in codes(verify_ledger(files, verifier_key=key))
        files.database.write_bytes(whole)


def test_an_unknown_kind_is_kept_counted_and_no_problem(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(2))
    forger = Forger(files.database, files.keys / "signing.key")
    content = forger.leaf(1)
    leaf = b'{"actor":"agent","body":{"new":[1,{"a":null}]},"id":"event-1","kind":"moon:landed","run":"run-1","seq":1,"time":"%s","v":3}'
    forger.run("UPDATE entry SET leaf = ? WHERE idx = 1", leaf % str(content["time"]).encode())
    forger.derive()
    forger.sign_again([])
    (_first, unknown) = ledger.entries()
    assert (unknown.kind, unknown.version, unknown.event) == ("moon:landed", 3, None)
    verification = verify_ledger(replace(files, keys=files.keys / "none"), verifier_key=ledger.verifier_key)
    assert verification.consistent
    assert "the content of 1 entries: this release does not know their kind" in verification.not_checked


def test_payloads_are_checked_against_their_entries(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    payload = ledger.seal(b"content", media="text/plain")
    ledger.append([drafts.make(), drafts.make(artefact(payload.ref))], [payload])
    key = ledger.verifier_key
    ledger.close()
    whole = files.database.read_bytes()
    for statement, code in {
        "UPDATE payload SET content = 'contenT'": "payload-changed",
        "UPDATE payload SET content = x'00'": "payload-changed",
        "UPDATE payload SET hmac_key = zeroblob(32)": "payload-changed",
        "UPDATE payload SET idx = 0": "payload-unknown",
        "DELETE FROM payload": "payload-missing",
        "INSERT INTO payload VALUES ('more', 0, x'00', x'00')": "payload-unknown",
    }.items():
        Forger(files.database).run(statement)
        found = verify_ledger(files, verifier_key=key)
        assert code in codes(found), statement
        assert any(p.code == code and p.index in {1, None} for p in found.problems)
        files.database.write_bytes(whole)


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([claim(), start(), end("executed", "succeeded")], None),
        ([claim(), start()], None),
        ([end("denied")], None),
        ([end("denied"), end("denied")], "ended-twice"),
        ([start(), end("executed", "succeeded")], "started-unclaimed"),
        ([claim(), end("executed", "failed")], "executed-unstarted"),
        ([claim("a"), claim("b"), start()], "claimed-twice"),
        ([claim(), start(), start()], "started-twice"),
    ],
)
def test_what_must_hold_within_a_run(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, events: list[object], code: str | None
) -> None:
    for event in events:
        ledger.append([drafts.make(event, run="r"), drafts.make(run="other")])  # type: ignore[arg-type]  # because of the parameter
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert codes(verification) == (set() if code is None else {code})


def test_a_live_ledger_verifies_while_it_is_open(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    for _ in range(5):
        ledger.append(drafts.several(3))
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent
    assert ledger.append([drafts.make()])[0].index == 15


def test_a_copy_with_its_log_verifies_where_nothing_can_be_written(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, tmp_path: Path
) -> None:
    """The write-ahead log still holds entries, and the directory can neither take a new file nor a lock."""
    ledger.append(drafts.several(20))
    copies = {"with its log": tmp_path / "with", "after closing": tmp_path / "after"}
    _copy(files, copies["with its log"])
    key = ledger.verifier_key
    ledger.close()
    _copy(files, copies["after closing"])
    for folder in copies.values():
        (folder / "ledger.db-shm").unlink(missing_ok=True)
        with _unwritable(folder):
            before = sorted((p.name, p.stat().st_size) for p in folder.iterdir())
            alone = LedgerFiles(folder / "ledger.db", tmp_path / "none")
            verification = verify_ledger(alone, verifier_key=key)
            assert verify_ledger(alone, verifier_key=key, processes=2) == verification
            assert before == sorted((p.name, p.stat().st_size) for p in folder.iterdir())
        assert (verification.consistent, verification.size) == (True, 20)
    assert (copies["with its log"] / "ledger.db-wal").stat().st_size > 0


def _copy(files: LedgerFiles, folder: Path) -> None:
    folder.mkdir()
    for path in files.database.parent.glob("ledger.db*"):
        shutil.copyfile(path, folder / path.name)


@contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    """Root may write wherever modes forbid it, so root mounts the folder read-only."""
    if os.geteuid() == 0:
        subprocess.run(["/usr/bin/mount", "--bind", folder, folder], check=True)
        try:
            subprocess.run(["/usr/bin/mount", "-o", "remount,bind,ro", folder], check=True)
            yield
        finally:
            subprocess.run(["/usr/bin/umount", folder], check=True)
    else:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)


def test_a_database_of_another_release_is_not_read_into(ledger: Ledger, files: LedgerFiles) -> None:
    with sqlite3.connect(files.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    assert codes(verify_ledger(files, verifier_key=ledger.verifier_key)) == {"schema-changed"}
    with pytest.raises(LedgerError, match="has schema 0099") as error:
        Ledger.open(files)
    assert "newer one" in error.value.hint


def test_tables_that_are_not_ours_are_not_read(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    """A view could be endless."""
    ledger.append([drafts.make()])
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS idx, x AS leaf, x AS event_id FROM n"
    with sqlite3.connect(files.database) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DROP TABLE event_index")
        connection.execute("ALTER TABLE entry RENAME TO hidden")
        connection.execute(f"CREATE VIEW entry AS {endless}")
    connection.close()
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert codes(verification) == {"schema-changed"}
    assert any("not those of this release" in sentence for sentence in verification.not_checked)


def test_a_proof_that_was_changed_anywhere_proves_nothing(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(drafts.several(5))
    entry = list(ledger.entries())[2]
    text, key = ledger.prove(2), ledger.verifier_key
    for position in range(len(text)):
        changed = text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]
        with pytest.raises(EvidenceError):
            check_proof(changed, entry.leaf, key)
    for position in range(len(text)):
        with pytest.raises(EvidenceError):
            check_proof(text[:position], entry.leaf, key)
    parsed = parse_proof(text)
    for other in (replace(parsed, index=3), replace(parsed, index=9), Proof(2, parsed.path[1:], parsed.note)):
        with pytest.raises(EvidenceError):
            check_proof(render_proof(other), entry.leaf, key)


def test_from_the_pin_only_what_follows_is_read_and_that_is_said(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    sizes = (1, 255, 256, 257, 512, 600)
    pins = []
    for size in sizes:
        ledger.append(drafts.several(size - ledger.size))
        pins.append(Pin(f"pin {size}", ledger.checkpoint().note))
    ledger.append(drafts.several(300))
    for size, pin in zip(sizes, pins, strict=True):
        full = verify_ledger(files, verifier_key=ledger.verifier_key, pins=[pin])
        short = verify_ledger(files, verifier_key=ledger.verifier_key, pins=[pin], from_pin=True)
        assert short.consistent
        assert (short.root, short.size, short.anchored_to) == (full.root, full.size, size)
        assert any(f"entries 0 to {size - 1} were not read again" in sentence for sentence in short.not_checked)
    newest = Pin("newest", ledger.checkpoint().note)
    assert verify_ledger(files, verifier_key=ledger.verifier_key, pins=[newest], from_pin=True).anchored_to == 900


def test_from_the_pin_changes_before_it_are_not_seen_and_those_after_it_are(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append(drafts.several(300))
    pin = Pin("pin", ledger.checkpoint().note)
    ledger.append(drafts.several(300))
    forger, key = Forger(files.database, files.keys / "signing.key"), ledger.verifier_key
    forger.edit(77, host="changed.example.org")
    assert verify_ledger(files, verifier_key=key, pins=[pin], from_pin=True).consistent
    assert not verify_ledger(files, verifier_key=key, pins=[pin]).consistent
    forger.edit(290, host="changed.example.org")
    verification = verify_ledger(files, verifier_key=key, pins=[pin], from_pin=True)
    assert "pin-mismatch" in codes(verification)
    assert any("everything was read" in sentence for sentence in verification.checks)


def test_from_the_pin_the_rest_is_checked_in_full(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(300))
    pin = Pin("pin", ledger.checkpoint().note)
    ledger.append(drafts.several(300))
    key = ledger.verifier_key
    ledger.close()
    whole = files.database.read_bytes()
    for statement in (
        "UPDATE entry SET leaf = (SELECT leaf FROM entry WHERE idx = 400) WHERE idx = 401",
        "DELETE FROM event_index WHERE idx = 599",
        "DELETE FROM checkpoint WHERE size = 600",
        "UPDATE tile SET root = zeroblob(32) WHERE idx = 1",
        "UPDATE head SET size = 601",
    ):
        Forger(files.database).run(statement)
        assert not verify_ledger(files, verifier_key=key, pins=[pin], from_pin=True).consistent, statement
        files.database.write_bytes(whole)


def test_without_a_pin_from_outside_everything_is_read(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(3))
    pin = Pin("inside", ledger.checkpoint().note, outside=False)
    verification = verify_ledger(files, verifier_key=ledger.verifier_key, pins=[pin], from_pin=True)
    assert (verification.consistent, verification.anchored_to) == (True, None)
    assert "everything was read: no outside pin could be begun from" in verification.checks


@pytest.mark.parametrize("number", [-1, -(1 << 63), 5, 1 << 40])
def test_an_entry_beyond_those_that_were_signed_for_is_found_whatever_its_number(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, number: int
) -> None:
    ledger.append(drafts.several(3))
    Forger(files.database).run("INSERT INTO entry SELECT ?, leaf, 'another' FROM entry WHERE idx = 0", number)
    assert "entry-missing" in codes(verify_ledger(files, verifier_key=ledger.verifier_key))


@pytest.mark.parametrize("number", [-1, 5, 1 << 40])
def test_an_index_row_without_an_entry_is_found_and_named(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, number: int
) -> None:
    ledger.append(drafts.several(3))
    Forger(files.database).run(
        "INSERT INTO event_index SELECT ?, kind, 'r', actor, '', 0, 0 FROM event_index WHERE idx = 0", number
    )
    found = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert ("index-changed", number) in [(p.code, p.index) for p in found.problems]


def test_a_run_that_is_read_whole_has_no_hole(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append(drafts.several(5))
    Forger(files.database).run("DELETE FROM event_index WHERE idx = 2")
    with pytest.raises(EvidenceError, match="entries of run `run-1` are missing"):
        list(ledger.entries(run="run-1"))
