"""C2SP texts: signed notes, checkpoints, verifier keys and proofs (c2sp.org/signed-note, tlog-checkpoint, tlog-proof).

Strict on reading: what would not be written back byte for byte is refused. It must never decide which key to trust.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import EvidenceError
from .tree import HASH_BYTES
from .types import Checkpoint

__all__ = [
    "Proof",
    "Signer",
    "Verifier",
    "is_key_name",
    "parse_checkpoint",
    "parse_proof",
    "read_checkpoint",
    "render_proof",
    "sign_checkpoint",
]

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_DASH = "\N{EM DASH}"
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_MAX_NOTE = 64 * 1024
_MAX_SIGNATURES = 16
_MAX_PATH = 64
_HINT = "get the text again from where it was made; it was cut or changed on the way"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name, as the vkey text `name+id+base64` gives it."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read the one line of a vkey."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:  # noqa: PLR2004 - because a vkey is name+id+key
            raise _unreadable("the verifier key has not the form name+id+key")
        raw = _decode(parts[2], "the verifier key")
        if len(raw) != 1 + HASH_BYTES or raw[:1] != _ED25519:
            raise _unreadable("the verifier key is not an Ed25519 key")
        key = cls(parts[0], raw[1:])
        if str(key) != text.strip():
            raise _unreadable("the verifier key's id does not belong to its name and key")
        return key

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name, newline, 0x01, public key)."""
        return _key_id(self.name, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_encode(_ED25519 + self.public)}"

    def signed(self, text: str, signature: bytes) -> bool:
        """Whether the signature over the text is this key's."""
        try:
            _public_key(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=16)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@lru_cache(maxsize=16)
def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_ID_BYTES]


class Signer:
    """A private key with its name; the text form is the one of Go's note package."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read `PRIVATE+KEY+name+id+base64`."""
        parts = text.strip().split("+", 4)
        if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:  # noqa: PLR2004 - because the form has five parts
            raise _unreadable("the signing key has not the form PRIVATE+KEY+name+id+key")
        raw = _decode(parts[4], "the signing key")
        if len(raw) != 1 + HASH_BYTES or raw[:1] != _ED25519:
            raise _unreadable("the signing key is not an Ed25519 key")
        signer = cls(parts[2], raw[1:])
        if signer.private_text() != text.strip():
            raise _unreadable("the signing key's id does not belong to its name and key")
        return signer

    def private_text(self) -> str:
        """The secret itself, for the key file only."""
        key_id = self.verifier.key_id.hex()
        return f"PRIVATE+KEY+{self.verifier.name}+{key_id}+{_encode(_ED25519 + self._seed)}"

    def sign(self, text: str) -> bytes:
        """The signature over the text."""
        return self._key.sign(text.encode())

    def signature_line(self, text: str) -> str:
        """The line that signs the text."""
        signature = self.verifier.key_id + self.sign(text)
        return f"{_DASH} {self.verifier.name} {_encode(signature)}\n"


@lru_cache(maxsize=256)
def is_key_name(name: str) -> bool:
    """Whether the name may stand in a note: not empty, printable, no spaces, no plus."""
    return bool(name) and name.isprintable() and not any(c.isspace() or c == "+" for c in name)


def sign_checkpoint(origin: str, size: int, root: bytes, signers: Sequence[Signer]) -> Checkpoint:
    """A checkpoint of the tree, signed by every signer given."""
    text = f"{origin}\n{size}\n{_encode(root)}\n"
    return Checkpoint(origin, size, root, text + "\n" + "".join(signer.signature_line(text) for signer in signers))


def read_checkpoint(note: str) -> Checkpoint:
    """The content of a checkpoint whose signatures nobody has looked at yet."""
    text, _signatures = _split_note(note)
    return _read_text(text, note)


def parse_checkpoint(note: str, *keys: Verifier) -> Checkpoint:
    """A checkpoint that every one of the keys has signed; anything else is an EvidenceError."""
    text, signatures = _split_note(note)
    checkpoint = _read_text(text, note)
    for key in keys:
        mine = [signature for name, key_id, signature in signatures if (name, key_id) == (key.name, key.key_id)]
        if not mine:
            raise EvidenceError(f"the checkpoint of size {checkpoint.size} is not signed by `{key.name}`", hint=_HINT)
        if not all(key.signed(text, signature) for signature in mine):
            raise EvidenceError(f"a signature on the checkpoint of size {checkpoint.size} is wrong", hint=_HINT)
    return checkpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """A C2SP tlog-proof: the way from one entry to a checkpoint."""

    index: int
    path: tuple[bytes, ...]
    note: str
    extra: bytes = b""
    """Not authenticated by itself; ours is the leaf, which is right if the path leads from it to the root."""


def render_proof(proof: Proof) -> str:
    """The text of a proof."""
    extra = [f"extra {_encode(proof.extra)}"] if proof.extra else []
    lines = [_PROOF_HEADER, *extra, f"index {proof.index}", *map(_encode, proof.path)]
    return "\n".join(lines) + "\n\n" + proof.note


def parse_proof(text: str) -> Proof:
    """Read a proof, with its extra data if it has some."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != _PROOF_HEADER or not separator or len(text) > _MAX_NOTE:
        raise _unreadable(f"the proof does not begin with `{_PROOF_HEADER}`")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = _decode(lines.pop(0).removeprefix("extra "), "the proof's extra data")
    if not lines or not lines[0].startswith("index "):
        raise _unreadable("the proof names no index")
    index = _number(lines.pop(0).removeprefix("index "), "the proof's index")
    if len(lines) > _MAX_PATH:
        raise _unreadable("the proof is longer than any tree is high")
    return Proof(index, tuple(_hash(line, "the proof") for line in lines), note, extra)


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text (with its final newline) and signatures as (name, key id, signature)."""
    if len(note) > _MAX_NOTE or _CONTROL.search(note):
        raise _unreadable("the note is too long or holds control characters")
    head, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or lines.pop() or not 0 < len(lines) <= _MAX_SIGNATURES:
        raise _unreadable("the note has no signature lines")
    return head + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not is_key_name(parts[1]):  # noqa: PLR2004 - because: dash, name, base64
        raise _unreadable("a signature line of the note cannot be read")
    raw = _decode(parts[2], "a signature")
    if len(raw) <= _KEY_ID_BYTES:
        raise _unreadable("a signature of the note is too short")
    return parts[1], raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:]


def _read_text(text: str, note: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not is_key_name(lines[0]):  # noqa: PLR2004 - because: origin, size, root, end
        raise _unreadable("the checkpoint has not exactly the lines origin, size and root")
    return Checkpoint(lines[0], _number(lines[1], "the checkpoint's size"), _hash(lines[2], "the checkpoint"), note)


def _number(text: str, where: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) >= 1 << 63:
        raise _unreadable(f"{where} is not a plain number")
    return int(text)


def _hash(text: str, where: str) -> bytes:
    raw = _decode(text, where)
    if len(raw) != HASH_BYTES:
        raise _unreadable(f"{where} holds a hash of {len(raw)} bytes")
    return raw


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str, where: str) -> bytes:
    """Base 64 that is written exactly one way: padding, alphabet and unused bits are checked by writing it back."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise _unreadable(f"{where} is not base64") from error
    if _encode(raw) != text:
        raise _unreadable(f"{where} is not base64 in its one canonical form")
    return raw


def _unreadable(message: str) -> EvidenceError:
    return EvidenceError(message, hint=_HINT)
