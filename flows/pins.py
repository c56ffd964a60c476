"""Checkpoints that are kept outside: only they make a rollback or a rewritten history visible.

A pin inside the home is not outside: whoever can rewrite the ledger can rewrite it too. It is never counted as an anchor.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from ..errors import LedgerError, UsageError
from ..ledger import Pin
from ..ledger.types import Checkpoint

__all__ = ["keep_pin", "read_pin", "write_pin"]

_PIN_BYTES = 64 * 1024


def read_pin(source: str, *, home: Path) -> Pin:
    """A pin from a file or an http(s) address; one inside the home is not from outside.

    Raises:
        UsageError: it cannot be read, or is no signed note.
    """
    if urlsplit(source).scheme in {"http", "https"}:
        return Pin(source, _fetch(source), outside=True)
    path = Path(source)
    try:
        real = path.resolve(strict=True)
        with real.open("rb") as file:
            content = file.read(_PIN_BYTES)
    except OSError as error:
        raise UsageError(
            f"pin `{source}` cannot be read: {error.strerror}",
            hint="give the file that `custody verify --write-pin` wrote",
        ) from error
    if b"\n\n\xe2\x80\x94 " not in content:  # C2SP signed-note: a text, an empty line, lines of signatures
        raise UsageError(
            f"pin `{source}` is no signed note", hint="give the file that `custody verify --write-pin` wrote"
        )
    return Pin(source, content.decode("utf-8", "replace"), outside=not real.is_relative_to(home.resolve()))


def _fetch(address: str) -> str:
    try:
        response = httpx.get(address, timeout=20, follow_redirects=False)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise UsageError(
            f"pin `{address}` cannot be fetched: {type(error).__name__}", hint="check the address, or give a file"
        ) from error
    return response.content[:_PIN_BYTES].decode("utf-8", "replace")


def write_pin(checkpoint: Checkpoint, path: Path) -> None:
    """Keep a checkpoint in a file: complete or not at all, durable before this returns.

    Raises:
        LedgerError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as file:
            file.write(checkpoint.note)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise LedgerError(
            f"pin `{path}` cannot be written: {error.strerror}", hint="give another place with --write-pin"
        ) from error


def keep_pin(checkpoint: Checkpoint, folder: Path) -> Path:
    """Keep a checkpoint under its size in a pin directory, beside `latest`; its path."""
    path = folder / f"checkpoint-{checkpoint.size:012d}.note"
    write_pin(checkpoint, path)
    write_pin(checkpoint, folder / "latest.note")
    return path
