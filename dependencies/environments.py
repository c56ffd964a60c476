"""Built environments, stored by the digest of what went into them, checked before every use.

It must never hand out an environment whose tree is not what was built, show a half-built one, or run any code of a
package. Files that an interpreter runs by itself when it starts are refused.
"""

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from ..errors import DependencyError
from .installer import Installer
from .quoting import shown
from .tree import NotATreeError, Tree, digest_tree, remove_tree, seal_tree
from .types import Environment, Lock

_LAYOUT = 1
"""Goes into the key: raised when what is stored for the same lock changes."""
_STARTUP = re.compile(r".*\.pth|(?:site|user)customize(?:\..*)?", re.IGNORECASE)
"""Names at the top of site-packages that run when an interpreter starts."""


class EnvironmentStore:
    """Environments on disk.

    Args:
        folder: a directory of ours; made with mode 0700 when something is built.
        uv: the uv binary; None for the one that was installed with custody.
        python: the interpreter that the jail will run.
        index_url: the only index to install from; None for uv's own default.
        environment: variables for certificates and proxies (`SSL_CERT_FILE`, `HTTPS_PROXY` and their like); others are ignored.
    """

    def __init__(
        self,
        folder: Path,
        *,
        uv: Path | None,
        python: Path,
        index_url: str | None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder.absolute()  # tools run in directories of their own
        self._installer = Installer(uv=uv, python=python, index_url=index_url, environment=environment or {})

    def obtain(
        self, lock: Lock, *, on_reject: Callable[[str, str], None], allow_startup_files: bool = False
    ) -> Environment:
        """The environment of a lock: the stored one if it is still what was built, else a new one.

        Args:
            lock: what was audited.
            on_reject: told the key and the reason when a stored environment is thrown away, before anything is built.
            allow_startup_files: whether `*.pth`, `sitecustomize` and `usercustomize` were granted.

        Raises:
            DependencyError: it cannot be built, or holds startup files that were not granted.
        """
        if not lock.pins:
            raise DependencyError("a lock without packages needs no environment", hint="run without an environment")
        with self._workspace() as scratch:
            key = self._key(lock, scratch, allow_startup_files=allow_startup_files)
            with self._locked(key):
                stored = self._folder / "built" / key
                if stored.exists():
                    found = self._check(stored, key)
                    if isinstance(found, Environment):
                        return found
                    on_reject(key, found)
                with _failing_as_ours():
                    remove_tree(stored)
                    return self._build(lock, key, scratch, allow_startup_files=allow_startup_files)

    def _key(self, lock: Lock, scratch: Path, *, allow_startup_files: bool) -> str:
        parts = {
            "layout": _LAYOUT,
            "lock": lock.sha256,
            "interpreter": self._installer.interpreter(scratch),
            "tool": self._installer.tool(scratch),
            "startup": allow_startup_files,
        }
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        """A scratch directory beside the environments, so that a rename can publish what is built in it."""
        name = secrets.token_hex(8)
        building = self._folder / "building"
        unowned = building / f".{name}"
        with _failing_as_ours():
            building.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            _sweep(building)
            unowned.mkdir(mode=0o700)
            descriptor = os.open(unowned, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # locked before it gets the name under which a sweep would look at it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            scratch = unowned.rename(building / name)
        try:
            yield scratch
        finally:
            remove_tree(scratch)
            os.close(descriptor)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Whoever wants the same environment waits, and then finds it built."""
        locks = self._folder / "locks"
        with _failing_as_ours():
            locks.mkdir(mode=0o700, exist_ok=True)
            lock = (locks / key).open("wb")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _check(self, stored: Path, key: str) -> Environment | str:
        """The stored environment, or why it must not be used."""
        try:
            manifest = orjson.loads((stored / "manifest.json").read_bytes())
            tree = digest_tree(stored / "site-packages")
        except (OSError, ValueError):
            return "its manifest cannot be read"
        except NotATreeError as error:
            return str(error)
        if not isinstance(manifest, dict) or manifest.get("tree_sha256") != tree.sha256 or manifest.get("key") != key:
            return "its tree is not what was built: the digest is wrong"
        return _environment(stored, key, tree, str(manifest.get("tool")), reused=True)

    def _build(self, lock: Lock, key: str, scratch: Path, *, allow_startup_files: bool) -> Environment:
        made = scratch / "environment"
        packages = made / "site-packages"
        packages.mkdir(parents=True)
        tools = scratch / "install"
        tools.mkdir()
        self._installer.install(lock, packages, tools)
        (packages / ".lock").unlink(missing_ok=True)  # uv's own, about this installation
        if not allow_startup_files:
            _refuse_startup_files(packages)
        try:
            tree = digest_tree(packages)
            seal_tree(packages)
        except NotATreeError as error:
            raise DependencyError(
                f"the environment cannot be used: {shown(str(error))}", hint="leave that package out"
            ) from error
        tool = self._installer.tool(tools)
        manifest = {"key": key, "lock_sha256": lock.sha256, "tool": tool, "tree_sha256": tree.sha256}
        (made / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        stored = self._folder / "built" / key
        stored.parent.mkdir(mode=0o700, exist_ok=True)
        made.rename(stored)
        return _environment(stored, key, tree, tool, reused=False)


@contextmanager
def _failing_as_ours() -> Iterator[None]:
    """What the disk complains of, as an error of ours."""
    try:
        yield
    except OSError as error:
        raise DependencyError(
            f"the environments cannot be written: {error.strerror}", hint="look at their disk and their owner"
        ) from error


def _sweep(building: Path) -> None:
    """Removes what builders left that died: their directories are not locked any more."""
    for left in building.glob("[0-9a-f]*"):
        try:
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(left)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _environment(stored: Path, key: str, tree: Tree, tool: str, *, reused: bool) -> Environment:
    return Environment(
        path=stored / "site-packages",
        key=key,
        tree_sha256=tree.sha256,
        files=tree.files,
        bytes=tree.bytes,
        tool=tool,
        built_in_jail=False,
        reused=reused,
    )


def _refuse_startup_files(packages: Path) -> None:
    for path in sorted(packages.iterdir()):
        if _STARTUP.fullmatch(path.name):
            raise DependencyError(
                f"a package brings {shown(path.name)}, which runs by itself when an interpreter starts",
                hint="leave the package out, or have startup files granted",
            )
