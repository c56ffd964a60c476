"""Builds the specification of one jail, and the bytes that its first process is sent.

It must never mount /run, or the host's /tmp, /var or /srv, and never anything that the grant does not name beyond the
interpreter, the machine's shared libraries and the run's environment.
"""

import functools
import hashlib
import marshal
from pathlib import Path

from ..policies.types import Access, Grant
from .filters import filter_text
from .runtime import SITE, Runtime, language_mounts, runtime_mounts
from .spec import Bind, Content, JailSpec, Link, MountPoint, Proc, Rlimits, Tmpfs
from .types import Job, Language

__all__ = ["build_payload", "build_spec", "first_command"]

_LOADER = """
import marshal, posix, sys
left, parts = int(sys.argv[1]), []
while left:
    part = posix.read(int(sys.argv[-3]), left)
    if not part:
        posix._exit(71)
    parts.append(part)
    left -= len(part)
exec(marshal.loads(b"".join(parts)))
"""
"""Reads the first process from the control pipe: nsjail would take half a millisecond to read it in its configuration."""
_MIB = 1024 * 1024
_BACKSTOP_SECONDS = 10
_OWN_PROCESSES = 4
_SHELL = (
    "bash", "cat", "cp", "date", "echo", "env", "grep", "head", "ls", "mkdir", "mv", "rm", "sed", "sh", "sleep", "sort", "tail", "tr",
    "uname", "wc",
)  # fmt: skip
_ALWAYS: tuple[MountPoint, ...] = (
    Content("/etc/passwd", b"root:x:0:0::/:/nonexistent\nagent:x:1000:1000::/tmp:/nonexistent\n"),
    Content("/etc/group", b"root:x:0:\nagent:x:1000:\n"),
    Content("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"),
    Content("/etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n"),
    Proc(),
    # read-only: what is written to them is taken all the same, and their times are the host's
    *(Bind(Path(node), node, device=True) for node in ("/dev/null", "/dev/zero", "/dev/urandom")),
)
_STARTUP_MODULES = ("sitecustomize", "usercustomize")

_QUIET_FOLDERS = ("/usr/lib/", "/lib/", "/usr/share/zoneinfo/", "/usr/lib64/", "/lib64/")
_OWN_FOLDERS = ("/work/", "/tmp/", "/dev/shm/")  # noqa: S108 - inside the jail
"""Where a program writes as it likes."""
_QUIET_FILES = (
    "/work", "/dev/null", "/dev/zero", "/dev/urandom", "/etc/hosts", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
    "/etc/localtime", "/etc/os-release", "/etc/mime.types", "/usr/local/etc/mime.types", "/etc/httpd/mime.types",
    "/etc/httpd/conf/mime.types", "/etc/apache/mime.types", "/etc/apache2/mime.types", "/usr/local/etc/httpd/conf/mime.types",
    "/usr/local/lib/netscape/mime.types",
)  # fmt: skip
"""What the standard library opens by itself; attempts on anything else are told, and attempts to write anywhere else."""


def build_spec(
    job: Job, grant: Grant, runtime: Runtime, language: Language, nsjail: Path, *, root: bool, grouped: bool
) -> JailSpec:
    """The jail for this job under this grant.

    Args:
        job: what is run.
        grant: what it may.
        runtime: the interpreter of the first process, and of programs in Python.
        language: what the program is written in.
        nsjail: the binary, which staging must not hide.
        root: whether sources have to be staged, because the jail's uid is not the runner's.
        grouped: whether control groups cap memory; else the address space of each process is capped.
    """
    limits = grant.limits
    return JailSpec(
        command=first_command(runtime, runtime.first),
        first=runtime.first,
        environment=_environment(job),
        mounts=_mounts(job, grant, runtime, language),
        rlimits=Rlimits(
            address_space_mib=None if grouped else limits.memory_mib,
            cpu_seconds=limits.cpu_seconds + 1,
            file_size_mib=limits.disk_mib,
            open_files=limits.open_files,
            processes=limits.processes + (_OWN_PROCESSES if grouped else 1),
        ),
        wall_seconds=limits.wall_seconds + _BACKSTOP_SECONDS,
        seccomp=filter_text(grant.seccomp),
        staged=root,
        staging=_staging(nsjail),
    )


@functools.lru_cache(maxsize=16)
def first_command(runtime: Runtime, code: bytes) -> tuple[str, ...]:
    """How the first process is started; its digest is among the words, so that equal jails have equal ones there, too."""
    words = ("-I", "-S", "-X", "utf8", "-c", _LOADER, str(len(code)), hashlib.sha256(code).hexdigest())
    return (str(runtime.executable), *words, *runtime.extensions)


def build_payload(job: Job, runtime: Runtime, language: Language) -> bytes:
    """The job as the first process reads it: length, header, then program and input files by content."""
    files = ((job.file_name, job.code), *job.files)
    header = marshal.dumps(
        {
            "file_name": job.file_name,
            "arguments": list(job.arguments),
            "command": [str(language.binary), *language.arguments] if language.binary is not None else [],
            "files": [(name, len(content)) for name, content in files],
            "sys_path": [SITE] if job.environment is not None else [],
            "quiet": [[*_QUIET_FOLDERS, *_OWN_FOLDERS, *runtime.quiet], list(_QUIET_FILES), list(_OWN_FOLDERS)],
        },
        2,
    )
    return b"".join((len(header).to_bytes(8, "big"), header, *(content for _, content in files)))


@functools.lru_cache(maxsize=16)
def _staging(nsjail: Path) -> Path:
    """Where sources are staged: /tmp, so that nsjail's own temporary root lies in memory too, unless nsjail itself is there."""
    places = [Path(name) for name in ("/tmp", "/mnt", "/media", "/opt") if Path(name).is_dir()]  # noqa: S108 - covered by an empty file system
    return next((place for place in places if not nsjail.resolve().is_relative_to(place)), places[0])


def _environment(job: Job) -> tuple[tuple[str, str], ...]:
    variables = {
        "CUSTODY_OUT": "/work/out",
        "HOME": "/tmp",  # noqa: S108 - inside the jail
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "TMPDIR": "/tmp",  # noqa: S108 - inside the jail
        "USER": "agent",
    }
    if job.environment is not None and not _has_startup_module(job.environment):
        # for interpreters that the program starts itself; a path entry, unlike a site directory, has no .pth files run
        variables["PYTHONPATH"] = SITE
    return tuple(variables.items())


def _has_startup_module(environment: Path) -> bool:
    return any(entry.name.split(".")[0] in _STARTUP_MODULES for entry in environment.iterdir())


def _mounts(job: Job, grant: Grant, runtime: Runtime, language: Language) -> tuple[MountPoint, ...]:
    size, inodes = grant.limits.disk_mib * _MIB, grant.limits.files
    mounts: list[MountPoint] = [
        # before all else: an interpreter that lies below a directory of this name on the machine is not covered by it
        Tmpfs("/dev/shm", size, inodes, mode=0o1777),  # noqa: S108 - inside the jail
        Tmpfs("/tmp", size, inodes, mode=0o1777),  # noqa: S108 - inside the jail
        Tmpfs("/work", size, inodes),
        *runtime_mounts(runtime),
        *_ALWAYS,
    ]
    if job.environment is not None:
        mounts.append(Bind(job.environment.resolve(), SITE, executable=True))
    for mount in sorted(grant.mounts):
        write = mount.access is Access.WRITE
        mounts.append(Bind(Path(mount.path), f"/mnt/{mount.target}", writable=write, owned=write, judged=True))
    shell = _shell_mounts() if grant.shell else []
    taken = {mount.target for mount in shell}
    mounts += [*(mount for mount in language_mounts(language) if mount.target not in taken), *shell]
    return tuple(mounts)


def _shell_mounts() -> list[MountPoint]:
    tools = [Path("/usr/bin") / name for name in _SHELL]
    binds: list[MountPoint] = [Bind(tool.resolve(), str(tool), executable=True) for tool in tools if tool.exists()]
    return [*binds, Link("/bin", "usr/bin")] if binds else []
