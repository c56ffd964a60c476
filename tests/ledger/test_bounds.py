"""How much of a database that comes from anybody is loaded: no column of any table may exhaust whoever reads it."""

import os
import subprocess
import sys

import pytest

from custody.errors import EvidenceError
from custody.ledger import Ledger, LedgerFiles, verify_ledger

from .drafts import ORIGIN, Drafts, artefact
from .forgery import Forger
from .test_verify import codes

MEASURED = """
import sys
from pathlib import Path
from custody.errors import CustodyError
from custody.errors import EvidenceError
from custody.ledger import Ledger, LedgerFiles, verify_ledger
from custody.ledger.ledger import Ledger
def most():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024
files = LedgerFiles(Path(sys.argv[1]), Path(sys.argv[2]))
key = (files.keys / "verifier.key").read_text()
before = most()
found = verify_ledger(files, verifier_key=key, processes=1)
try:
    with Ledger.open(files, read_only=True) as ledger:
        list(ledger.entries())
except CustodyError:
    pass
print(most() - before, *sorted(problem.code for problem in found.problems))
"""
"""How many MiB a verification and a reading took at most, and what was found."""

LONG = "CAST(x'00' || zeroblob(50000000) AS TEXT)"
"""A text that SQLite says has no characters, as it begins with a NUL."""
IN_AN_INDEX = ("entry.event_id", "event_index.", "payload.id", "anchor.kind")
"""What SQLite's own check compares as a whole: it is held once."""
LONG_VALUES = [
    ("entry.leaf", LONG, "leaf-unreadable"),
    ("entry.leaf", "hex(zeroblob(25000000))", "leaf-unreadable"),
    ("entry.event_id", LONG, "index-changed"),
    *((f"event_index.{name}", LONG, "index-changed") for name in ("kind", "run", "actor", "outcome", "time_us", "seq")),
    *((f"head.{name}", LONG, "head-changed") for name in ("size", "frontier", "root")),
    *((f"tile.{name}", LONG, "tile-changed") for name in ("data", "root")),
    ("checkpoint.note", LONG, "checkpoint-signature"),
    ("checkpoint.previous", LONG, "checkpoint-missing"),
    ("anchor.evidence", LONG, "anchor-mismatch"),
    ("anchor.kind", LONG, "anchor-unknown"),
    *((f"payload.{name}", LONG, "payload-changed") for name in ("content", "hmac_key")),
    ("payload.id", LONG, "payload-missing"),
    ("alembic_version.version_num", LONG, "schema-changed"),
]


@pytest.mark.parametrize(("column", "value", "code"), LONG_VALUES, ids=[f"{c} {v[:4]}" for c, v, _ in LONG_VALUES])
def test_no_value_of_any_column_makes_a_checker_or_a_reader_use_memory_without_bound(
    files: LedgerFiles, column: str, value: str, code: str
) -> None:
    """That the database itself cannot be read is an answer, too."""
    _with_value(files, column, value)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEASURED, str(files.database), str(files.keys)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    used, *found = done.stdout.split()
    assert {code, "database-unreadable"} & {*found}
    assert int(used) < (80 if column.startswith(IN_AN_INDEX) else 32)


def _with_value(files: LedgerFiles, column: str, value: str) -> None:
    """A ledger with a row in every table, and the value in the last row of one."""
    drafts = Drafts()
    with Ledger.create(files, origin=ORIGIN) as ledger:
        payload = ledger.seal(b"content", media="text/plain")
        ledger.append([drafts.make(artefact(payload.ref)), *drafts.several(256)], [payload])
        ledger.record_anchor(ledger.checkpoint())
    table, _, name = column.partition(".")
    Forger(files.database).run(f"UPDATE {table} SET {name} = {value} WHERE rowid = (SELECT max(rowid) FROM {table})")  # noqa: S608 - because the names stand above


@pytest.mark.parametrize(("column", "value", "code"), LONG_VALUES, ids=[f"{c} {v[:4]}" for c, v, _ in LONG_VALUES])
def test_a_value_that_is_too_long_is_named_as_what_it_is(
    files: LedgerFiles, column: str, value: str, code: str
) -> None:
    _with_value(files, column, value.replace("000000)", "0000)"))
    key = (files.keys / "verifier.key").read_text()
    for processes in (1, 2):
        assert code in codes(verify_ledger(files, verifier_key=key, processes=processes))


def test_a_payload_may_be_longer_than_all_else(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    payload = ledger.seal(b"x" * 9_000_000, media="text/plain")
    batch = [drafts.make(artefact(payload.ref))]
    ledger.append(batch, [payload])
    assert ledger.append(batch, [payload])[0].repeated
    assert len(ledger.read_payload(payload.ref)) == 9_000_000
    assert verify_ledger(files, verifier_key=ledger.verifier_key, processes=2).consistent


@pytest.mark.parametrize(
    "value", ["x''", "x'00'", "''", "hex(zeroblob(200))", "CAST(x'00' AS TEXT)", "CAST(zeroblob(9000) AS TEXT)"]
)
@pytest.mark.parametrize("column", ["event_index.run", "event_index.seq", "checkpoint.previous"])
def test_what_stands_where_nothing_should_does_not_pass_for_nothing(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts, column: str, value: str
) -> None:
    ledger.append(drafts.several(3, run=None))
    table, _, name = column.partition(".")
    Forger(files.database).run(f"UPDATE {table} SET {name} = {value} WHERE rowid = (SELECT min(rowid) FROM {table})")  # noqa: S608 - because the names stand above
    for processes in (1, 2):
        verification = verify_ledger(files, verifier_key=ledger.verifier_key, processes=processes)
        assert codes(verification) & {"index-changed", "checkpoint-missing"}


def test_an_event_whose_stored_leaf_is_too_long_is_not_compared_with_it(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    draft = drafts.make()
    ledger.append([draft])
    for value in ("zeroblob(3000000)", "CAST(zeroblob(3000000) AS TEXT)"):
        Forger(files.database).run(f"UPDATE entry SET leaf = {value}")  # noqa: S608 - because the values stand above
        with pytest.raises(EvidenceError, match="the stored entry of event `event-0` cannot be read"):
            ledger.append([draft])
