"""One append: everything between `BEGIN IMMEDIATE` and commit.

The rules:

1. The head must be what the signer remembers, or a signed extension of it; else nothing is written (see `require_continuity`).
2. A draft whose id is new becomes the next entry; its `seq` is the next of its run.
3. A draft whose id is known is rendered with the stored `seq` and compared: the same bytes are the same event (the first
   acknowledgement, marked repeated, nothing written), other bytes are a conflict.
4. In a mixed batch the new ones are appended and the known ones acknowledged, in the order given; one conflict, or anything else
   that is wrong with one draft, and nothing of the batch is written.
5. Payloads are stored with the first entry that refers to them; every reference must have its bytes, every payload a reference.
6. Time does not go back by more than ten minutes, unless the machine's clock did: then an entry of the ledger's own says so first,
   and from there on time counts from what the clock shows now. A clock that was far ahead for a moment must not stop the log until
   that time has come; and whoever sets the clock back to misdate what follows leaves that entry behind.
7. What was written is signed for in the same transaction.

Why the signer's memory is written after the commit and before the acknowledgement, and not earlier: before the commit it could be
ahead of the database by a batch that a crash then undoes, and a log that is behind its signer's memory cannot be told from a
restored backup. After the commit a crash leaves it behind by batches that are in the database *and* carry a valid checkpoint;
the next append checks that these extend what is remembered, catches the memory up and goes on. Nothing was acknowledged in
between, and the signature of a batch that was never committed never left the process. For the same reason it may reach the disk
up to a second after the batch that it is of (see `memory`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ..errors import ConflictError, EvidenceError, LedgerError
from .bounds import bounded_leaf
from .clock import TOLERANCE_US, Clock, machine_clock, newest_time
from .codec import encode_draft, parse_leaf, require_names
from .database import Row, rows, write
from .events import LedgerClockSetBack
from .leaf import payload_refs, render_time
from .memory import Signed
from .notes import Signer, Verifier, parse_checkpoint, sign_checkpoint
from .payloads import require_honest
from .projection import microseconds, project_draft, time_at
from .tiles import hashes_below, stored_tree
from .tree import TILE_HEIGHT, TILE_WIDTH, Frontier, fold, leaf_hash, node_hash
from .types import Acknowledgement, Checkpoint, Draft, Payload

__all__ = ["MACHINE", "Batch", "Head", "read_head", "require_continuity", "store_checkpoint"]

MACHINE = "custody"
"""The actor of what the ledger says by itself."""
_IDS_AT_ONCE = 500
_HALT_HINT = "keep everything as it is and run `custody verify` against an outside pin: an old copy was restored or the files were changed"


class Head(NamedTuple):
    """The newest state of the tree."""

    size: int
    frontier: Frontier
    root: bytes


def read_head(connection: Connection) -> Head:
    """The head row, checked in itself."""
    found = list(rows(connection, "SELECT size, frontier, root FROM head"))
    try:
        ((size, packed, root),) = found
        if not (isinstance(size, int) and isinstance(packed, bytes) and isinstance(root, bytes)):
            raise TypeError  # noqa: TRY301 - because a wrong type is met like a wrong number
        frontier = Frontier.parse(size, packed)
    except (ValueError, TypeError) as error:
        raise EvidenceError("the head of the ledger cannot be read", hint=_HALT_HINT) from error
    if frontier.root() != root:
        raise EvidenceError("the head of the ledger contradicts itself", hint=_HALT_HINT)
    return Head(size, frontier, root)


def require_continuity(connection: Connection, head: Head, memory: Signed, key: Verifier) -> None:
    """Refuse to go on from anything but what was signed for last, or what verifiably extends it."""
    if head.size < memory.size:
        raise EvidenceError(f"the ledger holds {head.size} entries, but {memory.size} were signed for", hint=_HALT_HINT)
    if head.size == memory.size:
        if head.root != memory.root:
            raise EvidenceError(f"the ledger's {head.size} entries are not those that were signed for", hint=_HALT_HINT)
        return
    tree = stored_tree(connection, head.size)
    notes = [note for (note,) in rows(connection, "SELECT note FROM checkpoint WHERE size = ?", (head.size,))]
    if len(notes) != 1 or not isinstance(notes[0], str):
        raise EvidenceError(f"the ledger's {head.size} entries were never signed for", hint=_HALT_HINT)
    signed = parse_checkpoint(notes[0], key)
    try:
        roots = (tree.root(memory.size), tree.root())
    except ValueError as error:
        raise EvidenceError("the ledger's tiles cannot be read", hint=_HALT_HINT) from error
    if (signed.size, signed.root) != (head.size, head.root) or roots != (memory.root, head.root):
        raise EvidenceError(
            f"the ledger does not extend the {memory.size} entries that were signed for", hint=_HALT_HINT
        )


def store_checkpoint(connection: Connection, signers: Sequence[Signer], head: Head, previous: int | None) -> Checkpoint:
    """Sign for the head and store the checkpoint; it may be shown only after the commit."""
    signed = sign_checkpoint(signers[0].verifier.name, head.size, head.root, signers)
    row = (head.size, previous, signed.note)
    write(connection, "INSERT INTO checkpoint (size, previous, note) VALUES (?, ?, ?)", [row])
    return signed


class Batch:
    """The drafts of one append on their way into the tables."""

    def __init__(
        self, connection: Connection, head: Head, tail: Sequence[bytes] | None = None, *, clock: Clock = machine_clock
    ) -> None:
        """A batch on top of the head.

        Args:
            connection: its transaction.
            head: the state before.
            clock: asked only where a draft is older than the entries before it.
            tail: leaf hashes of the tile that is not full yet, where they are known from the batch before.
        """
        self._connection = connection
        self._clock = clock
        self._tail = tail
        self._old_size = head.size
        self._frontier = head.frontier
        self._sequences: dict[str, int] = {}
        self._entries: list[Row] = []
        self._index: list[Row] = []
        self._payloads: list[Row] = []
        self._hashes: list[bytes] = []
        self._fresh: dict[str, tuple[int, bytes]] = {}
        self._newest: int | None = None
        self._head: Head | None = None

    def write(self, drafts: Sequence[Draft], payloads: Sequence[Payload]) -> tuple[Acknowledgement, ...]:
        """Write what is new; the acknowledgements may be given out only after the commit."""
        for draft in drafts:
            require_names(draft)
        offered = self._offer(payloads)
        known = self._known([draft.id for draft in drafts])
        referred: set[str] = set()
        places = [self._place(draft, known, offered, referred) for draft in drafts]
        tiles = self._grow()
        if unused := offered.keys() - referred:
            raise LedgerError(
                f"payload `{min(unused)}` belongs to no entry of its batch",
                hint="append payloads together with their entries",
            )
        self._insert(tiles)
        return tuple(
            Acknowledgement(index, self._tree_size(index), hashed, repeated) for index, hashed, repeated in places
        )

    def head(self) -> Head | None:
        """The state after the batch; None if nothing of it was new."""
        return self._head

    def tail(self) -> Sequence[bytes] | None:
        """Leaf hashes of the tile that is not full yet, after the batch; None if some of them are not known here."""
        wanted = self._frontier.size % TILE_WIDTH
        known = self._hashes if self._tail is None else [*self._tail, *self._hashes]
        return known[len(known) - wanted :] if wanted <= len(known) else None

    def _offer(self, payloads: Sequence[Payload]) -> dict[str, Payload]:
        offered: dict[str, Payload] = {}
        for payload in payloads:
            require_honest(payload)
            if offered.setdefault(payload.ref.id, payload) != payload:
                raise ConflictError(f"payload `{payload.ref.id}` was given twice, with other bytes", hint="seal again")
        return offered

    def _known(self, ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Entries that already have one of the ids."""
        known: dict[str, tuple[int, bytes]] = {}
        for first in range(0, len(ids), _IDS_AT_ONCE):
            some = tuple(ids[first : first + _IDS_AT_ONCE])
            places = ", ".join("?" * len(some))
            query = f"SELECT event_id, idx, {bounded_leaf()} FROM entry WHERE event_id IN ({places})"  # noqa: S608 - because only question marks and our own words are put in
            for event_id, index, leaf in rows(self._connection, query, some):
                if not (isinstance(event_id, str) and isinstance(index, int) and isinstance(leaf, bytes)):
                    raise EvidenceError(f"the stored entry of event `{event_id}` cannot be read", hint=_HALT_HINT)
                known[event_id] = (index, leaf)
        return known

    def _place(
        self, draft: Draft, known: dict[str, tuple[int, bytes]], offered: dict[str, Payload], referred: set[str]
    ) -> tuple[int, bytes, bool]:
        """Index, leaf hash, and whether it was there before."""
        refs = list(payload_refs(draft.event))
        referred.update(ref.id for ref in refs)
        if (first := known.get(draft.id) or self._fresh.get(draft.id)) is not None:
            index, leaf = first
            if encode_draft(draft, parse_leaf(index, leaf).sequence) != leaf:
                raise ConflictError(
                    f"event `{draft.id}` is already entry {index}, with other content",
                    hint="nothing of the batch was written",
                )
            return index, leaf_hash(leaf), True
        return self._add(draft, offered)

    def _add(self, draft: Draft, offered: dict[str, Payload]) -> tuple[int, bytes, bool]:
        sequence = self._next_sequence(draft.run)
        leaf = encode_draft(draft, sequence)
        hashed = leaf_hash(leaf)
        self._require_time(draft)
        index = self._old_size + len(self._entries)
        for ref in payload_refs(draft.event):
            self._store_payload(index, ref.id, offered.get(ref.id), ref.commitment)
        self._entries.append((index, leaf, draft.id))
        self._index.append(project_draft(index, draft, sequence))
        self._hashes.append(hashed)
        self._fresh[draft.id] = (index, leaf)
        return index, hashed, False

    def _next_sequence(self, run: str | None) -> int | None:
        if run is None:
            return None
        if run not in self._sequences:
            (newest,) = next(rows(self._connection, "SELECT max(seq) FROM event_index WHERE run = ?", (run,)))
            self._sequences[run] = newest + 1 if isinstance(newest, int) else 0
        sequence = self._sequences[run]
        self._sequences[run] += 1
        return sequence

    def _require_time(self, draft: Draft) -> None:
        time = microseconds(draft.time)
        if self._newest is None:
            self._newest = newest_time(self._connection)
        newest = time if self._newest is None else self._newest
        if time < newest - TOLERANCE_US:
            newest = self._by_the_clock(newest)
        if time < newest - TOLERANCE_US:
            raise LedgerError(
                f"the time of event `{draft.id}` is {draft.time.isoformat()}, the ledger's newest entry is of {time_at(newest).isoformat()}",
                hint="try again: the event was prepared too long before it was to be written",
            )
        self._newest = max(newest, time)

    def _by_the_clock(self, newest: int) -> int:
        """The time to count from: that of the newest entry, or of the clock, if that went back; then the ledger says so first."""
        now = self._clock()
        behind = newest - microseconds(now)
        if behind <= TOLERANCE_US:
            return newest
        self._newest = microseconds(now)
        said = LedgerClockSetBack(newest=render_time(time_at(newest)), seconds=behind // 1_000_000)
        place = self._old_size + len(self._entries)
        self._add(Draft(id=f"ledger/clock/{place}", event=said, actor=MACHINE, time=now), {})
        return microseconds(now)

    def _store_payload(self, index: int, payload_id: str, payload: Payload | None, commitment: str) -> None:
        if any(row[0] == payload_id for row in self._payloads):
            return
        stored = list(rows(self._connection, "SELECT hmac_key, content FROM payload WHERE id = ?", (payload_id,)))
        if payload is None and not stored:
            raise LedgerError(
                f"the bytes of payload `{payload_id}` are missing", hint="append payloads with their entries"
            )
        if payload is not None and payload.ref.commitment != commitment:
            raise ConflictError(f"payload `{payload_id}` is not the one that the entry refers to", hint="seal again")
        if payload is not None and stored and stored != [(payload.key, payload.content)]:
            raise ConflictError(f"payload `{payload_id}` is already stored with other bytes", hint="seal again")
        if payload is not None and not stored:
            self._payloads.append((payload_id, index, payload.key, payload.content))

    def _grow(self) -> list[bytes]:
        """Put the new hashes into the tree; the roots of the tiles of leaves that became full."""
        frontier, hashes, full = self._frontier, self._hashes, []
        done = 0
        while (rest := TILE_WIDTH - frontier.size % TILE_WIDTH) <= len(hashes) - done:
            frontier.extend(hashes[done : done + rest - 1])
            root = hashes[done + rest - 1]
            for left in frontier.roots[: -TILE_HEIGHT - 1 : -1]:  # what is left of the tile's last leaf, nearest first
                root = node_hash(left, root)
            full.append(root)
            frontier.extend(hashes[done + rest - 1 : done + rest])
            done += rest
        frontier.extend(hashes[done:])
        return full

    def _insert(self, tiles: list[bytes]) -> None:
        if not self._entries:
            return
        connection, root = self._connection, self._frontier.root()
        write(connection, "INSERT INTO entry (idx, leaf, event_id) VALUES (?, ?, ?)", self._entries)
        write(
            connection,
            "INSERT INTO event_index (idx, kind, run, actor, outcome, time_us, seq) VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._index,
        )
        if self._payloads:
            write(connection, "INSERT INTO payload (id, idx, hmac_key, content) VALUES (?, ?, ?, ?)", self._payloads)
        self._insert_tiles(0, self._old_size, tiles)
        head = (self._frontier.size, bytes(self._frontier), root)
        write(connection, "UPDATE head SET size = ?, frontier = ?, root = ?", [head])
        self._head = Head(self._frontier.size, self._frontier, root)

    def _insert_tiles(self, level: int, old: int, roots: Sequence[bytes]) -> None:
        """Tiles of a level of `old` hashes that became full, with their roots, and of the levels above."""
        if not roots:
            return
        first = old // TILE_WIDTH
        full = [
            (level, index, b"".join(self._level_hashes(level, index * TILE_WIDTH)), root)
            for index, root in enumerate(roots, first)
        ]
        write(self._connection, "INSERT INTO tile (level, idx, data, root) VALUES (?, ?, ?, ?)", full)
        above = range(first // TILE_WIDTH, (first + len(roots)) // TILE_WIDTH)
        self._insert_tiles(
            level + 1, first, [fold(self._level_hashes(level + 1, index * TILE_WIDTH)) for index in above]
        )

    def _level_hashes(self, level: int, start: int) -> list[bytes]:
        stop, hashes = start + TILE_WIDTH, []
        if level:
            hashes = hashes_below(self._connection, level, start, stop)
        else:
            if start < self._old_size and self._tail is not None and len(self._tail) == self._old_size - start:
                hashes = [*self._tail]
            elif start < self._old_size:
                hashes = hashes_below(self._connection, 0, start, min(stop, self._old_size))
            hashes += self._hashes[max(start - self._old_size, 0) : stop - self._old_size]
        if len(hashes) != TILE_WIDTH:
            raise EvidenceError(f"hashes of level {level} are missing from {start} on", hint=_HALT_HINT)
        return hashes

    def _tree_size(self, index: int) -> int:
        """Size of the checkpoint that first covered the entry."""
        if index >= self._old_size:
            return self._frontier.size
        (size,) = next(rows(self._connection, "SELECT min(size) FROM checkpoint WHERE size > ?", (index,)))
        if not isinstance(size, int):
            raise EvidenceError(f"entry {index} was never signed for", hint=_HALT_HINT)
        return size
