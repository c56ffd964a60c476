"""A process that is killed before or after every single thing that it does to a file: nothing is lost, and nothing is stuck."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from custody.ledger import Ledger, LedgerFiles, Pin, verify_ledger
from custody.ledger.events import LedgerHeartbeat
from custody.ledger.types import Derived

from .drafts import ORIGIN, Drafts
from .test_processes import finish, start
from .workers import draft


class Left(NamedTuple):
    """What the killed process left behind."""

    files: LedgerFiles
    done: bool
    """Whether it had said that the work was done."""


class Original(NamedTuple):
    """The ledger before the work, of 250 entries."""

    files: LedgerFiles
    verifier_key: str
    pin: Pin


@pytest.fixture
def original(files: LedgerFiles, drafts: Drafts) -> Original:
    with Ledger.create(files, origin=ORIGIN) as ledger:
        ledger.append(drafts.several(250, run=None))
        ledger.keep_derived("baseline", version=1, state=Derived(1, b"old"))
        return Original(files, ledger.verifier_key, Pin("pin", ledger.checkpoint().note))


def after_each_step(original: Original, work: str, folder: Path) -> Iterator[Left]:
    folder.mkdir()
    said = json.loads(finish(start("steps", original.files, work, folder)))
    assert said[-1]
    assert len(said) > 10
    for number, done in enumerate(said):
        yield Left(LedgerFiles(folder / str(number) / "ledger.db", folder / str(number) / "keys"), done)


def size_of(original: Original, files: LedgerFiles, *keys: str) -> int:
    """The size of a ledger that verifies against the pin, under every key."""
    sizes = set()
    for key in (original.verifier_key, *keys):
        verification = verify_ledger(files, verifier_key=key, pins=[original.pin])
        assert verification.problems == ()
        assert verification.anchored_to == 250
        sizes.add(verification.size)
    (size,) = sizes
    return size


def more(ledger: Ledger, name: str) -> None:
    """One more entry."""
    ledger.append([draft(name, LedgerHeartbeat(interval_seconds=1))])


def test_a_change_of_key_that_is_killed_at_any_step_is_done_or_was_never_begun(
    original: Original, tmp_path: Path
) -> None:
    sizes = []
    for left in after_each_step(original, "rotate", tmp_path / "steps"):
        size = size_of(original, left.files)
        assert size == 251 if left.done else size in {250, 251}
        sizes.append(size)
        with Ledger.open(left.files) as ledger:
            more(ledger, "after")
            assert (ledger.verifier_key != original.verifier_key) == (size == 251)
            assert [path.name for path in left.files.keys.glob("*.next")] == []
            ledger.rotate_key(event_id="another", actor="root", time=datetime.now(UTC))
            more(ledger, "at last")
            assert size_of(original, left.files, ledger.verifier_key) == size + 3
    assert sizes == sorted(sizes)
    assert set(sizes) == {250, 251}


def test_a_batch_that_is_killed_at_any_step_is_there_whole_or_not_at_all(original: Original, tmp_path: Path) -> None:
    sizes = []
    for left in after_each_step(original, "append", tmp_path / "steps"):
        size = size_of(original, left.files)
        assert size == 261 if left.done else size in {250, 261}
        sizes.append(size)
        with Ledger.open(left.files) as ledger:
            more(ledger, "after")
        assert size_of(original, left.files) == size + 1
    assert sizes == sorted(sizes)
    assert set(sizes) == {250, 261}


def test_what_is_kept_beside_the_log_is_the_old_or_the_new_after_any_step(original: Original, tmp_path: Path) -> None:
    kept = set()
    for left in after_each_step(original, "keep", tmp_path / "steps"):
        assert size_of(original, left.files) == 250
        with Ledger.open(left.files) as ledger:
            state = ledger.derived("baseline", version=1)
            assert state is not None
            assert state.content == b"new" if left.done else state.content in {b"old", b"new"}
            kept.add(state.content)
            more(ledger, "after")
    assert kept == {b"old", b"new"}
