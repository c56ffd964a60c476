"""The signing key and its public half: files outside the database, beside the signer's memory.

It must never write a key into the database, and never leave half a key behind.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigurationError, EvidenceError
from .memory import Signed, SignerMemory
from .notes import Signer, Verifier, is_key_name
from .tree import EMPTY_ROOT, HASH_BYTES

__all__ = ["KeyDirectory", "require_origin"]

_PRIVATE = "signing.key"
_PUBLIC = "verifier.key"
_SUCCESSOR = "signing.key.next"
_MEMORY = "last-signed.json"
_LOST_HINT = "put it back from the copy that you keep: a key cannot be made again"


class KeyDirectory:
    """What lies in the directory of keys."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.memory = SignerMemory(directory / _MEMORY)
        """What was last signed for."""

    def require_unused(self) -> None:
        """Refuse where a key already lies."""
        for name in (_PRIVATE, _PUBLIC, _MEMORY):
            if os.path.lexists(self.directory / name):
                raise ConfigurationError(
                    f"a ledger's `{name}` is already there: `{self.directory / name}`", hint="use another home"
                )

    def create(self, origin: str) -> Signer:
        """Make a key for the origin; nothing of it is left behind if that fails."""
        require_origin(origin)
        self.require_unused()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        signer = Signer(origin, secrets.token_bytes(HASH_BYTES))
        try:
            _write_new(self.directory / _PRIVATE, signer.private_text() + "\n")
            _write_new(self.directory / _PUBLIC, f"{signer.verifier}\n")
            self.memory.remember(Signed(0, EMPTY_ROOT))
        except BaseException:
            self.remove()
            raise
        return signer

    def remove(self) -> None:
        """Take back what `create` made."""
        for name in (_PRIVATE, _PUBLIC, _MEMORY):
            (self.directory / name).unlink(missing_ok=True)

    def signer(self) -> Signer:
        """The private key; refused if others than the owner may read it."""
        return self._signer(self.directory / _PRIVATE)

    def _signer(self, path: Path) -> Signer:
        text = _read(path)
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"others may read the signing key `{path}`", hint=f"run `chmod 600 {path}`")
        try:
            return Signer.parse(text)
        except EvidenceError as error:
            raise ConfigurationError(f"{error.message}: `{path}`", hint=_LOST_HINT) from error

    def verifier(self) -> Verifier:
        """The public half."""
        path = self.directory / _PUBLIC
        try:
            return Verifier.parse(_read(path))
        except EvidenceError as error:
            raise ConfigurationError(f"{error.message}: `{path}`", hint=_LOST_HINT) from error

    def identity(self) -> tuple[int, int]:
        """Changes whenever the private key is replaced."""
        found = os.stat(f"{self.directory}/{_PRIVATE}")  # noqa: PTH116 - at every append
        return found.st_ino, found.st_mtime_ns

    def prepare_successor(self, origin: str) -> Signer:
        """Make the next key and keep it beside the present one, so that no crash can lose it once it has signed."""
        successor = Signer(origin, secrets.token_bytes(HASH_BYTES))
        (self.directory / _SUCCESSOR).unlink(missing_ok=True)
        _write_new(self.directory / _SUCCESSOR, successor.private_text() + "\n")
        return successor

    def successor(self) -> Signer | None:
        """A next key whose rotation was not finished."""
        path = f"{self.directory}/{_SUCCESSOR}"
        return self._signer(Path(path)) if os.path.exists(path) else None  # noqa: PTH110 - at every append

    def promote(self, successor: Signer) -> None:
        """Make the next key the present one; the public half first, as what both have signed stands under either."""
        fresh = self.directory / f"{_PUBLIC}.new"
        fresh.unlink(missing_ok=True)
        _write_new(fresh, f"{successor.verifier}\n")
        fresh.replace(self.directory / _PUBLIC)
        (self.directory / _SUCCESSOR).replace(self.directory / _PRIVATE)

    def forget_successor(self) -> None:
        """Drop a next key that never signed."""
        (self.directory / _SUCCESSOR).unlink(missing_ok=True)


def require_origin(origin: str) -> None:
    """Refuse a name that may not stand in a checkpoint."""
    if not is_key_name(origin) or len(origin) > HASH_BYTES * 4:
        raise ConfigurationError(
            f"`{origin}` cannot name a ledger",
            hint="give a short name without spaces and plus signs, like `host.example/audit`",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"the ledger's key is missing: `{path}`", hint=_LOST_HINT) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the ledger's key cannot be read: `{path}`", hint=_LOST_HINT) from error


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)
