"""Where the tree's tiles lie: full ones in the table, the last one of each level put together from what is below it.

It must never be asked for more than the head of the same transaction covers.
"""

from sqlalchemy import Connection

from .bounds import bounded_bytes, bounded_leaf
from .database import rows
from .tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, TiledTree, leaf_hash

__all__ = ["hashes_below", "stored_tree"]

_DATA = f"SELECT {bounded_bytes('data', TILE_WIDTH * HASH_BYTES)} FROM tile WHERE level = ? AND idx = ?"  # noqa: S608 - because our own words are put in
_ROOTS = f"SELECT {bounded_bytes('root', HASH_BYTES)} FROM tile WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx"  # noqa: S608 - as above
_LEAVES = f"SELECT {bounded_leaf()} FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx"  # noqa: S608 - because our own words are put in


def stored_tree(connection: Connection, size: int) -> TiledTree:
    """The tree over the first `size` entries, as the tiles give it."""

    def read(level: int, index: int) -> bytes:
        first = index * TILE_WIDTH
        present = min((size >> TILE_HEIGHT * level) - first, TILE_WIDTH)
        if present == TILE_WIDTH:
            for (data,) in rows(connection, _DATA, (level, index)):
                return data if isinstance(data, bytes) else b""
        return b"".join(hashes_below(connection, level, first, first + present))

    return TiledTree(read, size)


def hashes_below(connection: Connection, level: int, start: int, stop: int) -> list[bytes]:
    """Hashes [start, stop) of a level: of leaves at level 0, of tiles above."""
    if level == 0:
        found = rows(connection, _LEAVES, (start, stop))
        return [leaf_hash(leaf) for (leaf,) in found if isinstance(leaf, bytes)]
    found = rows(connection, _ROOTS, (level - 1, start, stop))
    return [root for (root,) in found if isinstance(root, bytes) and len(root) == HASH_BYTES]
