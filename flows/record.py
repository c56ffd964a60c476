"""The one way into the ledger: every entry that flows or doors cause is written here.

It must never swallow a failed append: what could not be recorded did not happen, and the caller stops.
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..ledger import Acknowledgement, Draft, Payload, PayloadRef, events
from ..redaction import Redactor
from .house import House

__all__ = ["MACHINERY", "Batch", "bounded", "clean", "record", "texts"]

MACHINERY = "custody"
"""Actor of what the machinery does by itself."""


@dataclass(slots=True)
class Batch:
    """Entries, and the payloads that they refer to, that become durable together or not at all."""

    house: House
    actor: str
    run: str | None = None
    drafts: list[Draft] = field(default_factory=list)
    payloads: list[Payload] = field(default_factory=list)

    def seal(self, content: bytes, *, media: str) -> PayloadRef:
        """Put bytes beside the entries of this batch."""
        payload = self.house.ledger.seal(content, media=media)
        self.payloads.append(payload)
        return payload.ref

    def add(self, event: events.Event, *, id: str = "") -> None:  # noqa: A002 - the field is called id
        """Put an event in; without an id it gets a random one and can never be repeated."""
        self.drafts.append(
            Draft(id=id or secrets.token_hex(16), event=event, actor=self.actor, time=self.house.clock(), run=self.run)
        )

    def write(self) -> Sequence[Acknowledgement]:
        """Append everything in one atomic batch.

        Raises:
            LedgerError: nothing of it was written.
            ConflictError: an id of it was used before for something else; nothing of it was written.
        """
        return self.house.ledger.append(self.drafts, self.payloads)


def record(house: House, event: events.Event, *, actor: str, run: str | None = None, id: str = "") -> Acknowledgement:  # noqa: A002 - the field is called id
    """Append one event that has no payloads."""
    batch = Batch(house, actor, run)
    batch.add(event, id=id)
    return batch.write()[0]


def clean(redactor: Redactor, text: str, limit: int) -> str:
    """Text of a person or program for an entry: redacted, without lone surrogates, bounded; a cut is shown."""
    return bounded(redactor.redact_text(text.encode("utf-8", "replace").decode("utf-8")), limit)


def bounded(text: str, limit: int) -> str:
    """Text that takes at most `limit` bytes in an entry, escapes of control characters included; a cut is shown."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if _bytes(text) <= limit:
        return text
    kept, room = [], limit - len("…".encode())
    for character in text:
        room -= _bytes(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def texts(values: Iterable[str], count: int, length: int) -> tuple[str, ...]:
    """At most `count` texts of at most `length` bytes; a cut is shown by its number."""
    texts = [bounded(value, length) for value in values]
    if len(texts) <= count:
        return tuple(texts)
    return (*texts[: count - 1], f"… and {len(texts) - count + 1} more")


def _bytes(text: str) -> int:
    """Bytes between the quotes of a JSON string."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2
