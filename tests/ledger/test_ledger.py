"""Creating, opening, appending, reading."""

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from custody.errors import ConfigurationError, ConflictError, EvidenceError, LedgerError
from custody.ledger import Draft, Ledger, LedgerFiles, check_proof
from custody.ledger.events import LedgerHeartbeat
from custody.ledger.tree import leaf_hash
from custody.redaction import Redactor

from .drafts import ORIGIN, START, Drafts, artefact, claim, egress, end


def test_a_new_ledger_is_empty_signed_for_and_private(ledger: Ledger, files: LedgerFiles) -> None:
    assert (ledger.size, ledger.origin) == (0, ORIGIN)
    checkpoint = ledger.checkpoint()
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 0)
    assert ledger.verifier_key.startswith(f"{ORIGIN}+")
    assert stat.S_IMODE(files.keys.stat().st_mode) == 0o700
    for path in (*files.keys.iterdir(), *files.database.parent.glob("ledger.db*")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_write_ahead_log_is_private_too(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append([drafts.make()])
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.database.parent.glob("ledger.db*")}
    assert names == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_no_second_ledger_is_made_over_a_first(ledger: Ledger, files: LedgerFiles) -> None:
    key = (files.keys / "signing.key").read_bytes()
    with pytest.raises(ConfigurationError, match="already there"):
        Ledger.create(files, origin=ORIGIN)
    other = LedgerFiles(files.database, files.keys.with_name("other"))
    with pytest.raises(ConfigurationError, match="already there"):
        Ledger.create(other, origin=ORIGIN)
    assert not other.keys.exists()
    assert key == (files.keys / "signing.key").read_bytes()


@pytest.mark.parametrize("origin", ["", "with space", "a+b", "line\nbreak", "x" * 129])
def test_an_origin_that_cannot_stand_in_a_note_is_refused(files: LedgerFiles, origin: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a ledger"):
        Ledger.create(files, origin=origin)
    assert not files.keys.exists()


def test_what_is_missing_is_said_with_the_way_out(files: LedgerFiles) -> None:
    with pytest.raises(ConfigurationError) as error:
        Ledger.open(files)
    assert error.value.hint.startswith("put it back from the copy that you keep, it cannot be made again")
    Ledger.create(files, origin=ORIGIN).close()
    (files.keys / "signing.key").unlink()
    with pytest.raises(ConfigurationError) as error:
        Ledger.open(files)
    assert error.value.hint == "put it back from the copy that you keep: a key cannot be made again"
    Ledger.open(files, read_only=True).close()


def test_a_signing_key_that_others_may_read_is_not_used(ledger: Ledger, files: LedgerFiles) -> None:
    (files.keys / "signing.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read"):
        Ledger.open(files)


@pytest.mark.parametrize("name", ["signing.key", "verifier.key"])
def test_what_is_no_key_file_is_neither_waited_for_nor_read_without_end(
    ledger: Ledger, files: LedgerFiles, name: str
) -> None:
    place = files.keys / name
    kept = place.read_bytes()
    place.unlink()
    os.mkfifo(place, 0o600)
    with pytest.raises(ConfigurationError, match="is not a plain file"):
        Ledger.open(files)
    place.unlink()
    with place.open("wb") as file:
        file.truncate(1 << 40)
    place.chmod(0o600)
    with pytest.raises(ConfigurationError):
        Ledger.open(files)
    place.write_bytes(kept)
    Ledger.open(files).close()


def test_acknowledgements_say_where_the_entries_stand(ledger: Ledger, drafts: Drafts) -> None:
    first = ledger.append([drafts.make()])
    rest = ledger.append(drafts.several(3))
    assert [(a.index, a.tree_size, a.repeated) for a in first] == [(0, 1, False)]
    assert [(a.index, a.tree_size, a.repeated) for a in rest] == [(1, 4, False), (2, 4, False), (3, 4, False)]
    assert [leaf_hash(e.leaf) for e in ledger.entries()] == [a.leaf_hash for a in (*first, *rest)]
    assert 4 == ledger.checkpoint().size == ledger.size


def test_the_leaf_is_canonical_json_with_these_fields(ledger: Ledger) -> None:
    draft = Draft(id="h-1", event=LedgerHeartbeat(interval_seconds=60), actor="custody", time=START)
    ledger.append([draft])
    (entry,) = ledger.entries()
    expected = (
        b'{"actor":"custody","body":{"interval_seconds":60},"id":"h-1","kind":"ledger:heartbeat","run":null,"seq":null,'
        b'"time":"2026-03-01T12:00:00.000000Z","v":1}'
    )
    assert expected == entry.leaf
    assert (draft.event, START, None, None) == (entry.event, entry.time, entry.run, entry.sequence)


def test_numbers_within_a_run_are_contiguous_whatever_comes_between(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append([drafts.make(run="a"), drafts.make(run="b"), drafts.make(run=None), drafts.make(run="a")])
    ledger.append([drafts.make(run="b"), drafts.make(run="a")])
    assert [(e.run, e.sequence) for e in ledger.entries()] == [
        ("a", 0),
        ("b", 0),
        (None, None),
        ("a", 1),
        ("b", 1),
        ("a", 2),
    ]


def test_the_same_event_again_is_acknowledged_again_and_not_written(ledger: Ledger, drafts: Drafts) -> None:
    batch = drafts.several(3)
    first = ledger.append(batch)
    ledger.append(drafts.several(2))
    before = ledger.checkpoint()
    again = ledger.append(batch)
    assert [replace(a, repeated=True) for a in first] == list(again)
    assert before == ledger.checkpoint()


def test_the_same_id_with_other_content_is_a_conflict_and_nothing_is_written(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append([drafts.make(claim("mine"), name="run-1/claimed")])
    before = ledger.checkpoint()
    theirs = drafts.make(claim("theirs"), name="run-1/claimed")
    with pytest.raises(ConflictError, match="`run-1/claimed` is already entry 0"):
        ledger.append([drafts.make(), theirs, drafts.make()])
    assert before == ledger.checkpoint()
    assert 1 == ledger.size == ledger.count()


@pytest.mark.parametrize("field", ["actor", "run", "time"])
def test_the_same_id_by_another_actor_run_or_time_is_a_conflict(ledger: Ledger, drafts: Drafts, field: str) -> None:
    draft = drafts.make()
    ledger.append([draft])
    others = {"actor": "other", "run": "other", "time": draft.time + timedelta(microseconds=1)}
    with pytest.raises(ConflictError):
        ledger.append([replace(draft, **{field: others[field]})])  # type: ignore[arg-type]  # because the field is a parameter


def test_a_mixed_batch_appends_what_is_new_and_acknowledges_the_rest_in_order(ledger: Ledger, drafts: Drafts) -> None:
    known = drafts.several(2)
    ledger.append(known)
    fresh = drafts.several(2)
    given = [fresh[0], known[1], fresh[1], fresh[0], known[0]]
    assert [(a.index, a.repeated) for a in ledger.append(given)] == [
        (2, False),
        (1, True),
        (3, False),
        (2, True),
        (0, True),
    ]
    assert [e.sequence for e in ledger.entries()] == [0, 1, 2, 3]


def test_one_id_twice_in_a_batch_with_other_content_is_a_conflict(ledger: Ledger, drafts: Drafts) -> None:
    with pytest.raises(ConflictError):
        ledger.append([drafts.make(name="x"), drafts.make(name="x")])
    assert ledger.size == 0


@pytest.mark.parametrize("field", ["id", "run", "actor"])
def test_a_name_that_no_database_takes_is_an_error_and_not_a_traceback(
    ledger: Ledger, drafts: Drafts, field: str
) -> None:
    for name in ("\ud800", "", 7):
        with pytest.raises(LedgerError, match="is not printable text"):
            ledger.append([replace(drafts.make(), **{field: name})])  # type: ignore[arg-type]  # because that is what is refused
    assert ledger.size == 0


def test_an_empty_batch_is_nothing(ledger: Ledger) -> None:
    assert ledger.append([]) == ()
    with pytest.raises(LedgerError, match="payloads need an entry"):
        ledger.append([], [ledger.seal(b"x", media="text/plain")])


def test_time_in_another_zone_or_without_one_is_refused(ledger: Ledger, drafts: Drafts) -> None:
    for time in (datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))):  # noqa: DTZ001 - because that is what is refused
        with pytest.raises(LedgerError, match="not in UTC"):
            ledger.append([replace(drafts.make(), time=time)])
    assert ledger.size == 0


def test_payloads_are_redacted_before_they_are_committed_to(files: LedgerFiles, drafts: Drafts) -> None:
    Ledger.create(files, origin=ORIGIN).close()
    secret = "hunter2-hunter2"
    with Ledger.open(files, redactor=Redactor([secret])) as ledger:
        payload = ledger.seal(f"key={secret} AKIA{'A' * 16}".encode(), media="text/plain")
        assert (payload.content, payload.ref.redactions) == (b"key=[redacted:known_value] [redacted:aws_access_key]", 2)
        ledger.append([drafts.make(artefact(payload.ref))], [payload])
        assert payload.content == ledger.read_payload(payload.ref)
    for path in files.database.parent.glob("ledger.db*"):
        assert secret.encode() not in path.read_bytes()


def test_sealing_stores_nothing(ledger: Ledger) -> None:
    payload = ledger.seal(b"x", media="text/plain")
    with pytest.raises(LedgerError, match="is not stored"):
        ledger.read_payload(payload.ref)


def test_a_payload_without_an_entry_and_an_entry_without_its_payload_are_refused(
    ledger: Ledger, drafts: Drafts
) -> None:
    payload = ledger.seal(b"x", media="text/plain")
    with pytest.raises(LedgerError, match="belongs to no entry"):
        ledger.append([drafts.make()], [payload])
    with pytest.raises(LedgerError, match="are missing"):
        ledger.append([drafts.make(artefact(payload.ref))])
    with pytest.raises(LedgerError, match="not what its reference commits to"):
        ledger.append([drafts.make(artefact(payload.ref))], [replace(payload, content=b"y")])
    with pytest.raises(ConflictError, match="not the one that the entry refers to"):
        ledger.append([drafts.make(artefact(replace(payload.ref, commitment="0" * 64)))], [payload])
    assert ledger.size == 0


def test_a_payload_is_stored_once_however_often_it_is_referred_to(ledger: Ledger, drafts: Drafts) -> None:
    payload = ledger.seal(b"x", media="text/plain")
    batch = [drafts.make(artefact(payload.ref)), drafts.make(artefact(payload.ref))]
    ledger.append(batch, [payload])
    ledger.append([drafts.make(artefact(payload.ref))])
    assert all(a.repeated for a in ledger.append(batch, [payload]))
    assert ledger.read_payload(payload.ref) == b"x"
    with pytest.raises(EvidenceError, match="not what was committed to"):
        ledger.read_payload(replace(payload.ref, commitment="0" * 64))


def test_entries_are_found_by_what_was_asked_for(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(
        [drafts.make(run="a"), drafts.make(claim(), run="b"), drafts.make(end(), run="a"), drafts.make(run=None)]
    )

    def found(**wanted: object) -> list[int]:
        return [e.index for e in ledger.entries(**wanted)]  # type: ignore[arg-type]  # because the filter is a parameter

    assert found() == [0, 1, 2, 3]
    assert found(newest_first=True) == [3, 2, 1, 0]
    assert found(start=1, stop=3) == [1, 2]
    assert found(run="a") == [0, 2]
    assert found(kinds=("run:claimed", "run:finished")) == [1, 2]
    assert found(actor="nobody") == []
    assert found(since=START + timedelta(seconds=2)) == [2, 3]
    assert found(until=START + timedelta(seconds=2)) == [0, 1]
    assert found(run="a", kinds=["run:finished"], actor="agent", since=START, newest_first=True) == [2]


def test_many_entries_come_in_pages_and_in_order(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(drafts.several(700))
    stream = ledger.entries()
    assert next(stream).index == 0
    ledger.append([drafts.make()])
    assert [*range(1, 700)] == [e.index for e in stream]
    assert [*range(700, -1, -1)] == [e.index for e in ledger.entries(newest_first=True)]
    assert [*range(10, 400)] == [e.index for e in ledger.entries(start=10, stop=400, run="run-1")]


def test_counts_come_by_kind_actor_outcome_and_time(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(
        [
            drafts.make(run="a"),
            drafts.make(end("denied"), run="a"),
            drafts.make(end("executed", "timed_out"), run="b"),
            drafts.make(end("executed", None), run="c"),
        ]
    )
    assert ledger.count() == 4
    assert ledger.count(kinds=["run:finished"], actor="agent") == 3
    assert [ledger.count(outcome=o) for o in ("denied", "timed_out", "unknown", "executed")] == [1, 1, 1, 0]
    assert ledger.count(since=START + timedelta(seconds=2)) == 2


def test_an_entry_is_found_by_its_event_id(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append([drafts.make(), drafts.make(egress("h"), name="this")])
    found = ledger.entry("this")
    assert found is not None
    assert (1, egress("h")) == (found.index, found.event)
    assert ledger.entry("that") is None


def test_a_proof_convinces_a_stranger_and_only_of_that_entry(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(drafts.several(300))
    entries = list(ledger.entries())
    proof = ledger.prove(255)
    proven = check_proof(proof, entries[255].leaf, ledger.verifier_key)
    assert (255, ledger.checkpoint()) == (proven.index, proven.checkpoint)
    with pytest.raises(EvidenceError, match="does not lead"):
        check_proof(proof, entries[256].leaf, ledger.verifier_key)
    for index in (-1, 300):
        with pytest.raises(LedgerError, match="there is no entry"):
            ledger.prove(index)


def test_tiles_are_the_same_however_the_entries_were_batched(tmp_path_factory: pytest.TempPathFactory) -> None:
    roots = []
    for sizes in ([600], [1] * 3 + [253, 1, 255, 88], [255, 2, 343]):
        home = tmp_path_factory.mktemp("home")
        drafts = Drafts()
        with Ledger.create(LedgerFiles(home / "l.db", home / "keys"), origin=ORIGIN) as ledger:
            for size in sizes:
                ledger.append(drafts.several(size))
            roots.append((ledger.size, ledger.checkpoint().root))
    assert len(set(roots)) == 1


def test_a_read_only_ledger_reads_and_does_not_append(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append([drafts.make()])
    with Ledger.open(files, read_only=True) as reader:
        assert 1 == reader.size == sum(1 for _ in reader.entries())
        with pytest.raises(LedgerError, match="opened for reading only"):
            reader.append([drafts.make()])


def test_the_reserve_is_checked_before_the_disk_is_full(ledger: Ledger, files: LedgerFiles) -> None:
    ledger.check_reserve()
    with (
        Ledger.open(files, disk_reserve_mib=1 << 30) as careful,
        pytest.raises(LedgerError, match="kept in reserve") as error,
    ):
        careful.check_reserve()
    assert error.value.exit_code == 74
    assert START.tzinfo is UTC
