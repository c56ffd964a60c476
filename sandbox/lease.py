"""One lease for each run: a number, an outside uid of its own, and a locked file that says what belongs to it.

While the runner lives it holds the lock; what a dead runner left is found by the lock being free, and removed by what the
file names. It must never remove anything because of what it is called.
"""

import fcntl
import hashlib
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SandboxError
from .groups import kill_members, remove_group
from .kernel import process_start

__all__ = ["Lease", "acquire", "sweep_leases"]

_SLOTS = 256
_FIRST_UID = 0x70000000
"""Above every range that distributions, containers and systemd hand out."""
_BLOCKS = 0xFFFF


@dataclass(slots=True)
class Lease:
    """What one run holds; `record` before anything is made, `release` when it is gone."""

    number: int
    uid: int
    name: str
    descriptor: int
    held: dict[str, object] = field(default_factory=dict)

    def record(self, **facts: object) -> None:
        """Writes down what belongs to this run, durably enough to survive the runner."""
        self.held |= facts
        _write(self.descriptor, json.dumps(self.held).encode())

    def release(self) -> None:
        """Gives the lease back; everything it named must be gone."""
        _write(self.descriptor, b"")
        os.close(self.descriptor)


def acquire(state: Path, *, root: bool) -> Lease:
    """Takes the first free lease of this state directory, after cleaning up what its last holder left."""
    folder = _folder(state)
    block = _block(state)
    for number in range(_SLOTS):
        uid = _FIRST_UID + block * _SLOTS + number if root else os.getuid()
        descriptor = _lock(folder / f"{number:03d}.json", create=True)
        if descriptor is None:
            continue
        _clean(descriptor)
        if root and _processes_of(uid):
            os.close(descriptor)
            continue
        lease = Lease(number, uid, f"custody-{block:04x}-{number:03d}", descriptor)
        lease.record(boot=_boot(), runner=os.getpid(), uid=uid if root else None)
        return lease
    raise SandboxError(f"all {_SLOTS} leases are taken", hint="wait until a run has ended")


def sweep_leases(state: Path) -> tuple[str, ...]:
    """Removes what dead runners of this state directory left; says what it removed."""
    swept: list[str] = []
    folder = state / "leases"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        descriptor = _lock(path, create=False)
        if descriptor is not None:
            try:
                swept += _clean(descriptor)
            finally:
                os.close(descriptor)
    return tuple(swept)


def _clean(descriptor: int) -> list[str]:
    """Kills and removes what the lease file names; the caller holds its lock."""
    content = os.pread(descriptor, 65536, 0)
    if not content:
        return []
    swept: list[str] = []
    try:
        held = json.loads(content)
    except ValueError:
        held = {}
    if isinstance(held, dict) and held.get("boot") == _boot():
        swept += _clean_groups(held.get("groups"))
        swept += _clean_processes(held)
    swept.append(f"lease of runner {held.get('runner') if isinstance(held, dict) else 'unknown'}")
    _write(descriptor, b"")
    return swept


def _clean_groups(named: object) -> list[str]:
    swept = []
    for path in (Path(str(name)) for name in named) if isinstance(named, list) else ():
        if path.is_dir():
            kill_members(path)
            if remove_group(path):
                swept.append(f"control group {path}")
    return swept


def _clean_processes(held: dict[str, object]) -> list[str]:
    swept = []
    pid, start, uid = held.get("nsjail"), held.get("nsjail_start"), held.get("uid")
    if isinstance(pid, int) and isinstance(start, int) and process_start(pid) == start:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            swept.append(f"process {pid}")
    for other in _processes_of(uid) if isinstance(uid, int) else ():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(other, signal.SIGKILL)
            swept.append(f"process {other}")
    return swept


def _processes_of(uid: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                if entry.stat().st_uid == uid:
                    found.append(int(entry.name))
    return found


def _folder(state: Path) -> Path:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = state / "leases"
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SandboxError(
            f"the state directory `{state}` cannot be used: {error.strerror}",
            hint="give custody a home it may write to",
        ) from error
    return folder


def _block(state: Path) -> int:
    """Homes on one machine use different uids unless 16 bits collide; a uid in use is skipped in any case."""
    return int.from_bytes(hashlib.sha256(os.fsencode(state.resolve())).digest()[:2], "big") % _BLOCKS


def _lock(path: Path, *, create: bool) -> int | None:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
