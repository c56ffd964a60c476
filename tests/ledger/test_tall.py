"""Where the second level of tiles becomes full: around 65,536 entries the stored tree is the one that the leaves give."""

from custody.ledger import Ledger, LedgerFiles, Pin, check_proof, verify_ledger
from custody.ledger.tiles import stored_tree
from custody.ledger.tree import TILE_WIDTH, consistency_holds, inclusion_root

from .drafts import ORIGIN, Drafts
from .forgery import Forger
from .test_tree import Naive

FULL = TILE_WIDTH * TILE_WIDTH
SIZES = (FULL - 1, FULL, FULL + 1)


def test_around_a_full_tile_of_tiles_roots_and_proofs_are_the_naive_ones(files: LedgerFiles, drafts: Drafts) -> None:
    pins, roots = [], []
    with Ledger.create(files, origin=ORIGIN) as ledger:
        for size in (*range(4096, FULL, 4096), *SIZES):
            ledger.append(drafts.several(size - ledger.size, run=None))
            if size in SIZES:
                roots.append(ledger.checkpoint().root)
                pins.append(Pin(f"pin {size}", ledger.checkpoint().note))
        hashes = [entry.leaf_hash for entry in ledger.entries()]
        naive = Naive(hashes)
        assert roots == [naive.root(0, size) for size in SIZES]
        with ledger._reading() as connection:
            tree = stored_tree(connection, FULL + 1)
            for index in (0, 1, 255, 256, 257, FULL // 2, FULL - 257, FULL - 1, FULL):
                path = tree.inclusion(index)
                assert path == naive.path(index, 0, FULL + 1)
                assert inclusion_root(hashes[index], index, FULL + 1, path) == roots[-1]
            for old in (1, 255, 256, 257, FULL // 2 + 1, FULL - 1, FULL):
                proof = tree.consistency(old)
                assert proof == naive.proof(old, 0, FULL + 1)
                assert consistency_holds(old, FULL + 1, proof, naive.root(0, old), roots[-1])
        proven = check_proof(ledger.prove(FULL), next(ledger.entries(start=FULL)).leaf, ledger.verifier_key)
        assert proven.index == FULL
        key = ledger.verifier_key
    for from_pin in (False, True):
        verification = verify_ledger(files, verifier_key=key, pins=pins[:1], from_pin=from_pin)
        assert (verification.problems, verification.root) == ((), roots[-1])
    Forger(files.database).run("UPDATE tile SET data = zeroblob(8192) WHERE level = 1")
    found = verify_ledger(files, verifier_key=key, pins=pins)
    assert [problem.code for problem in found.problems] == ["tile-changed"]
