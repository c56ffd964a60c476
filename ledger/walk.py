"""One pass over every entry, in constant memory: leaf, index row, tile, checkpoint, pin, time and payloads.

What a checker may rely on: the frontier here is computed from the leaves alone, everything else is compared with it.
It must never take a value from a derived column.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ..errors import EvidenceError
from .codec import MAX_LEAF_BYTES, Parsed, parse_leaf, payload_refs
from .database import Row, rows
from .events import Event
from .findings import Findings
from .growing import GrowingTree
from .keychain import KeyChain, Rotation
from .notes import parse_checkpoint
from .payloads import require_committed
from .projection import project
from .tiles import stored_tree
from .tree import consistency_holds, inclusion_root, leaf_hash
from .types import Checkpoint
from .writing import CLOCK_TOLERANCE

__all__ = ["Landmark", "Walk"]


class Landmark(NamedTuple):
    """A tree that somebody kept."""

    label: str
    root: bytes
    outside: bool


_ENTRIES = (
    f"SELECT idx, CASE WHEN length(leaf) <= {MAX_LEAF_BYTES} THEN leaf END, event_id "  # noqa: S608 - because a number is put in
    "FROM entry WHERE idx >= ? ORDER BY idx"
)
_CHECKPOINTS = "SELECT size, previous, CASE WHEN length(note) <= 65536 THEN note END FROM checkpoint ORDER BY size"
_PAYLOAD = "SELECT idx, hmac_key, CASE WHEN length(content) = ? THEN content END FROM payload WHERE id = ?"
"""What is longer than it may be is not even loaded: a hostile database must not exhaust the checker."""
_INDEX = "SELECT idx, kind, run, actor, outcome, time_us, seq FROM event_index WHERE idx >= ? ORDER BY idx"
_TOLERANCE_US = CLOCK_TOLERANCE // timedelta(microseconds=1)
_PROGRESS_EVERY = 1000


class Walk:
    """The state of the pass."""

    def __init__(
        self, connection: Connection, findings: Findings, keys: KeyChain, landmarks: Mapping[int, Sequence[Landmark]]
    ) -> None:
        self._connection = connection
        self._findings = findings
        self._keys = keys
        self._landmarks = landmarks
        self._checkpoints: Iterator[Row] = rows(connection, _CHECKPOINTS)
        self._next_checkpoint = next(self._checkpoints, None)
        self._tree = GrowingTree(connection, findings)
        self._start = 0
        self._expected = 0
        self._agreed = 0
        self._pinned_to = 0
        self._newest_us: int | None = None
        self._next_stop = 0
        self._payloads = 0
        self._waiting: Row | None = None
        self.unknown = 0
        self.checkpoint: Checkpoint | None = None
        self.checkpoints = 0
        self._open_rotations: list[int] = []
        self.anchored_to: int | None = None

    @property
    def size(self) -> int:
        """Entries so far."""
        return self._tree.size

    def root(self) -> bytes:
        """Root of the entries so far."""
        return self._tree.root()

    def skip_to(self, size: int) -> bool:
        """Begin after the first `size` entries, if the tiles lead to the root that was pinned there; False changes nothing.

        The pinned root vouches for the hashes that the tiles give; the entries under them are not read, save those that changed
        the key: without a proof of each, somebody could put in one that makes his own key the one to trust after the pin.
        """
        tree = GrowingTree.of_tiles(self._connection, self._findings, size)
        if tree is None or all(mark.root != tree.root() for mark in self._landmarks.get(size, ()) if mark.outside):
            return False
        if not all(
            self._stands(rotation, size, tree.root()) for rotation in self._keys.rotations if rotation.entry < size
        ):
            return False
        stored = stored_tree(self._connection, size)
        for old in [known for known in self._landmarks if known < size]:
            path = stored.consistency(old)
            for mark in self._landmarks[old]:
                if not consistency_holds(old, size, path, mark.root, tree.root()):
                    self._findings.add(
                        "pin-mismatch", f"{mark.label} is not of the same ledger as the pin at {size}", 0
                    )
        self._tree = tree
        self._start = self._expected = self._agreed = size
        while self._next_checkpoint is not None and not _is_beyond(self._next_checkpoint, size - 1):
            self._next_checkpoint = next(self._checkpoints, None)
        return True

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        """Go through all entries, or all that follow where the walk began."""
        (total,) = next(rows(self._connection, "SELECT count(*) FROM entry"))
        self._at_size(self._start)
        index = rows(self._connection, _INDEX, (self._start,))
        for row in rows(self._connection, _ENTRIES, (self._start,)):
            self._entry(row, index)
            if self._expected >= self._next_stop:
                self._at_size(self._expected)
            if progress is not None and (self.size % _PROGRESS_EVERY == 0 or self.size == total):
                progress(self.size, int(str(total)))
        if next(index, None) is not None or self._waiting is not None:
            self._findings.add("index-changed", "the index has rows without entries")
        self._finish()

    def _stands(self, rotation: Rotation, size: int, root: bytes) -> bool:
        try:
            path = stored_tree(self._connection, size).inclusion(rotation.entry)
        except ValueError:
            return False
        return inclusion_root(rotation.leaf_hash, rotation.entry, size, path) == root

    def _entry(self, row: Row, index: Iterator[Row]) -> None:
        stored_at, leaf, event_id = row
        place = self._expected
        if stored_at != place:
            self._findings.add("entry-missing", f"entry {place} is missing", place)
        if isinstance(stored_at, int) and stored_at >= place:
            place = stored_at
            self._expected = place + 1
        if not isinstance(leaf, bytes):
            self._findings.add("leaf-unreadable", f"entry {place} is not bytes, or longer than any leaf", place)
            leaf = str(leaf).encode("utf-8", "replace")
        indexed = self._index_row(place, index)
        try:
            parsed = parse_leaf(place, leaf)
        except EvidenceError as error:
            self._findings.add("leaf-unreadable", error.message, place)
        else:
            if indexed != project(place, parsed) or event_id != parsed.id or stored_at != place:
                self._findings.add("index-changed", f"what the index says of entry {place} is not what it says", place)
            self._meaning(place, parsed)
        self._tree.push(leaf_hash(leaf))

    def _index_row(self, place: int, index: Iterator[Row]) -> Row | None:
        """The index row of the entry; rows without an entry are passed over, and found."""
        row = next(index, None) if self._waiting is None else self._waiting
        self._waiting = None
        while row is not None and isinstance(row[0], int) and row[0] < place:
            self._findings.add("index-changed", f"the index has a row for entry {row[0]}, which is not there", row[0])
            row = next(index, None)
        if row is not None and row[0] != place:
            self._waiting = row
            return None
        return row

    def _meaning(self, place: int, parsed: Parsed) -> None:
        if parsed.event is None:
            self.unknown += 1
        else:
            self._refs(place, parsed.event)
        if parsed.kind == "ledger:key_rotated":
            self._open_rotations.append(place)
        newest = parsed.time_us if self._newest_us is None else self._newest_us
        if parsed.time_us < newest - _TOLERANCE_US:
            self._findings.add("time-backwards", f"entry {place} is older than the entries before it", place)
        self._newest_us = max(newest, parsed.time_us)

    def _refs(self, place: int, event: Event) -> None:
        for ref in payload_refs(event):
            found = next(rows(self._connection, _PAYLOAD, (ref.bytes, ref.id)), None)
            if found is None:
                self._findings.add("payload-missing", f"payload `{ref.id}` of entry {place} is missing", place)
                continue
            first, key, content = found
            try:
                require_committed(ref, key, content)
            except EvidenceError as error:
                self._findings.add("payload-changed", f"{error.message}: entry {place}", place)
            if first == place:
                self._payloads += 1
            elif not isinstance(first, int) or not 0 <= first < place:
                self._findings.add("payload-changed", f"payload `{ref.id}` names a wrong entry", place)

    # ------------------------------------------------------------ trees of a certain size

    def _at_size(self, size: int) -> None:
        while self._next_checkpoint is not None and not _is_beyond(self._next_checkpoint, size):
            row, self._next_checkpoint = self._next_checkpoint, next(self._checkpoints, None)
            self._stored_checkpoint(row)
        coming = [mark for mark in self._landmarks if mark > size]
        if self._next_checkpoint is not None and isinstance(self._next_checkpoint[0], int):
            coming.append(self._next_checkpoint[0])
        self._next_stop = min(coming, default=1 << 63)
        for mark in self._landmarks.get(size, ()):
            if mark.root != self._tree.root():
                self._findings.add(
                    "pin-mismatch",
                    f"the first {size} entries are not those that {mark.label} was made of",
                    self._pinned_to,
                )
                continue
            self._pinned_to = size
            if mark.outside and size > 0:  # the empty tree is part of every ledger
                self.anchored_to = size

    def _stored_checkpoint(self, row: Row) -> None:
        size, previous, note = row
        before = self.checkpoint.size if self.checkpoint is not None else None
        if self.checkpoints == 0 and self._start == 0 and (size, previous) != (0, None):
            self._findings.add("checkpoint-missing", "the checkpoint of the empty ledger is missing")
        self.checkpoints += 1
        try:
            if not isinstance(note, str):
                raise EvidenceError("it is not text", hint="")  # noqa: TRY301 - because it is met like any unreadable note
            checkpoint = parse_checkpoint(note, *self._keys.at(size if isinstance(size, int) else -1))
        except EvidenceError as error:
            self._findings.add(
                "checkpoint-signature", f"the checkpoint at {size} does not stand: {error.message}", self._agreed
            )
            return
        if checkpoint.size != size or checkpoint.origin != self._keys.origin:
            self._findings.add("checkpoint-signature", f"the checkpoint stored at {size} is another one", self._agreed)
            return
        if any(size == rotation.entry + 1 for rotation in self._keys.rotations) and size - 1 in self._open_rotations:
            self._open_rotations.remove(size - 1)
        if before is not None and previous != before:
            self._findings.add("checkpoint-missing", f"a checkpoint before {size} is missing", before)
        if checkpoint.root == self._tree.root():
            self._agreed = checkpoint.size
        elif not self._findings.has("checkpoint-mismatch"):  # all that follow must differ as well
            self._findings.add(
                "checkpoint-mismatch",
                f"among entries {self._agreed} to {checkpoint.size - 1} are some that were not signed for",
                self._agreed,
            )
        self.checkpoint = checkpoint

    def _finish(self) -> None:
        if self._next_checkpoint is not None:
            size = self._next_checkpoint[0]
            self._findings.add(
                "truncated", f"a checkpoint of {size} entries is stored, but only {self.size} entries", self.size
            )
        for size in sorted(self._landmarks):
            if size > self._expected:
                label = self._landmarks[size][0].label
                self._findings.add(
                    "truncated", f"{label} is of {size} entries, the ledger has only {self.size}", self.size
                )
        if self.checkpoint is None or self.checkpoint.size != self._expected:
            first = self.checkpoint.size if self.checkpoint is not None else 0
            self._findings.add(
                "unsigned-tail", f"entries {first} to {self._expected - 1} are covered by no checkpoint", first
            )
        for index in self._open_rotations:
            self._findings.add(
                "key-rotation", f"entry {index} changes the key, but not both keys signed for that", index
            )
        self._compare_head()
        self._tree.finish()
        self._count("payload", self._payloads, "payload-unknown", "payloads are stored that no entry refers to")

    def _compare_head(self) -> None:
        expected = (1, self.size, b"".join(self._tree.roots()), self._tree.root())
        if list(rows(self._connection, "SELECT id, size, frontier, root FROM head")) != [expected]:
            self._findings.add("head-changed", "the stored head is not that of the entries")

    def _count(self, table: str, expected: int, code: str, message: str) -> None:
        query = f"SELECT count(*) FROM {table} WHERE idx >= ?"  # noqa: S608 - because the names are literals above
        if list(rows(self._connection, query, (self._start,))) != [(expected,)]:
            self._findings.add(code, message)


def _is_beyond(row: Row, size: int) -> bool:
    return isinstance(row[0], int) and row[0] > size
