"""What goes into the ledger and what comes back; plain data, standard library only."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Event

__all__ = ["Acknowledgement", "Draft", "Entry", "LedgerFiles", "Payload", "PayloadRef", "Pin", "Verification"]


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """Where one ledger lives. Keys and the signer's memory are outside the database on purpose."""

    database: Path
    keys: Path
    """Directory, mode 0700: the signing key, its public half and the signer's last-signed state."""


@dataclass(frozen=True, slots=True)
class PayloadRef:
    """Commitment to bytes that lie outside the leaf."""

    id: str
    """32 hex digits."""
    commitment: str
    """HMAC-SHA-256 (hex) of the stored bytes under a random key that is stored with them."""
    bytes: int
    media: str
    redactions: int
    """How many secrets were replaced before the bytes were stored."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that were redacted and sealed, to be stored together with the entries that refer to them."""

    ref: PayloadRef
    key: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event that is to become an entry."""

    id: str
    """Chosen by the writer; the same id with the same content is the same event."""
    event: "Event"
    actor: str
    """Principal id, or `custody` for what the machinery does by itself."""
    time: datetime
    """Aware, UTC."""
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One leaf of the ledger."""

    index: int
    leaf: bytes
    """The exact stored bytes."""
    leaf_hash: bytes
    """RFC 6962, section 2.1: SHA-256 of 0x00 and the leaf."""
    id: str
    kind: str
    version: int
    time: datetime
    actor: str
    run: str | None
    sequence: int | None
    """Contiguous from 0 within the run; None without a run."""
    event: "Event | None"
    """None for a kind or version that this release does not know; the bytes are kept and counted."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Proof of acceptance: the entry is durable and signed for."""

    index: int
    tree_size: int
    leaf_hash: bytes
    repeated: bool
    """The same event was already there; nothing was written."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A C2SP tlog-checkpoint in a signed note."""

    origin: str
    size: int
    root: bytes
    note: str
    """The exact text with its signature lines."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A checkpoint that was kept, with a name for messages."""

    label: str
    note: str
    """The exact text with its signature lines."""
    outside: bool = True
    """Whether it was kept out of reach of whoever can write the ledger; one that was not is checked but anchors nothing."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What a proof proves: this leaf stands at this index of the tree that the checkpoint is of."""

    index: int
    checkpoint: Checkpoint
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Derived:
    """A disposable result of reading the first `upto` entries."""

    upto: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a ledger."""

    code: str
    """Stable, for example `leaf-changed`, `truncated`, `pin-mismatch`, `checkpoint-signature`."""
    message: str
    index: int | None = None
    """First entry that shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of checking a whole ledger."""

    size: int
    root: bytes
    problems: tuple[Problem, ...]
    checks: tuple[str, ...]
    """Sentences: what was checked."""
    not_checked: tuple[str, ...]
    """Sentences: what was not, and why."""
    anchored_to: int | None
    """Tree size of the newest outside pin that agreed; None without one."""
    checkpoint: Checkpoint | None
    """The newest stored checkpoint, if its signature is right."""

    @property
    def consistent(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
