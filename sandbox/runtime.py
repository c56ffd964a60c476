"""What an interpreter needs to be mounted in the jail, asked of the interpreter itself.

It must never mount more than the interpreter, its standard library and the machine's shared libraries.
"""

import functools
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..errors import SandboxError
from .spec import Bind, Link, MountPoint, Tmpfs
from .types import Language

__all__ = [
    "FIRST",
    "PYTHON",
    "SHELL",
    "SITE",
    "Runtime",
    "known_languages",
    "language_mounts",
    "never_mounted",
    "probe_python",
    "runtime_mounts",
]

SITE = "/environment"
"""Where the packages of a run are mounted."""

FIRST = Path(__file__).parent / "inside" / "first.py"

_PROBE = """
import json, marshal, os, sys, sysconfig
import _ctypes, select
maps = sorted({line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if line.count("/")})
paths = sysconfig.get_paths()
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": list(sys.version_info[:3]),
    "standard": sorted({os.path.realpath(os.path.dirname(os.__file__)), paths["stdlib"], paths["platstdlib"]}),
    "mapped": maps,
    "extensions": [getattr(module, "__file__", "") for module in (_ctypes, select)],
    "first": marshal.dumps(compile(sys.stdin.buffer.read(), "first.py", "exec", optimize=2)).hex(),
}))
"""

_LIBRARY_DIRECTORIES = (
    "/lib", "/lib64", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu",
)  # fmt: skip
"""Shared libraries lie in these; a link among them is made again as a link."""

_PLAIN_FILES = ("/etc/ld.so.cache", "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8")
_STARTS_BY_NAME = ("/usr/bin/python3", "/usr/bin/python")
_PROBE_SECONDS = 30
_NEVER_MOUNTED = ("/", "/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/var")  # noqa: S108 - names to refuse
_NEVER_BELOW = ("/dev", "/proc", "/run", "/sys")


PYTHON = "python"
SHELL = "bash"
_OWN = (
    Language(name=PYTHON, suffix=".py"),
    Language(name=SHELL, binary=Path("/usr/bin/bash"), arguments=("--noprofile", "--norc"), suffix=".sh"),
    # without its compiler, which wants memory that is both writable and executable
    Language(
        name="node",
        binary=Path("/usr/bin/node"),
        arguments=("--jitless",),
        binds=(Path("/usr/share/nodejs"),),
        suffix=".js",
    ),
)


def known_languages(declared: tuple[Language, ...] = ()) -> dict[str, Language]:
    """Every language by name, ours and the declared ones.

    Raises:
        SandboxError: a declared one cannot be.
    """
    known = {language.name: language for language in _OWN}
    for language in declared:
        reason = ""
        if language.name in known:
            reason = "there is one of that name"
        elif not re.fullmatch(r"[a-z][a-z0-9_+-]{0,30}", language.name):
            reason = "its name is not a short lower-case word"
        elif language.binary is None or any(not path.is_absolute() for path in (language.binary, *language.binds)):
            reason = "its binary and binds need absolute paths"
        elif any(never_mounted(path) for path in (language.binary, *language.binds)):
            reason = "one of its paths is never mounted"
        if reason:
            raise SandboxError(
                f"the runtime `{language.name[:40]}` cannot be used: {reason}", hint="correct it in custody.toml"
            )
        known[language.name] = language
    return known


def never_mounted(path: Path) -> bool:
    """Whether this place of the host is kept out of every jail, whoever asks."""
    return str(path) in _NEVER_MOUNTED or any(path.is_relative_to(place) for place in _NEVER_BELOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One interpreter as it lies on this machine."""

    executable: Path
    version: tuple[int, ...]
    standard: tuple[Path, ...]
    """Directories of the standard library, none inside another."""
    libraries: tuple[Path, ...]
    """Shared libraries outside the machine's library directories."""
    extensions: tuple[str, ...]
    """Files of `_ctypes` and `select`, empty where they are built in."""
    first: bytes
    """The trusted first process, compiled by this interpreter: on the way of every start that is a quarter of its time."""

    @property
    def quiet(self) -> tuple[str, ...]:
        """Prefixes under which opening a file is the interpreter's own business."""
        return (*(f"{path}/" for path in self.standard), f"{SITE}/")


def probe_python(python: Path) -> Runtime:
    """Asks an interpreter (also a shim or the link of a virtual environment) where its parts lie."""
    try:
        answer = subprocess.run(
            [str(python), "-I", "-S", "-c", _PROBE],
            check=True,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            input=FIRST.read_bytes(),
            cwd="/",
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SandboxError(
            f"the interpreter `{python}` does not answer: {error}", hint="name another with the setting `python`"
        ) from error
    standard = [Path(p) for p in facts["standard"] if Path(p).is_dir()]
    return Runtime(
        executable=Path(facts["executable"]),
        version=tuple(facts["version"]),
        standard=tuple(p for p in standard if not any(p != other and p.is_relative_to(other) for other in standard)),
        libraries=tuple(
            Path(name)
            for name in facts["mapped"]
            if ".so" in Path(name).name
            and not name.startswith(("/usr/lib", "/lib"))
            and not any(Path(name).is_relative_to(s) for s in standard)
        ),
        extensions=tuple(facts["extensions"]),
        first=bytes.fromhex(facts["first"]),
    )


@functools.lru_cache(maxsize=16)
def runtime_mounts(runtime: Runtime) -> tuple[MountPoint, ...]:
    """Read-only mounts of the interpreter at its own paths, packages of its site directories hidden."""
    mounts: list[MountPoint] = list(_library_mounts())
    mounts += [Bind(Path(name), name) for name in _PLAIN_FILES if Path(name).exists()]
    mounts += [
        Bind(path, str(path), executable=True) for path in (*runtime.standard, *runtime.libraries, runtime.executable)
    ]
    for path in runtime.standard:
        for name in ("site-packages", "dist-packages"):
            if (path / name).is_dir():
                mounts.append(Tmpfs(f"{path}/{name}", size_bytes=4096, inodes=1, mode=0o755, writable=False))
    mounts += [Link(name, str(runtime.executable)) for name in _STARTS_BY_NAME if name != str(runtime.executable)]
    return tuple(mounts)


def language_mounts(language: Language) -> tuple[MountPoint, ...]:
    """Read-only mounts of another language's interpreter."""
    paths = (*((language.binary,) if language.binary is not None else ()), *language.binds)
    return tuple(Bind(path.resolve(), str(path), executable=True) for path in paths if path.exists())


def _library_mounts() -> list[MountPoint]:
    mounts: list[MountPoint] = []
    for name in _LIBRARY_DIRECTORIES:
        path = Path(name)
        if path.is_symlink():
            mounts.append(Link(name, str(path.readlink())))
        elif path.is_dir() and path.resolve() == path and not _holds_others(name):
            mounts.append(Bind(path, name, executable=True))
    return mounts


def _holds_others(name: str) -> bool:
    return any(other.startswith(f"{name}/") and Path(other).is_dir() for other in _LIBRARY_DIRECTORIES)
