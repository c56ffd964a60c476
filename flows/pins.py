"""Checkpoints that are kept outside: only they make a rollback or a rewritten history visible.

A pin inside the home is not outside: whoever can rewrite the ledger can rewrite it too. It is never counted as an anchor.
"""

import asyncio
import os
import secrets
import shutil
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from ..caller_files import CallerFiles
from ..errors import CustodyError, LedgerError, UsageError
from ..ledger import Ledger, Pin
from ..ledger.types import Checkpoint
from .whereabouts import is_outside

__all__ = ["Kept", "keep_newest", "keep_pin", "read_pin", "write_pin"]

_PIN_BYTES = 64 * 1024
_FETCH_SECONDS = 30
_GIT_SECONDS = 30
_SIGNATURE = b"\n\n\xe2\x80\x94 "
"""C2SP signed-note: a text, an empty line, lines of signatures."""
_PIN_HINT = "give the file that `custody verify --write-pin` wrote"


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint in a pin directory."""

    path: Path
    remark: str = ""
    """What could not be done about it though it was kept; empty if all is well."""


def read_pin(source: str, files: CallerFiles, *, certificates: Path | None = None) -> Pin:
    """A pin from a file or an http(s) address; one inside the home is not from outside.

    Args:
        source: as the caller gave it.
        files: of the caller.
        certificates: the file of certificate authorities to believe; None for those of the system.

    Raises:
        UsageError: it cannot be read, or is no signed note.
    """
    label, outside = source, True
    if _is_address(source):
        label = _public(source)
        content = _fetch(source, label, certificates)
    else:
        content, outside = files.read(Path(source), called="pin", most=_PIN_BYTES), is_outside(Path(source), files.home)
    if _SIGNATURE not in content:
        raise UsageError(f"pin `{label}` is no signed note", hint=_PIN_HINT)
    return Pin(label, content.decode("utf-8", "replace"), outside=outside)


def _is_address(source: str) -> bool:
    try:
        return urlsplit(source).scheme in {"http", "https"}
    except ValueError:  # brackets that are no address
        return False


def _public(address: str) -> str:
    """The address as it may be shown and recorded: without user, password and query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _fetch(address: str, label: str, certificates: Path | None) -> bytes:
    """No more than a pin may have and no longer than it may take, whatever the other side sends and however slowly."""
    try:
        with ThreadPoolExecutor(1) as beside:  # a loop of its own, also where one runs already
            return beside.submit(asyncio.run, _download(address, certificates)).result()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise UsageError(
            f"pin `{label}` cannot be fetched: {type(error).__name__}", hint="check the address, or give a file"
        ) from error


async def _download(address: str, certificates: Path | None) -> bytes:
    content = b""
    believed = ssl.create_default_context(cafile=certificates) if certificates is not None else True
    async with asyncio.timeout(_FETCH_SECONDS), httpx.AsyncClient(verify=believed, follow_redirects=False) as client:
        plain = {"Accept-Encoding": "identity"}
        async with client.stream("GET", address, headers=plain, timeout=_FETCH_SECONDS) as response:
            response.raise_for_status()
            async for part in response.aiter_raw():  # as it was sent: a pin need not be unpacked
                content += part
                if len(content) >= _PIN_BYTES:
                    break
    return content[:_PIN_BYTES]


def write_pin(checkpoint: Checkpoint, path: Path) -> None:
    """Keep a checkpoint in a file: complete or not at all, durable before this returns.

    Raises:
        LedgerError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a new file and no link: somebody else may control the folder, and must not lead us to another place
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(checkpoint.note.encode())
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):  # the folder may be a file, or gone
            beside.unlink(missing_ok=True)
        raise LedgerError(
            f"pin `{path}` cannot be written: {error.strerror}", hint="give another place with --write-pin"
        ) from error


def keep_newest(ledger: Ledger, folder: Path, *, home: Path) -> Kept:
    """Keep the newest checkpoint in a pin directory, and record in the ledger that it was kept outside.

    Raises:
        LedgerError: the files cannot be written. What else fails is no error but a remark: the pin itself is kept.
    """
    checkpoint = ledger.checkpoint()
    kept = keep_pin(checkpoint, folder)
    if not is_outside(folder, home):
        return replace(kept, remark=kept.remark or "the pin directory lies inside the home, so its pins anchor nothing")
    try:
        ledger.record_anchor(checkpoint)
    except CustodyError as error:
        return replace(kept, remark=kept.remark or f"the pin is kept, but that is not recorded: {error.message}")
    return kept


def keep_pin(checkpoint: Checkpoint, folder: Path) -> Kept:
    """Keep a checkpoint under its size in a pin directory, beside `latest.note`; in a git repository it is committed too.

    Raises:
        LedgerError: the files cannot be written. A commit that fails is no error but a remark: the pin itself is kept.
    """
    path = folder / f"checkpoint-{checkpoint.size:012d}.note"
    latest = folder / "latest.note"
    write_pin(checkpoint, path)
    write_pin(checkpoint, latest)
    return Kept(path, _commit(folder, (path.name, latest.name), f"{checkpoint.origin}: {checkpoint.size} entries"))


def _commit(folder: Path, names: tuple[str, ...], message: str) -> str:
    """Why the files could not be committed; empty if they were, or if this is no repository."""
    if not any((place / ".git").exists() for place in (folder, *folder.absolute().parents)):
        return ""
    git = shutil.which("git")
    if git is None:
        return f"the pin is not committed: `{folder}` is a git repository, and git is not installed"
    try:
        _git(git, folder, "add", "--force", "--", *names)
        if _git(git, folder, "diff", "--cached", "--name-only", "--", *names):
            _git(git, folder, "commit", "--quiet", "--no-verify", "--only", f"--message={message}", "--", *names)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "no reason given").strip().splitlines()[-1:]
        return f"the pin is not committed: {' '.join(said)[:200]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the pin is not committed: {type(error).__name__}"
    return ""


def _git(git: str, folder: Path, *arguments: str) -> str:
    """Git with nothing of the caller's environment, and no program of the repository's own choosing.

    It still refuses a repository of another user (`safe.directory`), whose configuration could name programs to run.
    """
    settings = {
        "user.name": "custody",
        "user.email": "custody@localhost",
        "commit.gpgSign": "false",
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "gc.auto": "0",
    }
    command = [git, *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_GIT_SECONDS,
        check=True,
    )
    return done.stdout.strip()
