"""Which outside uid is taken, for every home of root on this machine: one file, one byte and one lock for each uid.

The lock is the kernel's (an open file description's, fcntl(2)): it ends with its holder, however that dies. The byte says what
the last holder left: nothing known, in use, or clean. The file lies where only root can make names, so nobody else can take
a uid away. It must never hand out a uid to two runs at a time.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import SandboxError

__all__ = ["PLACES", "Claim", "claim_uid"]

PLACES = (Path("/run/custody"), Path("/var/lib/custody"))
"""The first that can be made is used; homes that see different ones are told apart by their ranges alone."""
_FIRST_UID = 0x70000000
"""Above every range that distributions, containers and systemd hand out; leases begin there."""
_NAME = "uids"
_IN_USE, _CLEAN = b"\1", b"\2"
_FLOCK = struct.Struct("@hhqqi")
"""struct flock of 64-bit Linux."""


class Claim:
    """One uid that is ours until we let go of it or die."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset

    def release(self, *, clean: bool) -> None:
        """Lets go; `clean` if nothing of this uid is alive."""
        if clean:
            os.pwrite(self._descriptor, _CLEAN, self._offset)
        os.close(self._descriptor)


def claim_uid(uid: int, processes_of: Callable[[int], list[int]], places: tuple[Path, ...] = PLACES) -> Claim | None:
    """Takes a uid for this process alone; None if another run has it, or a process that is not ours.

    Args:
        uid: the outside uid.
        processes_of: finds the living processes of a uid; asked only where the last holder did not say that it left none.
        places: directories to keep the file in, the first that works.

    Raises:
        SandboxError: there is no place to keep it.
    """
    descriptor, offset = _open(places), uid - _FIRST_UID
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))
    except OSError:
        os.close(descriptor)
        return None  # somebody else's
    if os.pread(descriptor, 1, offset) != _CLEAN and processes_of(uid):
        os.close(descriptor)
        return None
    os.pwrite(descriptor, _IN_USE, offset)
    return Claim(descriptor, offset)


def _open(places: tuple[Path, ...]) -> int:
    reason, failure = "", None
    for place in places:
        try:
            try:
                found = place.lstat()
            except FileNotFoundError:
                with suppress(FileExistsError):
                    place.mkdir(mode=0o700)
                found = place.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                reason = f"`{place}` is not ours alone"
                continue
            return os.open(place / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            reason, failure = f"`{place}`: {error.strerror}", error
    raise SandboxError(
        f"outside uids cannot be kept apart on this machine: {reason}", hint=f"let root write to `{places[0].parent}`"
    ) from failure
