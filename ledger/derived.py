"""Derived state: disposable results of reading the ledger, kept beside it so that they go on where they ended.

It is no evidence, verify does not read it, and it may be gone at any time. But decisions count on it: so each result carries the
signature of the ledger's key, over its name, version and place. Whoever can write the database and has not the key can delete a
result or put an older one back, and both cost time and change no answer. It must never give back what the key did not sign.
"""

from hashlib import sha256

import orjson
from sqlalchemy import Connection

from ..errors import LedgerError
from .bounds import LONGEST_VALUE, bounded_bytes
from .database import rows
from .notes import Signer, Verifier
from .types import Derived
from .writing import read_head

__all__ = ["find_derived", "store_derived"]

_SIGNATURE_BYTES = 64
_MOST_BYTES = LONGEST_VALUE // 2
"""Of a result; a larger one is not kept, and derived again whenever it is asked for."""
_FIND = f"SELECT upto, {bounded_bytes('content', _MOST_BYTES + _SIGNATURE_BYTES)} FROM derived WHERE name = ? AND version = ?"  # noqa: S608 - because our own words are put in


def store_derived(connection: Connection, signer: Signer, name: str, version: int, state: Derived) -> None:
    """Keep a result; it replaces what was kept under the name."""
    size = read_head(connection).size
    if not 0 <= state.upto <= size:
        raise LedgerError(f"derived state up to {state.upto} is ahead of the {size} entries", hint="derive it again")
    content = signer.sign(_signed_text(signer.verifier, name, version, state)) + state.content
    connection.exec_driver_sql("DELETE FROM derived WHERE name = ?", (name,))
    if len(state.content) > _MOST_BYTES:
        return
    connection.exec_driver_sql(
        "INSERT INTO derived (name, version, upto, content) VALUES (?, ?, ?, ?)", (name, version, state.upto, content)
    )


def find_derived(connection: Connection, key: Verifier, name: str, version: int) -> Derived | None:
    """What was kept under the name by the same version of its maker, if the key signed for it."""
    for upto, content in rows(connection, _FIND, (name, version)):
        if not (isinstance(upto, int) and isinstance(content, bytes) and 0 <= upto <= read_head(connection).size):
            continue
        signature, state = content[:_SIGNATURE_BYTES], Derived(upto, content[_SIGNATURE_BYTES:])
        if key.signed(_signed_text(key, name, version, state), signature):
            return state
    return None


def _signed_text(key: Verifier, name: str, version: int, state: Derived) -> str:
    """One line, so that it can be no checkpoint: these have at least three."""
    digest = sha256(state.content).hexdigest()
    return orjson.dumps(["custody derived state", key.name, name, version, state.upto, digest]).decode()
