"""What the ledger costs, as ratios of interleaved medians against a named baseline of the same run.

python benchmarks/ledger.py [--quick] [--json]
"""

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measuring import Figure, against, asked, interleaved, told
from sqlalchemy import Connection

from custody.ledger import Draft, Ledger, LedgerFiles, verify_ledger
from custody.ledger.codec import encode_draft
from custody.ledger.contents import Contents
from custody.ledger.database import make_engine
from custody.ledger.events import EgressAttempted
from custody.ledger.evidence import opened_as_evidence
from custody.ledger.findings import Findings
from custody.ledger.keychain import KeyChain
from custody.ledger.notes import Verifier
from custody.ledger.projection import project_draft
from custody.ledger.tree import Frontier, leaf_hash
from custody.ledger.walk import Walk
from custody.ledger.writing import Batch, Head, read_head

BATCH = 100
START = datetime(2026, 1, 1, tzinfo=UTC)
ENTRY = "INSERT INTO entry (idx, leaf, event_id) VALUES (?, ?, ?)"
INDEX = "INSERT INTO event_index (idx, kind, run, actor, outcome, time_us, seq) VALUES (?, ?, ?, ?, ?, ?, ?)"


def draft(number: int) -> Draft:
    """An event of about 600 bytes."""
    event = EgressAttempted(
        host="api.example.org",
        port=443,
        allowed=False,
        reason="no rule " * 40,
        source="proxy",
        program_controlled=True,
        count=number,
    )
    return Draft(id=f"e-{number}", event=event, actor="agent", time=START + timedelta(milliseconds=number))


def batch_of(first: int, count: int = BATCH) -> list[Draft]:
    """Consecutive drafts."""
    return [draft(i) for i in range(first, first + count)]


def made(folder: Path) -> tuple[Ledger, LedgerFiles]:
    """An empty ledger."""
    files = LedgerFiles(folder / "ledger.db", folder / "keys")
    return Ledger.create(files, origin="bench.example/audit"), files


class Treeless(Frontier):
    """Counts, and hashes nothing."""

    def extend(self, hashes: Sequence[bytes]) -> None:
        """So many more."""
        self.size += len(hashes)

    def root(self) -> bytes:
        """No root."""
        return b""

    def __bytes__(self) -> bytes:
        return b""


class TreelessBatch(Batch):
    """An append with everything but the tree."""

    def __init__(self, connection: Connection, size: int) -> None:
        frontier = Treeless()
        frontier.size = size
        super().__init__(connection, Head(size, frontier, b""))

    def _grow(self) -> list[bytes]:
        self._frontier.extend(self._hashes)
        return []


class Writers:
    """The same entries on five ways into five databases, each one durable transaction a call."""

    def __init__(self, folder: Path) -> None:
        names = ("rows", "driver", "plain", "merkle", "signed", "single")
        self.places = {name: made(folder / name) for name in names}
        self.engine = {
            name: make_engine(files.database.as_uri() + "?mode=rw", wait_seconds=5, read_only=False)
            for name, (_ledger, files) in self.places.items()
        }
        self.driver = sqlite3.connect(self.places["driver"][1].database, isolation_level=None)
        self.driver.execute("PRAGMA synchronous = FULL")
        self.done = dict.fromkeys(names, 0)
        self.tail: Sequence[bytes] | None = None

    def next_batch(self, name: str, count: int = BATCH) -> list[Draft]:
        """What comes next there."""
        self.done[name] += count
        return batch_of(self.done[name] - count, count)

    def rows_of(self, name: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        """The rows of a batch without any tree."""
        first = self.done[name]
        drafts = self.next_batch(name)
        numbered = list(enumerate(drafts, start=first))
        entries: list[tuple[object, ...]] = [(i, encode_draft(d, None), d.id) for i, d in numbered]
        return entries, [tuple(project_draft(i, d, None)) for i, d in numbered]

    def plain(self) -> None:
        """An append without tree and signature."""
        with self.engine["plain"].begin() as connection:
            TreelessBatch(connection, self.done["plain"]).write(self.next_batch("plain"), ())

    def rows(self) -> None:
        """The rows alone, through SQLAlchemy."""
        entries, index = self.rows_of("rows")
        with self.engine["rows"].begin() as connection:
            connection.exec_driver_sql(ENTRY, entries)
            connection.exec_driver_sql(INDEX, index)

    def driver_only(self) -> None:
        """The same straight through sqlite3."""
        entries, index = self.rows_of("driver")
        self.driver.execute("BEGIN IMMEDIATE")
        self.driver.executemany(ENTRY, entries)
        self.driver.executemany(INDEX, index)
        self.driver.execute("COMMIT")

    def merkle(self) -> None:
        """Everything but signature and turn."""
        with self.engine["merkle"].begin() as connection:
            batch = Batch(connection, read_head(connection), self.tail)
            batch.write(self.next_batch("merkle"), ())
        self.tail = batch.tail()

    def signed(self) -> None:
        """What everybody calls."""
        self.places["signed"][0].append(self.next_batch("signed"))

    def single(self) -> None:
        """The same, one entry at a time."""
        self.places["single"][0].append(self.next_batch("single", 1))


def appending(folder: Path, rounds: int) -> list[Figure]:
    """Batches of 100 in five ways."""
    writers = Writers(folder)
    work = {
        "rows": writers.rows,
        "plain": writers.plain,
        "driver": writers.driver_only,
        "merkle": writers.merkle,
        "signed": writers.signed,
        "single": writers.single,
    }
    took = interleaved(work, rounds, warm_up=3)
    bare, plain = "the same append without tree and signature", took["plain"]
    return [
        against("append-merkle", plain / took["merkle"], baseline=bare, target=0.95, runs=rounds, better="higher"),
        against("append-signed", plain / took["signed"], baseline=bare, target=0.88, runs=rounds, better="higher"),
        against(
            "append-sqlalchemy",
            took["driver"] / took["rows"],
            baseline="the same rows by sqlite3 alone",
            target=0.75,
            runs=rounds,
            better="higher",
        ),
        against(
            "append-batch",
            BATCH * took["single"] / took["signed"],
            baseline="one entry a call",
            target=15,
            runs=rounds,
            better="higher",
        ),
    ]


def verifying(folder: Path, entries: int, rounds: int) -> list[Figure]:
    """A ledger of some size: verification against hashing in memory, proofs against an append."""
    ledger, files = made(folder)
    with ledger:
        for first in range(0, entries, 1000):
            ledger.append(batch_of(first, min(1000, entries - first)))
        leaves = [entry.leaf for entry in ledger.entries(stop=20_000)]
        scale = entries / len(leaves)

        def hashing() -> None:
            frontier = Frontier()
            for leaf in leaves:
                frontier.push(leaf_hash(leaf))

        key, turns = ledger.verifier_key, max(rounds // 6, 3)
        took = interleaved(
            {
                "hash": hashing,
                "tree": lambda: walk_over(files, key, contents=False),
                "walk": lambda: walk_over(files, key, contents=True),
                "verify": lambda: verify_ledger(files, verifier_key=key),
            },
            turns,
        )
        figures = [
            against(
                f"{name}-{entries}",
                took["hash"] * scale / took[what],
                baseline="hashing the leaves in memory",
                target=target,
                runs=turns,
                better="higher",
            )
            for name, what, target in (
                ("verify-without-projection", "tree", 0.60),
                ("verify-with-projection", "walk", 0.28),
                ("verify-all-checks", "verify", 0.28),
            )
        ]
        step = max(entries // 97, 1)
        places = iter(range(0, entries, step))
        following = iter(range(entries, entries + 97))
        took = interleaved(
            {"prove": lambda: ledger.prove(next(places)), "append": lambda: ledger.append([draft(next(following))])},
            90,
            warm_up=0,
        )
        slower = took["prove"] / took["append"]
        path = ledger.prove(entries // 3).partition("\n\n")[0].split("\n")[2:]
    return [
        *figures,
        against(f"proof-time-{entries}", slower, baseline="append of one leaf", target=60, runs=90),
        against(f"proof-bytes-{entries}", 32 * len(path), baseline="none", target=672, runs=1),
    ]


def walk_over(files: LedgerFiles, key: str, *, contents: bool) -> None:
    """The pass over all entries alone: leaves to tiles, root, head and checkpoints; with their contents and the index if asked."""
    findings, trusted = Findings(), Verifier.parse(key)
    with opened_as_evidence(files.database) as (connection, uri):
        reader = Contents(connection, findings) if contents else None
        Walk(connection, findings, KeyChain(trusted), {}, reader).run(None, uri=uri)
    if findings.problems():
        raise SystemExit(str(findings.problems()))


def memory(small: Path, large: Path) -> Figure:
    """Peak memory of verification on both sizes, each in a process of its own."""
    peak = {folder: int(subprocess.run([sys.executable, __file__, "--peak", folder], capture_output=True, check=True).stdout) for folder in (small, large)}  # fmt: skip
    return against(
        "verify-memory", peak[large] / peak[small], baseline="a ledger of a tenth of the entries", target=1.1, runs=1
    )


def peak_of(folder: Path) -> int:
    """KiB that this process needed to verify."""
    files = LedgerFiles(folder / "ledger.db", folder / "keys")
    with Ledger.open(files, read_only=True) as ledger:
        key = ledger.verifier_key
    verification = verify_ledger(files, verifier_key=key)
    if not verification.consistent:
        raise SystemExit(str(verification.problems))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Measure and print."""
    parser = asked(__doc__)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peak:
        print(peak_of(chosen.peak))
        return 0
    rounds = 12 if chosen.quick else 40
    small, large = (5_000, 50_000) if chosen.quick else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="custody-bench-") as name:
        folder = Path(name)
        figures = [
            *appending(folder / "append", rounds),
            *verifying(folder / "small", small, rounds),
            *verifying(folder / "large", large, rounds),
            memory(folder / "small", folder / "large"),
        ]
    cores = f"SQLite {sqlite3.sqlite_version}; {len(os.sched_getaffinity(0))} cores may be used"
    return told(figures, as_json=chosen.json, notes=[cores])


if __name__ == "__main__":
    sys.exit(main())
