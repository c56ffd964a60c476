"""What somebody can do who may write the database file, knows this code, and perhaps has the signing key."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from custody.ledger.codec import parse_leaf
from custody.ledger.notes import Signer, sign_checkpoint
from custody.ledger.projection import project
from custody.ledger.tables import TRIGGERS
from custody.ledger.tree import TILE_WIDTH, Frontier, fold, leaf_hash


class Forger:
    """Changes a database file and leaves its schema as it was."""

    def __init__(self, database: Path, stolen_key: Path | None = None) -> None:
        self._database = database
        self._signer = Signer.parse(stolen_key.read_text()) if stolen_key is not None else None

    @contextmanager
    def unguarded(self) -> Iterator[sqlite3.Connection]:
        """A connection without triggers; they are put back."""
        connection = sqlite3.connect(self._database, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            for trigger in TRIGGERS:
                connection.execute(f"DROP TRIGGER {trigger.split()[2]}")
            yield connection
            for trigger in TRIGGERS:
                connection.execute(trigger)
            connection.execute("COMMIT")
        finally:
            connection.close()

    def run(self, statement: str, *parameters: object) -> None:
        """One statement."""
        with self.unguarded() as connection:
            connection.execute(statement, parameters)

    def leaf(self, index: int) -> dict[str, dict[str, object]]:
        """The content of a leaf."""
        with self.unguarded() as connection:
            (leaf,) = connection.execute("SELECT leaf FROM entry WHERE idx = ?", (index,)).fetchone()
        content: dict[str, dict[str, object]] = orjson.loads(leaf)
        return content

    def edit(self, index: int, **body: object) -> None:
        """Change fields of an entry's body, in its canonical form."""
        content = self.leaf(index)
        content["body"].update(body)
        self.run("UPDATE entry SET leaf = ? WHERE idx = ?", _canonical(content), index)

    def backdate(self, index: int, time: str) -> None:
        """Change an entry's time, in its canonical form."""
        content: dict[str, object] = {**self.leaf(index), "time": time}
        self.run("UPDATE entry SET leaf = ? WHERE idx = ?", _canonical(content), index)

    def cut(self, size: int) -> None:
        """Remove everything from an index on, checkpoints and anchors too."""
        with self.unguarded() as connection:
            connection.execute("DELETE FROM payload WHERE idx >= ?", (size,))
            connection.execute("DELETE FROM event_index WHERE idx >= ?", (size,))
            connection.execute("DELETE FROM entry WHERE idx >= ?", (size,))
            connection.execute("DELETE FROM anchor WHERE size > ?", (size,))
            connection.execute("DELETE FROM checkpoint WHERE size > ?", (size,))
        self.derive()

    def derive(self) -> None:
        """Make index, tiles and head fit the leaves."""
        with self.unguarded() as connection:
            for table in ("event_index", "tile"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - because both names stand above
            leaves = [leaf for (leaf,) in connection.execute("SELECT leaf FROM entry ORDER BY idx")]
            frontier = Frontier()
            for index, leaf in enumerate(leaves):
                entry = parse_leaf(index, leaf)
                frontier.push(leaf_hash(leaf))
                connection.execute("INSERT INTO event_index VALUES (?, ?, ?, ?, ?, ?, ?)", project(index, entry))
                connection.execute("UPDATE entry SET event_id = ? WHERE idx = ?", (entry.id, index))
            head = (frontier.size, bytes(frontier), frontier.root())
            connection.execute("UPDATE head SET size = ?, frontier = ?, root = ?", head)
            hashes, level = [leaf_hash(leaf) for leaf in leaves], 0
            while len(hashes) >= TILE_WIDTH:
                hashes = _store_level(connection, level, hashes)
                level += 1

    def sign_again(self, sizes: Sequence[int]) -> None:
        """Replace every checkpoint, by the stolen key."""
        assert self._signer is not None
        with self.unguarded() as connection:
            leaves = [leaf for (leaf,) in connection.execute("SELECT leaf FROM entry ORDER BY idx")]
            connection.execute("DELETE FROM checkpoint")
            frontier, previous = Frontier(), None
            for size in range(len(leaves) + 1):
                if size:
                    frontier.push(leaf_hash(leaves[size - 1]))
                if size in {0, len(leaves), *sizes}:
                    note = sign_checkpoint(self._signer.verifier.name, size, frontier.root(), [self._signer]).note
                    connection.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (size, previous, note))
                    previous = size


def _store_level(connection: sqlite3.Connection, level: int, hashes: list[bytes]) -> list[bytes]:
    above = []
    for index in range(len(hashes) // TILE_WIDTH):
        tile = hashes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
        above.append(fold(tile))
        connection.execute("INSERT INTO tile VALUES (?, ?, ?, ?)", (level, index, b"".join(tile), above[-1]))
    return above


def _canonical(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
