"""What the signer last signed for, in a file outside the database: a database that is behind or beside it halts the log.

The file has two places, each in a page of its own, and each line carries its own checksum. The rules:

1. Every batch is written into the second place, over what stands there, before it is acknowledged. A process that dies loses
   nothing of it: what was written stays with the kernel.
2. Where the last time is a second ago, and for the first batch of a process, that is also put on disk; then the first place is
   written and put on disk as well. When the ledger is closed, the second place is put on disk.
3. What is recalled is the larger of both.

So one of the two is always whole on disk: while the second is written over, the first is; while the first is written over, the
second has just been put there and is not touched. What a power cut can leave is a memory that lags behind the database by what
was signed in the second before. That is no error: what follows it is in the database under valid checkpoints, and is caught up
with (`writing`). It is never ahead, as nothing is written before the commit is on disk. What the second costs: whoever cuts the
power and puts an older copy back that is less than that second old is not met by the memory, only by a pin.

Waiting for the disk at every batch would cost as much as the commit itself. It must never go back, and never be written by two at
once: only whoever holds the turn may `remember`.
"""

import base64
import os
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import orjson

from ..errors import EvidenceError
from .tree import HASH_BYTES

__all__ = ["Signed", "SignerMemory"]

_PLACE = 4096
"""Bytes of each of the two places."""
_SETTLED_EVERY = 1.0
"""Seconds after which a batch waits until what is remembered is on disk."""
_HINT = (
    "keep everything as it is and compare the ledger with an outside pin (`custody verify --pin`); a ledger without this "
    "memory takes no entries"
)


class Signed(NamedTuple):
    """A tree that was signed for, and given out."""

    size: int
    root: bytes


class SignerMemory:
    """The file, as one process uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw = b""
        self._known: Signed | None = None
        """What `_raw` says, as the same bytes say the same."""
        self._settled_at: float | None = None
        self._unsettled = False

    @property
    def is_there(self) -> bool:
        """Whether anything lies where the memory should."""
        return os.path.lexists(self._path)

    def recall(self) -> Signed:
        """What was last signed for."""
        try:
            raw = self._read()
        except FileNotFoundError as error:
            raise EvidenceError(f"the signer's memory is gone: `{self._path}`", hint=_HINT) from error
        if self._known is not None and raw == self._raw:
            return self._known
        found = [] if len(raw) != 2 * _PLACE else [*filter(None, map(_signed_in, (raw[:_PLACE], raw[_PLACE:])))]
        if not found:
            raise EvidenceError(f"the signer's memory cannot be read: `{self._path}`", hint=_HINT)
        self._raw, self._known = raw, max(found)
        return self._known

    def remember(self, signed: Signed) -> None:
        """Keep what was signed for; a crash of this process cannot undo it, and of the machine only what the rules say."""
        line = _line_of(signed)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._write_whole(line)
            return
        try:
            self._put(descriptor, line, _PLACE)
            self._unsettled = True
            first = self._raw[:_PLACE]
            if self._settled_at is None or time.monotonic() >= self._settled_at + _SETTLED_EVERY:
                self._settle(descriptor, line)
                first = line
        finally:
            os.close(descriptor)
        self._raw, self._known = first + line, signed

    def settle(self) -> None:
        """Put on disk what this process remembered and did not wait for; that the file is gone, the next batch will meet."""
        if not self._unsettled:
            return
        with suppress(FileNotFoundError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                self._sync(descriptor)
            finally:
                os.close(descriptor)
        self._unsettled = False

    def _read(self) -> bytes:
        """No more of it than it may have, and without waiting for whoever put a pipe in its place."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.read(descriptor, 2 * _PLACE + 1)
        finally:
            os.close(descriptor)

    def _settle(self, descriptor: int, line: bytes) -> None:
        self._sync(descriptor)
        self._put(descriptor, line, 0)
        self._sync(descriptor)
        self._settled_at, self._unsettled = time.monotonic(), False

    def _put(self, descriptor: int, line: bytes, place: int) -> None:
        os.pwrite(descriptor, line, place)

    def _sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def _write_whole(self, line: bytes) -> None:
        """The whole file, put in its place when it is on disk."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, line + line)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self._path)


def _line_of(signed: Signed) -> bytes:
    root = base64.b64encode(signed.root).decode()
    text = orjson.dumps({"root": root, "size": signed.size, "sum": _sum_of(root, signed.size)})
    return text.ljust(_PLACE - 1) + b"\n"


def _sum_of(root: str, size: int) -> str:
    """Tells a line that was written halfway over another one; against whoever writes the file it is no protection."""
    return sha256(f"{root} {size}".encode()).hexdigest()[:16]


def _signed_in(line: bytes) -> Signed | None:
    try:
        raw = orjson.loads(line)
        signed = Signed(raw["size"], base64.b64decode(raw["root"], validate=True))
        whole = raw["sum"] == _sum_of(raw["root"], raw["size"])
    except (ValueError, KeyError, TypeError):
        return None  # one whose writing was cut short
    is_tree = type(signed.size) is int and signed.size >= 0 and len(signed.root) == HASH_BYTES
    return signed if whole and is_tree else None
