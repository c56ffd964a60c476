"""Which keys must have signed a checkpoint of which size, for somebody who trusts one key of the ledger.

A rotation at entry i names the old and the new key, and the checkpoint of size i + 1 is signed by both. So whoever trusts either key
has that entry signed by a trusted key, and with it the name of the other one, forwards and backwards through all rotations. A
forged rotation would need the trusted key's signature on a tree that holds it. It must never trust a key merely because the
database names it: the walk reports a rotation whose checkpoint is missing or not signed by both.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection

from ..errors import EvidenceError
from .bounds import bounded_leaf
from .codec import decode_leaf
from .database import rows
from .events import LedgerKeyRotated
from .notes import Verifier, parse_checkpoint
from .tree import leaf_hash
from .types import Checkpoint

__all__ = ["KeyChain", "Rotation", "rotations_in"]


class Rotation(NamedTuple):
    """One change of key, as the entry says it."""

    entry: int
    """Index of the entry."""
    leaf_hash: bytes
    old: Verifier
    new: Verifier


def rotations_in(connection: Connection) -> list[Rotation]:
    """Every rotation that the index leads to; entries that cannot be read are left to the walk."""
    found = rows(
        connection,
        f"SELECT e.idx, {bounded_leaf('e.leaf')} FROM event_index i JOIN entry e ON e.idx = i.idx "  # noqa: S608 - because our own words are put in
        "WHERE i.kind = 'ledger:key_rotated' ORDER BY e.idx",
    )
    rotations = []
    for index, leaf in found:
        if not (isinstance(index, int) and isinstance(leaf, bytes)):
            continue
        try:
            event = decode_leaf(index, leaf).event
            if isinstance(event, LedgerKeyRotated):
                rotations.append(
                    Rotation(index, leaf_hash(leaf), Verifier.parse(event.old_key), Verifier.parse(event.new_key))
                )
        except EvidenceError:
            continue
    return rotations


class KeyChain:
    """The keys of one ledger over time, as far as they hang together with the trusted one."""

    def __init__(self, trusted: Verifier, rotations: Sequence[Rotation] = ()) -> None:
        self.origin = trusted.name
        self._rotations = _linked(trusted, rotations)
        self._first = self._rotations[0].old if self._rotations else trusted

    @property
    def first(self) -> Verifier:
        """The key that the ledger began with."""
        return self._first

    @property
    def rotations(self) -> tuple[Rotation, ...]:
        """The rotations that are believed if their checkpoints stand."""
        return self._rotations

    def at(self, size: int) -> tuple[Verifier, ...]:
        """Keys that must all have signed the checkpoint of that size."""
        key = self._first
        for rotation in self._rotations:
            if size == rotation.entry + 1:
                return (rotation.old, rotation.new)
            if size <= rotation.entry:
                break
            key = rotation.new
        return (key,)

    def read_kept(self, note: str) -> Checkpoint:
        """A checkpoint that was kept: any key of the chain will do, as its root is compared with the tree."""
        *others, last = {self._first, *(rotation.new for rotation in self._rotations)}
        for key in others:
            try:
                return parse_checkpoint(note, key)
            except EvidenceError:
                continue
        return parse_checkpoint(note, last)


def _linked(trusted: Verifier, rotations: Sequence[Rotation]) -> tuple[Rotation, ...]:
    """The rotations, if each begins with the key that the one before ended with and the trusted key is one of them."""
    joined = all(before.new == after.old for before, after in pairwise(rotations))
    named = {key for rotation in rotations for key in (rotation.old, rotation.new)}
    one_name = all(key.name == trusted.name for key in named)
    return tuple(rotations) if joined and one_name and trusted in named else ()
