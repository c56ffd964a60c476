"""Changing the key: what a crash left of it is finished or undone, and no key signs that is not in force.

The rules:

1. Before the entry that names the next key is committed, that key and its public half are on disk beside the present ones.
2. After it, the two are put in place by renaming alone, the public half first: that needs no room, and both keys signed what is newest.
3. Whoever takes the turn next finishes what is not done: the next key is put in place if the newest change of key names it, else removed.
4. A key that is not the newest change's signs nothing: somebody put an older copy of the keys back.

It must never remove a next key that an entry names.
"""

from collections.abc import Sequence

from sqlalchemy import Engine

from ..errors import EvidenceError
from .database import reading
from .keychain import rotations_in
from .keys import KeyDirectory
from .notes import Signer, Verifier

__all__ = ["finish_rotation", "signer_in_force"]


def finish_rotation(engine: Engine, keys: KeyDirectory) -> None:
    """Put a next key in place, or remove it, if one lies there."""
    if not keys.has_successor:
        return
    (in_force,) = _newest(engine) or (None,)
    if in_force is None or keys.signer().verifier == in_force:
        keys.forget_successor()
        return
    successor = keys.successor()
    if successor.verifier != in_force:
        raise _not_in_force(in_force)
    keys.promote(successor)


def signer_in_force(engine: Engine, keys: KeyDirectory) -> Signer:
    """The signing key; an EvidenceError if another one was put in force since."""
    signer = keys.signer()
    for in_force in _newest(engine):
        if signer.verifier != in_force:
            raise _not_in_force(in_force)
    return signer


def _newest(engine: Engine) -> Sequence[Verifier]:
    with reading(engine) as connection:
        return [rotation.new for rotation in rotations_in(connection)[-1:]]


def _not_in_force(in_force: Verifier) -> EvidenceError:
    return EvidenceError(
        f"the signing key is not the one that was put in force last, with the id {in_force.key_id.hex()}",
        hint="put that key back: an older copy of the keys lies in its place; and run `custody verify` against an outside pin",
    )
