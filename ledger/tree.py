"""The Merkle tree of RFC 6962 and its proofs, in tiles of 256 as C2SP tlog-tiles lays them out.

Pure functions over hashes: it must never know what an entry means, nor where tiles are stored.
"""

import hashlib
from collections.abc import Callable, Sequence

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "Frontier",
    "TiledTree",
    "consistency_holds",
    "fold",
    "fold_row",
    "inclusion_root",
    "leaf_hash",
    "node_hash",
]

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT

_sha256 = hashlib.sha256

EMPTY_ROOT = _sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962, section 2.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962, section 2.1: SHA-256 of 0x00 and the leaf."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, section 2.1: SHA-256 of 0x01 and both children."""
    return _sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root of a perfect subtree over hashes whose number is a power of two."""
    join = b"".join
    while len(hashes) > 1:
        hashes = [
            _sha256(join((b"\x01", left, right))).digest()
            for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def fold_row(row: bytes) -> bytes:
    """The same over at least two hashes that stand one after the other."""
    pair = 2 * HASH_BYTES
    return fold([_sha256(b"\x01" + row[place : place + pair]).digest() for place in range(0, len(row), pair)])


class Frontier:
    """The roots of the perfect subtrees of a tree, largest first: all that an append needs to know of the past."""

    __slots__ = ("roots", "size")

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if len(roots) != size.bit_count():
            message = f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(roots)}"
            raise ValueError(message)
        self.size = size
        self.roots = list(roots)

    @classmethod
    def parse(cls, size: int, packed: bytes) -> "Frontier":
        """The frontier that was packed by `bytes()`."""
        if len(packed) % HASH_BYTES:
            message = f"{len(packed)} bytes are no row of hashes"
            raise ValueError(message)
        return cls(size, [packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES)])

    def push(self, hashed: bytes) -> None:
        """Add one leaf hash."""
        self.size = left = self.size + 1
        roots = self.roots
        while not left & 1:
            hashed = _sha256(b"\x01" + roots.pop() + hashed).digest()
            left >>= 1
        roots.append(hashed)

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add leaf hashes, one after the other."""
        size, roots, sha256, join = self.size, self.roots, _sha256, b"".join
        for hashed in hashes:
            size = left = size + 1
            joined = hashed
            while not left & 1:
                joined = sha256(join((b"\x01", roots.pop(), joined))).digest()
                left >>= 1
            roots.append(joined)
        self.size = size

    def root(self) -> bytes:
        """Root of the tree so far."""
        if not self.roots:
            return EMPTY_ROOT
        root = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            root = node_hash(left, root)
        return root

    def __bytes__(self) -> bytes:
        return b"".join(self.roots)


class TiledTree:
    """Roots and proofs of a tree whose hashes are read by tile.

    Args:
        read: gives the hashes of one tile (level, index) one after the other; the last tile of a level may be partial.
        size: number of leaves that the tiles cover.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self.size = size

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves."""
        size = self._within(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """RFC 6962, section 2.1.1: PATH(index, D[size]), from the leaf's sibling upwards."""
        size = self._within(size)
        if not 0 <= index < size:
            message = f"there is no leaf {index} in a tree of {size}"
            raise ValueError(message)
        path: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """RFC 6962, section 2.1.2: PROOF(old, D[new])."""
        new = self._within(new)
        if not 0 <= old <= new:
            message = f"a tree of {new} does not extend one of {old}"
            raise ValueError(message)
        return [] if old in {0, new} else self._subproof(old, 0, new, known=True)

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            message = f"a tree of {size} leaves is not within {self.size}"
            raise ValueError(message)
        return size

    def _subproof(self, old: int, low: int, high: int, *, known: bool) -> list[bytes]:
        if old == high - low:
            return [] if known else [self._range(low, high)]
        half = _split(high - low)
        if old <= half:
            return [*self._subproof(old, low, low + half, known=known), self._range(low + half, high)]
        return [*self._subproof(old - half, low + half, high, known=False), self._range(low, low + half)]

    def _range(self, low: int, high: int) -> bytes:
        """MTH(D[low:high]) where low is aligned as the RFC's splits align it."""
        width = high - low
        if width & (width - 1) == 0:
            return self._perfect(width.bit_length() - 1, low // width)
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))

    def _perfect(self, level: int, index: int) -> bytes:
        """Root of the perfect subtree over leaves [index << level, (index + 1) << level)."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        tile = self._read(tile_level, first // TILE_WIDTH)
        start = first % TILE_WIDTH * HASH_BYTES
        stop = start + (HASH_BYTES << height)
        if len(tile) < stop:
            message = f"tile {tile_level}/{first // TILE_WIDTH} holds {len(tile)} bytes, {stop} are needed"
            raise ValueError(message)
        return fold([tile[i : i + HASH_BYTES] for i in range(start, stop, HASH_BYTES)])


def inclusion_root(hashed: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion path leads to, or None if it has not the shape of one (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    first, last = index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if first & 1 or first == last:
            hashed = node_hash(sibling, hashed)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            hashed = node_hash(hashed, sibling)
        first >>= 1
        last >>= 1
    return hashed if last == 0 else None


def consistency_holds(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the path proves that the new tree extends the old one (RFC 9162, section 2.1.4.2)."""
    if old == new:
        return not path and old_root == new_root
    if not 0 <= old < new:
        return False
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    low = high = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            low, high = node_hash(sibling, low), node_hash(sibling, high)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            high = node_hash(high, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and low == old_root and high == new_root


def _split(width: int) -> int:
    """RFC 6962, section 2.1: the largest power of two smaller than the width."""
    return 1 << (width - 1).bit_length() - 1
