"""One pass over every entry, in constant memory: leaf, index row, tile, checkpoint, pin, time and payloads.

What a checker may rely on: the frontier here is computed from the leaves alone, everything else is compared with it.
It must never take a value from a derived column.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ..errors import EvidenceError
from .codec import decode_leaf, payload_refs
from .database import Row, rows
from .findings import Findings
from .keychain import KeyChain
from .notes import parse_checkpoint
from .payloads import require_committed
from .projection import project
from .tree import EMPTY_ROOT, HASH_BYTES, TILE_WIDTH, Frontier, fold, leaf_hash, node_hash
from .types import Checkpoint, Entry
from .writing import CLOCK_TOLERANCE

__all__ = ["Landmark", "Walk"]


class Landmark(NamedTuple):
    """A tree that somebody kept."""

    label: str
    root: bytes
    outside: bool


_ENTRIES = (
    "SELECT e.idx, e.leaf, e.event_id, i.idx, i.kind, i.run, i.actor, i.outcome, i.time_us, i.seq "
    "FROM entry e LEFT JOIN event_index i ON i.idx = e.idx ORDER BY e.idx"
)
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
        self._checkpoints: Iterator[Row] = rows(connection, "SELECT size, previous, note FROM checkpoint ORDER BY size")
        self._next_checkpoint = next(self._checkpoints, None)
        self._tree = _GrowingTree(connection, findings)
        self._expected = 0
        self._agreed = 0
        self._pinned_to = 0
        self._newest_time: datetime | None = None
        self._payloads = 0
        self.unknown = 0
        self.checkpoint: Checkpoint | None = None
        self.checkpoints = 0
        self.anchored_to: int | None = None

    @property
    def size(self) -> int:
        """Entries so far."""
        return self._tree.size

    def root(self) -> bytes:
        """Root of the entries so far."""
        return self._tree.root()

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        """Go through all entries."""
        (total,) = next(rows(self._connection, "SELECT count(*) FROM entry"))
        self._at_size(0)
        for row in rows(self._connection, _ENTRIES):
            self._entry(row)
            self._at_size(self._expected)
            if progress is not None and (self.size % _PROGRESS_EVERY == 0 or self.size == total):
                progress(self.size, int(str(total)))
        self._finish()

    def _entry(self, row: Row) -> None:
        index, leaf, event_id, *indexed = row
        expected = self._expected
        if index != expected:
            self._findings.add("entry-missing", f"entry {expected} is missing", expected)
        if isinstance(index, int) and index >= expected:
            expected = index
            self._expected = index + 1
        if not isinstance(leaf, bytes):
            self._findings.add("leaf-unreadable", f"entry {expected} is not bytes", expected)
            leaf = str(leaf).encode("utf-8", "replace")
        try:
            entry = decode_leaf(expected, leaf)
        except EvidenceError as error:
            self._findings.add("leaf-unreadable", error.message, expected)
        else:
            self._compare_index(entry, index, event_id, indexed)
            self._time(entry)
            self._refs(entry)
        self._tree.push(leaf_hash(leaf))

    def _compare_index(self, entry: Entry, index: object, event_id: object, indexed: Sequence[object]) -> None:
        if entry.event is None:
            self.unknown += 1
        if index != entry.index or event_id != entry.id or tuple(indexed) != tuple(project(entry)):
            self._findings.add(
                "index-changed", f"what the index says of entry {entry.index} is not what the entry says", entry.index
            )

    def _time(self, entry: Entry) -> None:
        if self._newest_time is not None and entry.time < self._newest_time - CLOCK_TOLERANCE:
            self._findings.add(
                "time-backwards", f"entry {entry.index} is older than the entries before it", entry.index
            )
        self._newest_time = entry.time if self._newest_time is None else max(self._newest_time, entry.time)

    def _refs(self, entry: Entry) -> None:
        if entry.event is None:
            return
        for ref in payload_refs(entry.event):
            found = next(
                rows(self._connection, "SELECT idx, hmac_key, content FROM payload WHERE id = ?", (ref.id,)), None
            )
            if found is None:
                self._findings.add(
                    "payload-missing", f"payload `{ref.id}` of entry {entry.index} is missing", entry.index
                )
                continue
            first, key, content = found
            try:
                require_committed(ref, key, content)
            except EvidenceError as error:
                self._findings.add("payload-changed", f"{error.message}: entry {entry.index}", entry.index)
            if first == entry.index:
                self._payloads += 1
            elif not isinstance(first, int) or first > entry.index:
                self._findings.add("payload-changed", f"payload `{ref.id}` names a wrong entry", entry.index)

    # ------------------------------------------------------------ trees of a certain size

    def _at_size(self, size: int) -> None:
        while self._next_checkpoint is not None and not _is_beyond(self._next_checkpoint, size):
            row, self._next_checkpoint = self._next_checkpoint, next(self._checkpoints, None)
            self._stored_checkpoint(row)
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
        if self.checkpoints == 0 and (size, previous) != (0, None):
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
        self._compare_head()
        self._tree.finish()
        self._count("event_index", self.size, "index-changed", "the index has rows without entries")
        self._count("payload", self._payloads, "payload-unknown", "payloads are stored that no entry refers to")

    def _compare_head(self) -> None:
        expected = (1, self.size, b"".join(self._tree.roots()), self._tree.root())
        if list(rows(self._connection, "SELECT id, size, frontier, root FROM head")) != [expected]:
            self._findings.add("head-changed", "the stored head is not that of the entries")

    def _count(self, table: str, expected: int, code: str, message: str) -> None:
        if list(rows(self._connection, f"SELECT count(*) FROM {table}")) != [(expected,)]:  # noqa: S608 - because both names are literals above
            self._findings.add(code, message)


class _GrowingTree:
    """A frontier that is cut at every tile, so that each tile can be compared when it is full."""

    def __init__(self, connection: Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._levels: list[tuple[Frontier, list[bytes]]] = []
        self._full: list[int] = []
        self.size = 0

    def push(self, hashed: bytes) -> None:
        self.size += 1
        self._push(0, hashed)

    def roots(self) -> list[bytes]:
        """The frontier, largest subtree first."""
        return [root for frontier, _hashes in reversed(self._levels) for root in frontier.roots]

    def root(self) -> bytes:
        roots = self.roots()
        if not roots:
            return EMPTY_ROOT
        root = roots.pop()
        while roots:
            root = node_hash(roots.pop(), root)
        return root

    def finish(self) -> None:
        """No more tiles than there should be."""
        if list(rows(self._connection, "SELECT count(*) FROM tile")) != [(sum(self._full),)]:
            self._findings.add("tile-changed", "tiles are stored that the entries do not fill")

    def _push(self, level: int, hashed: bytes) -> None:
        if level == len(self._levels):
            self._levels.append((Frontier(), []))
            self._full.append(0)
        frontier, hashes = self._levels[level]
        frontier.push(hashed)
        hashes.append(hashed)
        if frontier.size == TILE_WIDTH:
            self._compare(level, self._full[level], hashes, frontier.roots[0])
            self._full[level] += 1
            self._levels[level] = (Frontier(), [])
            self._push(level + 1, frontier.roots[0])

    def _compare(self, level: int, index: int, hashes: list[bytes], root: bytes) -> None:
        stored = next(
            rows(self._connection, "SELECT data, root FROM tile WHERE level = ? AND idx = ?", (level, index)), None
        )
        if stored == (b"".join(hashes), root):
            return
        first = index * TILE_WIDTH ** (level + 1)
        data, stored_root = stored or (None, None)
        kept = _hashes_of(data)
        if level == 0 and len(kept) == TILE_WIDTH and fold(kept) == stored_root:
            # the tile is whole in itself: rather the leaf was changed than the tile, and the tile says which
            changed = first + next(i for i in range(TILE_WIDTH) if kept[i] != hashes[i])
            self._findings.add("leaf-changed", f"entry {changed} is not the one that its tile was made of", changed)
        else:
            self._findings.add("tile-changed", f"tile {level}/{index} is not that of the entries", first)


def _hashes_of(data: object) -> list[bytes]:
    if not isinstance(data, bytes) or len(data) != TILE_WIDTH * HASH_BYTES:
        return []
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def _is_beyond(row: Row, size: int) -> bool:
    return isinstance(row[0], int) and row[0] > size
