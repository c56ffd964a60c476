"""Receiving: a request is validated, hashed and made durable before anything else happens; then `submit` is decided.

Bad input changes nothing: it is a usage error, before there is a run.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import fields
from mmap import PAGESIZE
from pathlib import Path, PurePosixPath

from ..dependencies import check_declared, parse_requirements
from ..dependencies.types import Lock
from ..errors import LedgerError, UsageError
from ..policies import read_code
from ..policies.types import Denied, Limits, MountRequest, Profile, RunRequest
from . import ending, entries
from .history import history_of
from .house import House, new_id
from .ownership import Ownership
from .passage import Conductor, Passage
from .record import Batch

__all__ = ["receive", "resolve_mounts", "validate"]

LANGUAGES = ("python", "bash", "node")
"""Beside those that the settings declare."""
_CODE_BYTES = 1024 * 1024
_FILE_BYTES = 16 * 1024 * 1024
_FILES = 30
_HOSTS = 16
_MOUNTS = 8
_NAME_BYTES = 120
_ARGUMENTS = 200
_ARGUMENT_BYTES = 64 * 1024
_TAKEN = frozenset({".", "..", "out"})
_MIB = 1024 * 1024
_LEAST_MEMORY_MIB = 16
"""Measured: CPython 3.11 starts in 8 MiB under control groups, in 16 MiB of address space without."""
_LEAST_OPEN_FILES = 8
"""Measured: 6, while the interpreter loads its libraries."""
_OWN_FILES = 4
"""Inodes that the workspace has beside the input files: itself, the program, `out`, and one that the program may make."""
_FILE_NAME = re.compile(r"[^\x00-\x1f\x7f/\\\ud800-\udfff]{1,120}")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?|\[?[0-9A-Fa-f:.]{2,45}\]?"
)
_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}")


def receive(house: House, request: RunRequest, *, conductor: Conductor) -> Passage:
    """Take a request in; the passage may already have its result.

    Raises:
        UsageError: the request cannot be understood; nothing was recorded.
        LedgerError: the ledger cannot take it; nothing runs.
    """
    house.ledger.check_reserve()
    lock = validate(house, request)
    code = read_code(request.code, language=request.language, file_name=request.file_name)
    now = house.clock()
    # counted before this very request is on record, so that it does not count itself
    history = history_of(house.ledger, house.directory, request.principal, now=now)
    run = new_id("run", now)
    ownership = Ownership.take(house.places.owners, run)
    if ownership is None:
        raise LedgerError(f"run `{run}` is already owned", hint="try again")
    passage = Passage(
        run=run,
        request=request,
        request_sha256=request.digest(),
        conductor=conductor,
        code=code,
        lock=lock,
        ownership=ownership,
    )
    try:
        _record_submission(house, passage)
    except BaseException:
        ownership.release()
        raise
    decision = house.gate.submit(
        request,
        packages=[(pin.name, pin.version) for pin in lock.pins if pin.direct],
        code=code,
        history=history,
        now=house.clock(),
        decision=new_id("dec", house.clock()),
    )
    if isinstance(decision, Denied):
        ending.deny(house, passage, decision, stage="submit")
        return passage
    batch = Batch(house, request.principal.id, run)
    batch.add(entries.decided(batch, decision.basis, stage="submit", result="allowed", profile=request.profile))
    batch.write()
    return passage


def _record_submission(house: House, passage: Passage) -> None:
    batch = Batch(house, passage.request.principal.id, passage.run)
    batch.add(
        entries.submitted(
            batch,
            passage.request,
            passage.code,
            conductor=passage.conductor,
            request_sha256=passage.request_sha256,
            lock=passage.lock,
        ),
        id=f"{passage.run}/submitted",
    )
    batch.write()


def validate(house: House, request: RunRequest) -> Lock:
    """Everything that can be refused without a policy; gives the lock."""
    _check_code(request, (*LANGUAGES, *house.settings.sandbox.runtimes))
    _check_inputs(request)
    if request.profile not in house.gate.profiles:
        known = ", ".join(f"`{name}`" for name in sorted(house.gate.profiles))
        raise UsageError(f"there is no profile `{_shown(request.profile)}`", hint=f"the profiles in force are {known}")
    _check_limits(request.limits, house.gate.profiles[request.profile])
    if len(request.hosts) > _HOSTS or len(request.mounts) > _MOUNTS:
        raise UsageError("too many hosts or mounts", hint="at most 16 hosts and 8 mounts")
    for host in request.hosts:
        if not _HOST.fullmatch(host.name) or not 1 <= host.port <= 65535:  # noqa: PLR2004 - ports of TCP
            raise UsageError(f"`{_shown(host.name)}:{host.port}` is not a host and port", hint="give it as NAME:PORT")
    _check_mounts(house, request)
    _check_room(request)
    lock = parse_requirements(request.requirements, name="requirements")
    return check_declared(request.declared, lock)


def _check_code(request: RunRequest, languages: Sequence[str]) -> None:
    if request.language not in languages:
        raise UsageError(
            f"there is no runtime for `{_shown(request.language)}`", hint=f"known are {', '.join(languages)}"
        )
    if not _is_name(request.file_name) or request.file_name in _TAKEN:
        raise UsageError(
            f"`{_shown(request.file_name)}` is not a file name for a program",
            hint="use a plain name of at most 120 bytes; `out` is for what the program leaves",
        )
    if len(request.code) > _CODE_BYTES:
        raise UsageError(
            f"`{request.file_name}` has {len(request.code)} bytes, more than 1 MiB", hint="put data into input files"
        )
    if b"\0" in request.code:
        raise UsageError(f"`{request.file_name}` holds NUL bytes", hint="a program is text; put data into input files")
    if not request.code.strip():
        raise UsageError(f"`{request.file_name}` is empty", hint="there is nothing to run")


def _check_inputs(request: RunRequest) -> None:
    if any("\0" in a or a.encode("utf-8", "replace").decode() != a for a in request.arguments):
        raise UsageError("an argument is not text", hint="arguments are UTF-8 without NUL")
    if len(request.arguments) > _ARGUMENTS or sum(len(a.encode()) + 1 for a in request.arguments) > _ARGUMENT_BYTES:
        raise UsageError("too many arguments", hint="at most 200, of 64 KiB together")
    if len(request.files) > _FILES or sum(len(f.content) for f in request.files) > _FILE_BYTES:
        raise UsageError("too many input files", hint="at most 30, of 16 MiB together")
    names = [request.file_name]
    for file in request.files:
        path = PurePosixPath(file.name)
        if path.is_absolute() or len(path.parts) != 1 or not _is_name(file.name) or file.name in _TAKEN:
            raise UsageError(
                f"`{_shown(file.name)}` is not a name for an input file", hint="use a plain name without folders"
            )
        names.append(file.name)
    if len(set(names)) != len(names):
        raise UsageError("two input files have the same name", hint="rename one; the program's own name is taken too")


def _check_mounts(house: House, request: RunRequest) -> None:
    """No part of the home is ever shown to a program, whoever asks and whatever a rule says; names in the jail are plain and differ."""
    home = Path(os.path.realpath(house.settings.home))
    for mount in request.mounts:
        path = Path(mount.path)
        if path.is_relative_to(home) or home.is_relative_to(path):
            raise UsageError(
                f"`{_shown(mount.path)}` cannot be mounted: custody's own home `{home}` is {_seen_from(path, home)}",
                hint="mount a directory that has nothing of the home",
            )
        if not _TARGET.fullmatch(mount.target):
            raise UsageError(
                f"`{_shown(mount.path)}` cannot be mounted: the last part of a path is its name in the jail, "
                f"and `{_shown(mount.target)}` is not a plain one",
                hint="mount a path whose last part has letters, digits, `_`, `-` and `.` only, and begins with none of the last two",
            )
    targets = [mount.target for mount in request.mounts]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise UsageError(
            f"two mounts would have the same name in the jail, `{_shown(twice)}`", hint="mount the directory above both"
        )


def _seen_from(path: Path, home: Path) -> str:
    if path == home:
        return "that very directory"
    return "in it" if home.is_relative_to(path) else "around it"


def _check_limits(limits: Limits, profile: Profile) -> None:
    """What is asked for has to be what the profile has; what rules lower beyond that is on record in the decision."""
    for limit in fields(limits):
        value, most = getattr(limits, limit.name), getattr(profile.caps, limit.name)
        if value < 1:
            raise UsageError(f"limit `{limit.name}` must be at least 1", hint="leave it out to get the profile's own")
        if value > most:
            raise UsageError(
                f"limit `{limit.name}` is {value}, more than the profile `{profile.name}` has",
                hint=f"ask for at most {most}, or leave it out to get the profile's own",
            )


def _check_room(request: RunRequest) -> None:
    """Limits in which the program's own files, or an interpreter at all, have no room."""
    limits = request.limits
    # the workspace holds whole pages
    size = sum(
        -(-len(content) // PAGESIZE) * PAGESIZE for content in (request.code, *(f.content for f in request.files))
    )
    if size > limits.disk_mib * _MIB:
        raise UsageError(
            f"program and input files take {size} bytes, more than the workspace of {limits.disk_mib} MiB",
            hint="ask for a higher limit `disk_mib`, or give less",
        )
    least = {"memory_mib": _LEAST_MEMORY_MIB, "open_files": _LEAST_OPEN_FILES, "files": len(request.files) + _OWN_FILES}
    for name, minimum in least.items():
        if getattr(limits, name) < minimum:
            raise UsageError(
                f"limit `{name}` is {getattr(limits, name)}, too small for this program to start",
                hint=f"ask for at least {minimum}, or leave it out to get the profile's own",
            )


def resolve_mounts(mounts: Sequence[MountRequest]) -> tuple[MountRequest, ...]:
    """Mounts by their real paths: what is judged is what is mounted.

    Raises:
        UsageError: a path does not exist.
    """
    resolved = []
    for mount in mounts:
        try:
            path = Path(mount.path).resolve(strict=True)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"`{_shown(mount.path)}` cannot be mounted: it is not there", hint="give a path that exists"
            ) from error
        resolved.append(MountRequest(str(path), mount.access, mount.target))
    return tuple(resolved)


def _is_name(name: str) -> bool:
    """Whether it is a plain name of at most 120 bytes that shows as it is."""
    return (
        name.isprintable()
        and bool(_FILE_NAME.fullmatch(name))
        and len(name.encode("utf-8", "surrogatepass")) <= _NAME_BYTES
    )


def _shown(text: str) -> str:
    """Text of a caller inside an error: one line, printable, bounded."""
    return text[:120].encode("unicode_escape").decode()
