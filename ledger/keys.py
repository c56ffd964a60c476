"""The signing key, its public half, and the signer's memory of what it last signed for: files outside the database.

It must never write a key into the database, and never let the memory go back. Whoever restores an old database, or edits the
newest one, meets the memory here: the log halts instead of forking.
"""

import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from ..errors import ConfigurationError, EvidenceError
from .notes import Signer, Verifier, is_key_name
from .tree import EMPTY_ROOT, HASH_BYTES

__all__ = ["KeyDirectory", "Signed"]

_PRIVATE = "signing.key"
_PUBLIC = "verifier.key"
_SUCCESSOR = "signing.key.next"
_MEMORY = "last-signed.json"
_PLACE = 4096
"""Bytes of each of the two places of the memory."""
_MISSING_HINT = "run `custody init`"
_MEMORY_HINT = (
    "keep everything as it is and compare the ledger with an outside pin (`custody verify --pin`); a ledger without this "
    "memory takes no entries"
)


class Signed(NamedTuple):
    """A tree that was signed for, and given out."""

    size: int
    root: bytes


class KeyDirectory:
    """What lies in the directory of keys."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

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
            self.remember(Signed(0, EMPTY_ROOT))
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
            raise ConfigurationError(f"{error.message}: `{path}`", hint="put the key back from a backup") from error

    def verifier(self) -> Verifier:
        """The public half."""
        path = self.directory / _PUBLIC
        try:
            return Verifier.parse(_read(path))
        except EvidenceError as error:
            raise ConfigurationError(f"{error.message}: `{path}`", hint="put the key back from a backup") from error

    def identity(self) -> tuple[int, int]:
        """Changes whenever the private key is replaced."""
        found = (self.directory / _PRIVATE).stat()
        return found.st_ino, found.st_mtime_ns

    def prepare_successor(self, origin: str) -> Signer:
        """Make the next key and keep it beside the present one, so that no crash can lose it once it has signed."""
        successor = Signer(origin, secrets.token_bytes(HASH_BYTES))
        (self.directory / _SUCCESSOR).unlink(missing_ok=True)
        _write_new(self.directory / _SUCCESSOR, successor.private_text() + "\n")
        return successor

    def successor(self) -> Signer | None:
        """A next key whose rotation was not finished."""
        path = self.directory / _SUCCESSOR
        return self._signer(path) if path.exists() else None

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

    def recall(self) -> Signed:
        """What was last signed for."""
        path = self.directory / _MEMORY
        try:
            raw = path.read_bytes()
        except FileNotFoundError as error:
            raise EvidenceError(f"the signer's memory is gone: `{path}`", hint=_MEMORY_HINT) from error
        kept = [signed for place in (raw[:_PLACE], raw[_PLACE:]) if (signed := _signed_in(place)) is not None]
        if not kept:
            raise EvidenceError(f"the signer's memory cannot be read: `{path}`", hint=_MEMORY_HINT)
        return max(kept)

    def remember(self, signed: Signed) -> None:
        """Keep what was signed for, durably before this returns; only to be called while holding the turn.

        The file has two places, each in a page of its own, and the older one is written over: a power cut in the middle leaves
        the other, and a memory behind the database is caught up; only one that is ahead halts. Writing in place costs one write
        of data, where a new file would cost the file system's journal as well, as much as the commit itself.
        """
        line = _line_of(signed)
        path = self.directory / _MEMORY
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._write_memory(line)
            return
        try:
            places = os.pread(descriptor, 2 * _PLACE + 1, 0)
            if in_place := len(places) == 2 * _PLACE:
                first, second = (_signed_in(places[:_PLACE]), _signed_in(places[_PLACE:]))
                older = 0 if first is None or (second is not None and first < second) else _PLACE
                os.pwrite(descriptor, line, older)
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if not in_place:  # written by hand, or by an earlier release
            self._write_memory(line)

    def _write_memory(self, line: bytes) -> None:
        """The whole file, put in its place when it is on disk."""
        fresh = self.directory / f"{_MEMORY}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, line + b" " * (_PLACE - 1) + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self.directory / _MEMORY)


def _line_of(signed: Signed) -> bytes:
    text = orjson.dumps({"root": base64.b64encode(signed.root).decode(), "size": signed.size})
    return text.ljust(_PLACE - 1) + b"\n"


def _signed_in(line: bytes) -> Signed | None:
    try:
        raw = orjson.loads(line)
        return Signed(int(raw["size"]), base64.b64decode(raw["root"], validate=True))
    except (ValueError, KeyError, TypeError):
        return None  # the empty place, or one whose writing was cut short


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
        raise ConfigurationError(f"the ledger's key is missing: `{path}`", hint=_MISSING_HINT) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the ledger's key cannot be read: `{path}`", hint="put it back from a backup"
        ) from error


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
