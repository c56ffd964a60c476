"""One lease for each run: a number, an outside uid of its own, and a locked file that says what belongs to it.

While the runner lives it holds the lock; what a dead runner left is found by the lock being free, and removed by what the
file names. The uid is claimed for the whole machine beside that (claims.py), so that no two homes of root share one. It must
never remove anything because of what it is called.
"""

import fcntl
import functools
import hashlib
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SandboxError
from .claims import PLACES, Claim, claim_uid
from .groups import kill_members, remove_group
from .kernel import process_start

__all__ = ["Lease", "acquire", "sweep_leases"]

_SLOTS = 256
_FIRST_UID = 0x70000000
"""Above every range that distributions, containers and systemd hand out."""
_BLOCKS = 0xFFFF
"""Homes on one machine use different ranges unless 16 bits collide; a uid that is claimed is skipped in any case."""


@dataclass(slots=True)
class Lease:
    """What one run holds; `record` before anything is made, `release` when it is gone."""

    number: int
    uid: int
    name: str
    descriptor: int
    claim: Claim | None = None
    held: dict[str, object] = field(default_factory=dict)

    def record(self, **facts: object) -> None:
        """Writes down what belongs to this run, durably enough to survive the runner."""
        self.held |= facts
        _write(self.descriptor, json.dumps(self.held).encode())

    def release(self) -> None:
        """Gives the lease back; everything it named must be gone."""
        _write(self.descriptor, b"")
        os.close(self.descriptor)
        if self.claim is not None:
            self.claim.release(clean=True)

    def abandon(self) -> None:
        """Lets go of what could not all be removed: the file still names it, and the next sweep goes on."""
        os.close(self.descriptor)
        if self.claim is not None:
            self.claim.release(clean=False)


def acquire(state: Path, *, root: bool, places: tuple[Path, ...] = PLACES) -> Lease:
    """Takes the first free lease of this state directory, after cleaning up what its last holder left.

    Args:
        state: the state directory of this home.
        root: whether the run gets an outside uid of its own.
        places: where uids are claimed for the whole machine.
    """
    folder = _folder(state)
    home = _name(state)
    block = int(home[:4], 16) % _BLOCKS
    for number in range(_SLOTS):
        uid = _FIRST_UID + block * _SLOTS + number if root else os.getuid()
        descriptor = _lock(folder / f"{number:03d}.json", create=True)
        if descriptor is None:
            continue
        _clean(descriptor, places)
        claim = None
        if root:
            try:
                claim = claim_uid(uid, _processes_of, places)
            except SandboxError:
                os.close(descriptor)
                raise
            if claim is None:
                os.close(descriptor)
                continue
        lease = Lease(number, uid, f"custody-{home[:16]}-{number:03d}", descriptor, claim)
        lease.record(boot=_boot(), runner=os.getpid(), uid=uid if root else None)
        return lease
    raise SandboxError(f"all {_SLOTS} leases are taken", hint="wait until a run has ended")


def sweep_leases(state: Path, places: tuple[Path, ...] = PLACES) -> tuple[str, ...]:
    """Removes what dead runners of this state directory left; says what it removed."""
    swept: list[str] = []
    folder = state / "leases"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        descriptor = _lock(path, create=False)
        if descriptor is not None:
            try:
                swept += _clean(descriptor, places)
            finally:
                os.close(descriptor)
    return tuple(swept)


def _clean(descriptor: int, places: tuple[Path, ...]) -> list[str]:
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
        swept += _clean_nsjail(held)
        if isinstance(uid := held.get("uid"), int):
            swept += _clean_uid(uid, places)
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


def _clean_nsjail(held: dict[str, object]) -> list[str]:
    pid, start = held.get("nsjail"), held.get("nsjail_start")
    if isinstance(pid, int) and isinstance(start, int) and process_start(pid) == start:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            return [f"process {pid}"]
    return []


def _clean_uid(uid: int, places: tuple[Path, ...]) -> list[str]:
    """Kills what runs as this uid, unless the uid is another run's by now."""
    claim = claim_uid(uid, lambda _: [], places)
    if claim is None:
        return []
    swept = []
    for other in _processes_of(uid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(other, signal.SIGKILL)
            swept.append(f"process {other}")
    claim.release(clean=not swept)  # what was killed takes a moment to die: the next holder looks
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
    folder = state / "leases"
    try:
        if not folder.is_dir():
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SandboxError(
            f"the state directory `{state}` cannot be used: {error.strerror}",
            hint="give custody a home it may write to",
        ) from error
    return folder


@functools.cache
def _name(state: Path) -> str:
    """What tells the leases of this home from those of others on the machine."""
    return hashlib.sha256(os.fsencode(state.resolve())).hexdigest()


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
    """In one write over the old content, so that a runner that is killed here has written down the one or the other."""
    if content:
        os.pwrite(descriptor, content.ljust(os.fstat(descriptor).st_size), 0)
    else:
        os.ftruncate(descriptor, 0)


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
