"""Bytes outside the leaves: sealed before they are stored, checked whenever they are read.

The leaf holds a keyed hash, not a plain one: whoever has only the leaf cannot guess what a short secret was, and erasing the
key and the bytes later leaves nothing to guess from. It must never store what was not redacted.
"""

import hmac
import secrets

from ..errors import EvidenceError, LedgerError
from ..redaction import Redactor
from .types import Payload, PayloadRef

__all__ = ["MAX_PAYLOAD_BYTES", "require_committed", "require_honest", "seal"]

MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
_KEY_BYTES = 32


def seal(content: bytes, media: str, redactor: Redactor | None) -> Payload:
    """Redact, draw a random key and commit to what is left; nothing is stored."""
    redacted = redactor.redact(content) if redactor is not None else None
    stored = content if redacted is None else redacted.content
    if len(stored) > MAX_PAYLOAD_BYTES:
        raise LedgerError(
            f"a payload of {len(stored)} bytes is too large", hint=f"give at most {MAX_PAYLOAD_BYTES} bytes"
        )
    key = secrets.token_bytes(_KEY_BYTES)
    ref = PayloadRef(
        id=secrets.token_hex(16),
        commitment=_commitment(key, stored),
        bytes=len(stored),
        media=media,
        redactions=redacted.count if redacted is not None else 0,
    )
    return Payload(ref, key, stored)


def require_honest(payload: Payload) -> None:
    """Refuse to store bytes that their own reference does not commit to."""
    if not _matches(payload.ref, payload.key, payload.content):
        raise LedgerError(
            f"payload `{payload.ref.id}` is not what its reference commits to", hint="make payloads with `seal` only"
        )


def require_committed(ref: PayloadRef, key: object, content: object) -> bytes:
    """The stored bytes, if they are those that the reference commits to."""
    if not (isinstance(key, bytes) and isinstance(content, bytes) and _matches(ref, key, content)):
        raise EvidenceError(f"payload `{ref.id}` is not what was committed to", hint="run `custody verify`")
    return content


def _matches(ref: PayloadRef, key: bytes, content: bytes) -> bool:
    return (
        len(key) == _KEY_BYTES
        and len(content) == ref.bytes
        and hmac.compare_digest(_commitment(key, content), ref.commitment.lower())
    )


def _commitment(key: bytes, content: bytes) -> str:
    return hmac.digest(key, content, "sha256").hex()
