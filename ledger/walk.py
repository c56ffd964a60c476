"""One pass over every entry, in constant memory: the tree that the leaves give, with its tiles, checkpoints, pins and head.

What the entries say is looked at on the way by `Contents`; without it the pass is of hashes alone.

What a checker may rely on: the frontier here is computed from the leaves alone, everything else is compared with it.
It must never take a value from a derived column.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ..errors import EvidenceError
from .bounds import bounded_bytes, bounded_leaf, bounded_text, driver_of
from .contents import Contents
from .database import Row, all_rows, rows
from .findings import Findings
from .growing import GrowingTree
from .keychain import KeyChain, Rotation
from .notes import parse_checkpoint
from .readers import Readers, reasonable_number
from .sections import SECTION, Section, SectionReader
from .tiles import stored_tree
from .tree import HASH_BYTES, TILE_WIDTH, consistency_holds, fold_row, inclusion_root, leaf_hash
from .types import Checkpoint

__all__ = ["Landmark", "Walk"]


class Landmark(NamedTuple):
    """A tree that somebody kept."""

    label: str
    root: bytes
    outside: bool


_TOLD_EVERY = 1024
_ENTRIES = (
    f"SELECT idx, {bounded_leaf()}, {bounded_text('event_id')} "  # noqa: S608 - because our own words are put in
    "FROM entry WHERE idx >= ? ORDER BY idx LIMIT ?"
)
_LOWEST_AND_HIGHEST = "SELECT (SELECT min(idx) FROM entry), (SELECT max(idx) FROM entry)"
_CHECKPOINTS = f"SELECT size, previous, {bounded_text('note', 65536)} FROM checkpoint ORDER BY size"  # noqa: S608 - as above
_TEXTS = ", ".join(map(bounded_text, ("kind", "run", "actor", "outcome", "time_us", "seq")))
_INDEX = (
    f"SELECT idx, {_TEXTS} FROM event_index WHERE idx BETWEEN ? AND ? "  # noqa: S608 - as above
    f"ORDER BY idx LIMIT {SECTION + 1}"
)
_HEAD = f"SELECT id, size, {bounded_bytes('frontier', 64 * HASH_BYTES)}, {bounded_bytes('root', HASH_BYTES)} FROM head"  # noqa: S608 - as above
_ORPHAN = (
    "SELECT i.idx FROM event_index i LEFT JOIN entry e ON e.idx = i.idx WHERE i.idx >= ? AND e.idx IS NULL "
    "ORDER BY i.idx LIMIT 1"
)


class Walk:
    """The state of the pass."""

    def __init__(
        self,
        connection: Connection,
        findings: Findings,
        keys: KeyChain,
        landmarks: Mapping[int, Sequence[Landmark]],
        contents: Contents | None,
    ) -> None:
        self._connection = connection
        self._findings = findings
        self._keys = keys
        self._landmarks = landmarks
        self._contents = contents
        self._checkpoints: Iterator[Row] = rows(connection, _CHECKPOINTS)
        self._next_checkpoint = next(self._checkpoints, None)
        self._tree = GrowingTree(connection, findings)
        self._start = self._low = 0
        self._expected = 0
        self._agreed = 0
        self._pinned_to = 0
        self._next_stop = 0
        self._entries = 0
        self._doubted = False
        self.checkpoint: Checkpoint | None = None
        self.checkpoints = 0
        self._signed_rotations: set[int] = set()
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

    def run(
        self,
        progress: Callable[[int, int], None] | None,
        *,
        uri: str = "",
        processes: int | None = None,
    ) -> None:
        """Go through all entries, or all that follow where the walk began.

        Args:
            progress: called with the entries done and their number.
            uri: where other processes find the database; without it there are none.
            processes: how many read, this one included; None leaves it to the number of entries.
        """
        total = int(str(all_rows(self._connection, "SELECT count(*) FROM entry")[0][0]))
        told = self._start // _TOLD_EVERY
        self._at_size(self._start)
        with self._readers(total) as readers:
            if uri:
                number = reasonable_number(readers.total) if processes is None else processes
                readers.begin(uri, others=number - 1)
            self._low = self._start if readers.total else self._lowest
            while count := self._next_entries(readers):
                self._entries += count
                if progress is not None and (self.size == total or self.size // _TOLD_EVERY > told):
                    told = self.size // _TOLD_EVERY
                    progress(self.size, total)
        for ended in readers.lost:
            self._findings.checks.append(
                f"a process that read along ended early ({ended}): its part was read by another"
            )
        self._finish()
        if self._contents is not None:
            self._compare_companions(self._contents)

    @property
    def _lowest(self) -> int:
        """From the beginning on even numbers below zero are looked for: nothing should have them."""
        return self._start or -(1 << 63)

    def _readers(self, total: int) -> Readers:
        """Of all entries from where the walk began, if they are numbered from 0 without a gap; else of none."""
        numbers = all_rows(self._connection, _LOWEST_AND_HIGHEST)
        stop = total if numbers == [(0, total - 1)] else self._start
        return Readers(
            SectionReader(driver_of(self._connection), contents=self._contents is not None), self._start, stop
        )

    def _next_entries(self, readers: Readers) -> int:
        """How many entries were gone through; 0 at the end."""
        place, count = self._expected, 0
        if self._low == place:
            section, count = readers.take(place), readers.count(place)
            if section is not None and (self._contents is None or self._contents.take(section)):
                self._take(section)
                self._low = self._expected
                return count
        return self._read_on(count or SECTION)

    def _take(self, section: Section) -> None:
        """Add a section's hashes to the tree: as a tile, save where a checkpoint or a pin is to be compared within it."""
        hashes = section.hashes
        if len(hashes) == TILE_WIDTH * HASH_BYTES and self._expected + TILE_WIDTH <= self._next_stop:
            self._tree.add_tile(hashes, section.root or fold_row(hashes))
            self._advance(TILE_WIDTH)
        else:
            self._grow([hashes[place : place + HASH_BYTES] for place in range(0, len(hashes), HASH_BYTES)])

    def _advance(self, count: int) -> None:
        self._expected += count
        if self._expected >= self._next_stop:
            self._at_size(self._expected)

    def _read_on(self, count: int) -> int:
        """Read entries one by one, and name what is wrong with them; how many there were."""
        page = all_rows(self._connection, _ENTRIES, (self._low, count))
        if page:
            self._doubted = True
            self._low = int(str(page[-1][0])) + 1
            index = all_rows(self._connection, _INDEX, (page[0][0], page[-1][0])) if self._contents is not None else []
            by_place = {row[0]: row for row in index}
            for row in page:
                self._entry(row, by_place.get(row[0]))
        return len(page)

    def _grow(self, hashes: Sequence[bytes]) -> None:
        """Add hashes of entries without a gap, with a stop wherever a checkpoint or a pin is to be compared."""
        done = 0
        while done < len(hashes):
            step = min(len(hashes) - done, self._next_stop - self._expected)
            self._tree.extend(hashes[done : done + step])
            done += step
            self._advance(step)

    def _stands(self, rotation: Rotation, size: int, root: bytes) -> bool:
        try:
            path = stored_tree(self._connection, size).inclusion(rotation.entry)
        except ValueError:
            return False
        return inclusion_root(rotation.leaf_hash, rotation.entry, size, path) == root

    def _entry(self, row: Row, indexed: Row | None) -> None:
        """One entry of a page in which something is wrong."""
        stored_at, leaf, _event_id = row
        place = self._expected
        if stored_at != place:
            self._findings.add("entry-missing", f"entry {place} is missing", place)
        if isinstance(stored_at, int) and stored_at >= place:
            place = stored_at
            self._expected = place + 1
        if not isinstance(leaf, bytes):
            self._findings.add("leaf-unreadable", f"entry {place} is not bytes, or longer than any leaf", place)
            leaf = str(leaf).encode("utf-8", "replace")
        if self._contents is not None:
            self._contents.entry(place, leaf, row, indexed)
        self._tree.extend((leaf_hash(leaf),))
        if self._expected >= self._next_stop:
            self._at_size(self._expected)

    def _compare_companions(self, contents: Contents) -> None:
        """Rows of the index and payloads that no entry led to, and changes of key."""
        counted = all_rows(self._connection, "SELECT count(*) FROM event_index WHERE idx >= ?", (self._lowest,))
        if self._doubted or counted != [(self._entries,)]:
            for (place,) in all_rows(self._connection, _ORPHAN, (self._lowest,)):
                known = place if isinstance(place, int) else None
                self._findings.add("index-changed", "the index has rows without entries", known)
        payloads = all_rows(self._connection, "SELECT count(*) FROM payload WHERE idx >= ?", (self._lowest,))
        if payloads != [(contents.payloads,)]:
            self._findings.add("payload-unknown", "payloads are stored that no entry refers to")
        for index in contents.rotations:
            if index not in self._signed_rotations:
                message = f"entry {index} changes the key, but not both keys signed for that"
                self._findings.add("key-rotation", message, index)

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
        if any(size == rotation.entry + 1 for rotation in self._keys.rotations):
            self._signed_rotations.add(checkpoint.size - 1)
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

    def _compare_head(self) -> None:
        expected = (1, self.size, b"".join(self._tree.roots()), self._tree.root())
        if list(rows(self._connection, _HEAD)) != [expected]:
            self._findings.add("head-changed", "the stored head is not that of the entries")


def _is_beyond(row: Row, size: int) -> bool:
    return isinstance(row[0], int) and row[0] > size
