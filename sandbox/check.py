"""Judges a job and its grant before anything starts: bad input is a clear error and leaves nothing behind."""

import functools
import os
import resource
import stat
from collections.abc import Mapping
from mmap import PAGESIZE
from pathlib import Path

from ..errors import SandboxError, UsageError
from ..policies.types import Grant
from .runtime import SHELL, never_mounted
from .types import Job, Language

__all__ = ["check_job"]

_CODE_BYTES = 1024 * 1024
_NAME_BYTES = 200
_ARGUMENT_BYTES = 64 * 1024
_READ_BY_ALL = 0o005
_MIB = 1024 * 1024
_LEAST = {"memory_mib": 16, "open_files": 8}
"""In less no interpreter starts (measured: 8 MiB with control groups, 16 without; 6 files)."""
_OWN_INODES = 3
"""What the workspace holds beside the input files: itself, the program, `out`."""
_MOST = 2**31 - 1 - 60
"""What nsjail and the kernel take for every limit, with what is added to it; nothing on earth has as much."""
_ULIMITS = {"processes": (resource.RLIMIT_NPROC, 8), "open_files": (resource.RLIMIT_NOFILE, 0)}
"""What cannot be more than the runner's own hard limit, and what is added to it."""


def check_job(job: Job, grant: Grant, seccomp: Path, languages: Mapping[str, Language]) -> None:
    """Raises UsageError or SandboxError if the job cannot be what the grant is for."""
    if not grant.decision:
        raise SandboxError("a run needs a grant that carries a decision", hint="ask the policy for one")
    if grant.hosts:
        raise SandboxError("the jail has no network yet: hosts cannot be granted", hint="ask without hosts")
    _check_limits(grant)
    language = languages.get(job.language)
    if language is None:
        raise UsageError(
            f"the language `{_show(job.language)}` is not known to the jail", hint=f"known: {', '.join(languages)}"
        )
    if job.language == SHELL and not grant.shell:
        raise SandboxError("a program in bash needs a grant with a shell", hint="ask for a profile that grants one")
    if language.binary is not None and not language.binary.exists():
        raise SandboxError(
            f"the interpreter `{language.binary}` is not installed",
            hint=f"install it, or write the program in another language than {job.language}",
        )
    if grant.seccomp not in _filters(seccomp):
        raise SandboxError(
            f"there is no system-call filter `{_show(grant.seccomp)}`", hint="name one of the files in sandbox/seccomp"
        )
    _check_code(job)
    _check_files(job, grant)
    _check_arguments(job)
    _check_environment(job.environment)
    _check_mounts(grant)


@functools.cache
def _filters(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for path in folder.glob("*.kafel"))


def _check_environment(environment: Path | None) -> None:
    if environment is None:
        return
    if not environment.is_dir():
        raise SandboxError(f"the environment is not a directory: `{environment}`", hint="build it again")
    if os.geteuid() == 0 and stat.S_IMODE(environment.stat().st_mode) & _READ_BY_ALL != _READ_BY_ALL:
        raise SandboxError(
            f"the environment cannot be read by the jail's own uid: `{environment}`",
            hint="give it the mode 0755; the directories above it do not matter",
        )


def _check_limits(grant: Grant) -> None:
    for name in type(grant.limits).__dataclass_fields__:
        value = getattr(grant.limits, name)
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"the limit `{name}` is {value}", hint="every limit is a whole number of at least 1")
        if value < (least := _LEAST.get(name, 1)):
            raise UsageError(
                f"the limit `{name}` is {value}, in which no program starts", hint=f"ask for at least {least}"
            )
        if value > (most := _most(name)):
            raise UsageError(
                f"the limit `{name}` is {value}, more than this machine has for one run", hint=f"ask for at most {most}"
            )


def _most(name: str) -> int:
    if name not in _ULIMITS:
        return _MOST
    which, added = _ULIMITS[name]
    hard = resource.getrlimit(which)[1]
    return _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard - added)


def _check_code(job: Job) -> None:
    if len(job.code) > _CODE_BYTES:
        raise UsageError(
            f"the program has {len(job.code)} bytes, more than {_CODE_BYTES}", hint="pass data as input files"
        )
    if b"\0" in job.code:
        raise UsageError("the program holds NUL bytes", hint="give source text")
    if (reason := _bad_name(job.file_name)) or "/" in job.file_name:
        raise UsageError(
            f"the program's name `{_show(job.file_name)}` cannot be used: {reason or 'it names a directory'}",
            hint="give a plain file name",
        )


def _check_files(job: Job, grant: Grant) -> None:
    taken = {job.file_name}
    for name, _ in job.files:
        reason = _bad_name(name)
        parents = {str(parent) for parent in Path(name).parents} - {"."}
        if not reason and (name in taken or taken & parents):
            reason = "it is used twice"
        if reason:
            raise UsageError(
                f"the input file `{_show(name)}` cannot be used: {reason}",
                hint="names are relative, with `/`, and each is given once",
            )
        taken.add(name)
        if any(name in {str(parent) for parent in Path(other).parents} for other in taken):
            raise UsageError(
                f"the input file `{_show(name)}` cannot be used: it is also a directory", hint="give it another name"
            )
    _check_room(job, grant)


def _check_room(job: Job, grant: Grant) -> None:
    """The workspace holds whole pages, and directories count like files."""
    size = sum(
        -(-len(content) // PAGESIZE) * PAGESIZE for content in (job.code, *(content for _, content in job.files))
    )
    if size > grant.limits.disk_mib * _MIB:
        raise UsageError(
            f"the input takes {size} bytes, more than the workspace of {grant.limits.disk_mib} MiB",
            hint="ask for a higher limit `disk_mib`",
        )
    folders = {parent for name, _ in job.files for parent in Path(name).parents} - {Path()}
    needed = len(job.files) + len(folders) + _OWN_INODES
    if needed > grant.limits.files:
        raise UsageError(
            f"the input has {len(job.files)} files in {len(folders)} directories, more than the limit `files`",
            hint=f"ask for at least {needed}",
        )


def _check_arguments(job: Job) -> None:
    total = 0
    for argument in job.arguments:
        try:
            total += len(argument.encode("utf-8")) + 1
        except UnicodeEncodeError as error:
            raise UsageError("an argument is not text", hint="arguments are UTF-8") from error
        if "\0" in argument:
            raise UsageError("an argument holds a NUL", hint="leave it out")
    if total > _ARGUMENT_BYTES:
        raise UsageError(f"the arguments have more than {_ARGUMENT_BYTES} bytes", hint="pass data as input files")


def _check_mounts(grant: Grant) -> None:
    targets = [mount.target for mount in grant.mounts]
    for mount in grant.mounts:
        path = Path(mount.path)
        reason = ""
        if not path.is_absolute() or os.path.realpath(path) != str(path):
            reason = "it is not a resolved absolute path"
        elif never_mounted(path):
            reason = "this place is never mounted"
        elif not path.exists():
            reason = "it does not exist"
        elif not (stat.S_ISDIR(mode := path.stat().st_mode) or stat.S_ISREG(mode)):
            reason = "it is neither a file nor a directory"
        elif _bad_name(mount.target) or "/" in mount.target or targets.count(mount.target) > 1:
            reason = f"its target `{_show(mount.target)}` cannot be used"
        if reason:
            raise SandboxError(
                f"the mount `{_show(mount.path)}` cannot be used: {reason}", hint="ask for the path itself, resolved"
            )


def _bad_name(name: str) -> str:
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError:
        return "it is not UTF-8"
    parts = name.split("/")
    if not name or len(raw) > _NAME_BYTES or not name.isprintable() or "\\" in name:
        return f"it is empty, longer than {_NAME_BYTES} bytes, or has characters that cannot be shown"
    if any(part in {"", ".", ".."} for part in parts):
        return "it is not relative, or climbs"
    return "`out` is for what the program leaves" if parts[0] == "out" else ""


def _show(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")[:_NAME_BYTES]
