"""The tree against the definitions of RFC 6962, written down naively, and against vectors from elsewhere."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.ledger.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_WIDTH,
    Frontier,
    TiledTree,
    consistency_holds,
    fold,
    inclusion_root,
    leaf_hash,
    node_hash,
)

LEAVES = [leaf_hash(b"%d" % i) for i in range(1100)]
CT_LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
"""Inputs of the test vectors of the Certificate Transparency reference implementation."""
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
AROUND_POWERS = sorted({size + d for size in (512, 1024) for d in (-1, 0, 1)})
CT_PATHS = {
    (0, 1): "",
    (
        0,
        8,
    ): "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7 5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e 6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    (
        5,
        8,
    ): "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0 d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (2, 3): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    (
        1,
        5,
    ): "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d 5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
}
CT_PROOFS = {
    (1, 1): "",
    (
        1,
        8,
    ): "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7 5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e 6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    (
        6,
        8,
    ): "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0 d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (
        2,
        5,
    ): "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
}
"""Audit paths (leaf, size) and consistency proofs (old, new) of the same reference implementation, hash by hash."""


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(naive_root(hashes[:k]), naive_root(hashes[k:]))


class Naive:
    """PATH and PROOF of RFC 6962, sections 2.1.1 and 2.1.2, word by word over ranges of leaves; each MTH is computed once."""

    def __init__(self, hashes: Sequence[bytes]) -> None:
        self._hashes = hashes
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self, low: int, high: int) -> bytes:
        if high - low == 1:
            return self._hashes[low]
        if (low, high) not in self._known:
            k = self.split(high - low)
            self._known[low, high] = node_hash(self.root(low, low + k), self.root(low + k, high))
        return self._known[low, high]

    def path(self, m: int, low: int, high: int) -> list[bytes]:
        if high - low == 1:
            return []
        k = self.split(high - low)
        if m < k:
            return [*self.path(m, low, low + k), self.root(low + k, high)]
        return [*self.path(m - k, low + k, high), self.root(low, low + k)]

    def proof(self, m: int, low: int, high: int, *, b: bool = True) -> list[bytes]:
        n = high - low
        if m == n:
            return [] if b else [self.root(low, high)]
        k = self.split(n)
        if m <= k:
            return [*self.proof(m, low, low + k, b=b), self.root(low + k, high)]
        return [*self.proof(m - k, low + k, high, b=False), self.root(low, low + k)]

    @staticmethod
    def split(n: int) -> int:
        k = 1
        while k * 2 < n:
            k *= 2
        return k


def tiled(size: int) -> TiledTree:
    """A tree over tiles that are cut from plain lists."""
    levels = [LEAVES[:size]]
    while len(levels[-1]) >= TILE_WIDTH:
        below = levels[-1]
        levels.append([fold(below[i : i + TILE_WIDTH]) for i in range(0, len(below) - TILE_WIDTH + 1, TILE_WIDTH)])
    return TiledTree(lambda level, i: b"".join(levels[level][i * TILE_WIDTH : (i + 1) * TILE_WIDTH]), size)


class RememberingTree(TiledTree):
    """The same tree, which computes each subtree once."""

    def __init__(self, tree: TiledTree) -> None:
        super().__init__(tree._read, tree.size)
        self._known: dict[tuple[int, int], bytes] = {}

    def _range(self, low: int, high: int) -> bytes:
        if (low, high) not in self._known:
            self._known[low, high] = super()._range(low, high)
        return self._known[low, high]


def test_roots_are_those_of_the_reference_vectors() -> None:
    frontier = Frontier()
    roots = []
    for leaf in CT_LEAVES:
        frontier.push(leaf_hash(leaf))
        roots.append(frontier.root().hex())
    assert roots == CT_ROOTS
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


def test_paths_and_proofs_are_those_of_the_reference_vectors() -> None:
    leaves = [leaf_hash(leaf) for leaf in CT_LEAVES]
    tree = TiledTree(lambda _level, _index: b"".join(leaves), 8)
    for (index, size), expected in CT_PATHS.items():
        assert [h.hex() for h in tree.inclusion(index, size)] == expected.split()
    for (old, new), expected in CT_PROOFS.items():
        assert [h.hex() for h in tree.consistency(old, new)] == expected.split()


def test_paths_and_proofs_are_those_of_the_example_in_the_rfc() -> None:
    """RFC 6962, section 2.1.3: seven leaves, and the letters that it gives to the nodes."""
    a, b, c, d, e, f, j = leaves = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741 - the RFC's own letters
    tree = TiledTree(lambda _level, _index: b"".join(leaves), 7)
    assert tree.root() == node_hash(k, l)
    assert tree.inclusion(0) == [b, h, l]
    assert tree.inclusion(3) == [c, g, l]
    assert tree.inclusion(4) == [f, j, k]
    assert tree.inclusion(6) == [i, k]
    assert tree.consistency(3) == [c, d, g, l]
    assert tree.consistency(4) == [l]
    assert tree.consistency(6) == [i, j, k]


def test_every_path_and_proof_up_to_300_is_the_naive_one() -> None:
    tree, naive = RememberingTree(tiled(300)), Naive(LEAVES)
    for size in range(1, 301):
        for other in range(size):
            assert tree.inclusion(other, size) == naive.path(other, 0, size)
            assert other == 0 or tree.consistency(other, size) == naive.proof(other, 0, size)


@pytest.mark.parametrize("size", AROUND_POWERS)
def test_every_path_and_proof_around_powers_of_two_is_the_naive_one_and_holds(size: int) -> None:
    tree, naive = RememberingTree(tiled(size)), Naive(LEAVES)
    root = naive.root(0, size)
    for other in range(size):
        path, proof = tree.inclusion(other), tree.consistency(other)
        assert path == naive.path(other, 0, size)
        assert inclusion_root(LEAVES[other], other, size, path) == root
        if other:
            assert proof == naive.proof(other, 0, size)
            assert consistency_holds(other, size, proof, naive.root(0, other), root)


def test_every_root_up_to_300_and_around_powers_of_two_is_the_naive_one() -> None:
    frontier = Frontier()
    for size in range(1026):
        if size <= 300 or size in AROUND_POWERS:
            expected = naive_root(LEAVES[:size])
            assert expected == frontier.root()
            assert expected == tiled(size).root()
        frontier.push(LEAVES[size])


def test_every_inclusion_proof_up_to_300_leads_to_the_root() -> None:
    tree = RememberingTree(tiled(300))
    for size in range(1, 301):
        root = tree.root(size)
        for index in range(size):
            assert root == inclusion_root(LEAVES[index], index, size, tree.inclusion(index, size))


def test_every_consistency_proof_up_to_300_holds() -> None:
    tree = RememberingTree(tiled(300))
    roots = [tree.root(size) for size in range(301)]
    for new in range(301):
        for old in range(new + 1):
            assert consistency_holds(old, new, tree.consistency(old, new), roots[old], roots[new])


@given(st.data())
@settings(deadline=None)
def test_no_changed_inclusion_proof_leads_to_the_root(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 600))
    index = data.draw(st.integers(0, size - 1))
    tree = tiled(size)
    root, path = tree.root(), tree.inclusion(index)
    position = data.draw(st.integers(0, len(path) - 1))
    flipped = bytearray(path[position])
    flipped[data.draw(st.integers(0, HASH_BYTES - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = [*path[:position], bytes(flipped), *path[position + 1 :]]
    for wrong in (changed, path[:-1], [*path, LEAVES[0]]):
        assert root != inclusion_root(LEAVES[index], index, size, wrong)
    assert root != inclusion_root(LEAVES[index + 1], index, size, path)
    assert root != inclusion_root(LEAVES[index], (index + 1) % size, size, path)


@given(st.data())
@settings(deadline=None)
def test_no_changed_consistency_proof_holds(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 600))
    old = data.draw(st.integers(1, new - 1))
    tree = tiled(new)
    path, before, after = tree.consistency(old), tree.root(old), tree.root()
    other = leaf_hash(b"other")
    assert not consistency_holds(old, new, path, other, after)
    assert not consistency_holds(old, new, path, before, other)
    assert not consistency_holds(old, new, [*path, other], before, after)
    assert not consistency_holds(old, new, path[:-1], before, after)
    assert not consistency_holds(new, old, path, after, before)


def test_a_proof_outside_the_tree_cannot_be_asked_for() -> None:
    tree = tiled(5)
    for ask in (
        lambda: tree.inclusion(5),
        lambda: tree.inclusion(0, 6),
        lambda: tree.consistency(6),
        lambda: tree.root(-1),
    ):
        with pytest.raises(ValueError, match=r"leaf|tree"):
            ask()
    assert inclusion_root(LEAVES[0], 5, 5, []) is None


def test_a_frontier_comes_back_from_its_bytes() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES[:300], start=1):
        frontier.push(leaf)
        assert frontier.root() == Frontier.parse(size, bytes(frontier)).root()
    for size, packed in ((299, bytes(frontier)), (300, bytes(frontier)[:-1]), (300, b"")):
        with pytest.raises(ValueError, match=r"subtrees|hashes"):
            Frontier.parse(size, packed)


def test_a_tile_that_is_too_short_is_an_error_and_not_a_wrong_root() -> None:
    with pytest.raises(ValueError, match="tile 0/0"):
        TiledTree(lambda _level, _index: LEAVES[0], 2).root()
