"""WHAT HAPPENED: an append-only Merkle log of events, signed at every batch, that anybody can check.

`Ledger` writes and reads, `verify_ledger` and `check_proof` check, `events` is the catalogue of what can be said.
It must never run an agent's code, decide anything, acknowledge what is not durable, or trust a key or a pin from its own database.
"""

from . import events
from .ledger import Ledger
from .types import Acknowledgement, Draft, Entry, LedgerFiles, Payload, PayloadRef, Pin, Verification
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
