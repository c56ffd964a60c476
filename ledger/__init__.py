"""WHAT HAPPENED: an append-only Merkle log of events, signed at every batch, that anybody can check.

`Ledger` writes and reads, `verify_ledger` and `check_proof` check, `events` is the catalogue of what can be said.
It must never run an agent's code, decide anything, acknowledge what is not durable, or trust a key or a pin from its own database.
"""

import importlib
from typing import TYPE_CHECKING

from . import events
from .types import Acknowledgement, Draft, Entry, LedgerFiles, Payload, PayloadRef, Pin, Verification

if TYPE_CHECKING:
    from .ledger import Ledger
    from .verify import check_proof, verify_ledger

__all__ = [
    "Acknowledgement",
    "Draft",
    "Entry",
    "Ledger",
    "LedgerFiles",
    "Payload",
    "PayloadRef",
    "Pin",
    "Verification",
    "check_proof",
    "events",
    "verify_ledger",
]

_LATER = {"Ledger": ".ledger", "check_proof": ".verify", "verify_ledger": ".verify"}
"""What loads SQLAlchemy, which takes longer than all else together: not for those who need no database, or open it themselves."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(importlib.import_module(_LATER[name], __name__), name)
    globals()[name] = value
    return value
