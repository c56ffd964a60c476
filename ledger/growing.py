"""The tree as a checker builds it from the leaves, cut at every tile so that each stored one is compared when it is full.

Constant memory: one tile of hashes a level. It must never take a hash from the database, save where a pinned root vouches for it.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from .bounds import bounded_bytes
from .database import rows
from .findings import Findings
from .tiles import hashes_below
from .tree import EMPTY_ROOT, HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, fold, node_hash

__all__ = ["GrowingTree"]

_TILE = (
    f"SELECT {bounded_bytes('data', TILE_WIDTH * HASH_BYTES)}, {bounded_bytes('root', HASH_BYTES)} FROM tile "  # noqa: S608 - because our own words are put in
    "WHERE level = ? AND idx = ?"
)


class GrowingTree:
    """A frontier a level."""

    def __init__(self, connection: Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._levels: list[tuple[Frontier, list[bytes]]] = []
        self._full: list[int] = []
        self.size = 0

    @classmethod
    def of_tiles(cls, connection: Connection, findings: Findings, size: int) -> "GrowingTree | None":
        """The tree of the first `size` entries as tiles and the last few leaves give it; None if they do not suffice."""
        tree = cls(connection, findings)
        tree.size = size
        level = 0
        while count := size >> TILE_HEIGHT * level:
            full, rest = divmod(count, TILE_WIDTH)
            hashes = hashes_below(connection, level, full * TILE_WIDTH, count)
            if len(hashes) != rest:
                return None
            frontier = Frontier()
            for hashed in hashes:
                frontier.push(hashed)
            tree._levels.append((frontier, hashes))
            tree._full.append(full)
            level += 1
        return tree

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add leaf hashes, one after the other."""
        self.size += len(hashes)
        self._extend(0, hashes)

    def add_tile(self, hashes: bytes, root: bytes) -> None:
        """Add a full tile of leaf hashes whose root is known; only where the tree ends with a full one."""
        self.size += TILE_WIDTH
        self._finish_tile(0, hashes, root)

    def roots(self) -> list[bytes]:
        """The frontier, largest subtree first."""
        return [root for frontier, _hashes in reversed(self._levels) for root in frontier.roots]

    def root(self) -> bytes:
        """Root of the tree so far."""
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

    def _begin(self, level: int) -> None:
        if level == len(self._levels):
            self._levels.append((Frontier(), []))
            self._full.append(0)

    def _extend(self, level: int, hashes: Sequence[bytes]) -> None:
        self._begin(level)
        done = 0
        while done < len(hashes):
            frontier, tile = self._levels[level]
            part = hashes[done : done + TILE_WIDTH - len(tile)]
            done += len(part)
            tile.extend(part)
            if len(part) == TILE_WIDTH:  # a whole one at once: nobody asks for the roots in between
                self._finish_tile(level, b"".join(tile), fold(tile))
                continue
            frontier.extend(part)
            if len(tile) == TILE_WIDTH:
                self._finish_tile(level, b"".join(tile), frontier.roots[0])

    def _finish_tile(self, level: int, tile: bytes, root: bytes) -> None:
        self._begin(level)
        self._compare(level, self._full[level], tile, root)
        self._full[level] += 1
        self._levels[level] = (Frontier(), [])
        self._extend(level + 1, (root,))

    def _compare(self, level: int, index: int, hashes: bytes, root: bytes) -> None:
        stored = next(rows(self._connection, _TILE, (level, index)), None)
        if stored == (hashes, root):
            return
        first = index * TILE_WIDTH ** (level + 1)
        data, stored_root = stored or (None, None)
        kept, found = _hashes_of(data), _hashes_of(hashes)
        if level == 0 and len(kept) == TILE_WIDTH and fold(kept) == stored_root:
            # the tile is whole in itself: rather the leaf was changed than the tile, and the tile says which
            changed = first + next(i for i in range(TILE_WIDTH) if kept[i] != found[i])
            self._findings.add("leaf-changed", f"entry {changed} is not the one that its tile was made of", changed)
        else:
            self._findings.add("tile-changed", f"tile {level}/{index} is not that of the entries", first)


def _hashes_of(data: object) -> list[bytes]:
    if not isinstance(data, bytes) or len(data) != TILE_WIDTH * HASH_BYTES:
        return []
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]
