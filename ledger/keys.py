"""The signing key and its public half: files outside the database, beside the signer's memory.

It must never write a key into the database, and never leave half a key behind.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigurationError, EvidenceError
from .memory import Signed, SignerMemory
from .notes import Signer, Verifier, is_key_name
from .tree import EMPTY_ROOT, HASH_BYTES

__all__ = ["KeyDirectory", "require_origin", "sync_directory"]

_PRIVATE = "signing.key"
_PUBLIC = "verifier.key"
_SUCCESSOR = "signing.key.next"
_SUCCESSOR_PUBLIC = "verifier.key.next"
_MEMORY = "last-signed.json"
_KEY_BYTES = 4096
"""Far more than a key takes."""
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
            sync_directory(self.directory)
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
        """Make the next key and keep both halves beside the present ones, so that no crash can lose it once it has signed."""
        successor = Signer(origin, secrets.token_bytes(HASH_BYTES))
        self.forget_successor()
        try:
            _write_new(self.directory / _SUCCESSOR_PUBLIC, f"{successor.verifier}\n")
            _write_new(self.directory / _SUCCESSOR, successor.private_text() + "\n")
            sync_directory(self.directory)
        except BaseException:
            self.forget_successor()
            raise
        return successor

    @property
    def has_successor(self) -> bool:
        """Whether a next key lies there, be it whole or not."""
        return any(os.path.lexists(f"{self.directory}/{name}") for name in (_SUCCESSOR, _SUCCESSOR_PUBLIC))

    def successor(self) -> Signer:
        """The next key whose rotation was not finished."""
        return self._signer(self.directory / _SUCCESSOR)

    def promote(self, successor: Signer) -> None:
        """Make the next key the present one; the public half first, as what both have signed stands under either."""
        if self.verifier() != successor.verifier:
            (self.directory / _SUCCESSOR_PUBLIC).replace(self.directory / _PUBLIC)
            sync_directory(self.directory)
        (self.directory / _SUCCESSOR).replace(self.directory / _PRIVATE)
        sync_directory(self.directory)

    def forget_successor(self) -> None:
        """Drop a next key that never signed."""
        for name in (_SUCCESSOR, _SUCCESSOR_PUBLIC):
            (self.directory / name).unlink(missing_ok=True)


def require_origin(origin: str) -> None:
    """Refuse a name that may not stand in a checkpoint."""
    if not is_key_name(origin) or len(origin) > HASH_BYTES * 4:
        raise ConfigurationError(
            f"`{origin}` cannot name a ledger",
            hint="give a short name without spaces and plus signs, like `host.example/audit`",
        )


def sync_directory(directory: Path) -> None:
    """Put on disk which files there are."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    """The text of a key file, which is one line: no more than that is read, and nothing but a file is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigurationError(f"the ledger's key is not a plain file: `{path}`", hint=_LOST_HINT)
            return file.read(_KEY_BYTES).decode("utf-8")
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
