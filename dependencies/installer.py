"""Calls uv to put the wheels of a lock into a directory: hashes required, wheels only, nothing resolved, nothing run.

It must never give uv a file that we did not write, a configuration, a cache that somebody else could have written to,
or the caller's environment.
"""

import importlib.metadata
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import orjson

from ..errors import DependencyError
from ..redaction import Redactor
from .processes import last_lines, run_tool
from .quoting import shown
from .types import Lock

_INSTALL_SECONDS = 300.0
_ASK_SECONDS = 30.0
_PASSED_THROUGH = frozenset(
    {
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)
"""What of a given environment reaches uv: how to reach the index at all, never which index."""
_DESCRIBE = (
    "import json, platform, sys, sysconfig;"
    "print(json.dumps([sys.implementation.name, platform.python_version(), sysconfig.get_platform(),"
    " sysconfig.get_config_var('SOABI') or '', platform.libc_ver()[0]]))"
)


class Installer:
    """uv for one interpreter.

    Args:
        uv: the binary; None for the one that was installed with custody.
        python: the interpreter that will use the packages.
        index_url: the only index; None for the tool's own default.
        environment: variables for certificates and proxies; others are ignored.
    """

    def __init__(self, *, uv: Path | None, python: Path, index_url: str | None, environment: Mapping[str, str]) -> None:
        self._uv = (uv or find_uv()).absolute()
        self._python = python.absolute()
        self._index_url = index_url
        self._environment = {name: value for name, value in environment.items() if name in _PASSED_THROUGH}
        self._tool = ""
        self._tag: tuple[str, ...] = ()

    def tool(self, folder: Path) -> str:
        """`uv` with its version; scratch in the given directory."""
        if not self._tool:
            words = self._ask([str(self._uv), "--version"], folder).split()
            if len(words) < 2 or words[0] != "uv":  # noqa: PLR2004 - because the first two words are name and version
                raise DependencyError(f"{shown(str(self._uv))} is not uv", hint="install uv, or configure its path")
            self._tool = f"uv {words[1]}"
        return self._tool

    def interpreter(self, folder: Path) -> tuple[str, ...]:
        """What decides which wheels fit: implementation, version, platform, binary interface, C library."""
        if not self._tag:
            answer = self._ask([str(self._python), "-I", "-S", "-c", _DESCRIBE], folder)
            self._tag = tuple(map(str, orjson.loads(answer)))
        return self._tag

    def install(self, lock: Lock, target: Path, scratch: Path) -> None:
        """Puts the packages of the lock into the target directory.

        The cache is new and goes with the scratch directory: uv checks hashes when it downloads, not when it reuses.

        Raises:
            DependencyError: uv could not, with its reason.
        """
        requirements = scratch / "requirements.txt"
        requirements.write_text(lock.text)
        arguments = [
            *(str(self._uv), "pip", "install", "--no-config", "--quiet", "--no-progress", "--color", "never"),
            *("--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-python-downloads"),
            *("--link-mode", "copy", "--cache-dir", str(scratch / "cache"), "--keyring-provider", "disabled"),
            *("--python", str(self._python), "--target", str(target), "-r", str(requirements)),
        ]
        if self._index_url is not None:
            arguments += ["--default-index", self._index_url]
        finished = run_tool(
            arguments, environment=self._scrubbed(scratch), folder=scratch, timeout_seconds=_INSTALL_SECONDS
        )
        if finished.exit_code is None:
            raise DependencyError("uv did not finish in time", hint="look at the connection to the package index")
        if finished.exit_code != 0:
            reason = Redactor().redact_text(last_lines(finished.stderr, count=6))
            raise DependencyError(
                f"the packages of the lock could not be installed: {shown(reason, longest=600)}",
                hint="make the lock anew from the index that custody uses; only wheels are taken, and every hash has to fit",
            )

    def _scrubbed(self, folder: Path) -> dict[str, str]:
        ours = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "UV_NO_CONFIG": "1",
        }
        return {**self._environment, **ours}

    def _ask(self, arguments: list[str], folder: Path) -> str:
        hint = "install the requirements of custody anew"
        try:
            finished = run_tool(
                arguments, environment=self._scrubbed(folder), folder=folder, timeout_seconds=_ASK_SECONDS
            )
        except OSError as error:
            raise DependencyError(f"{shown(arguments[0])} cannot be started: {error.strerror}", hint=hint) from error
        if finished.exit_code != 0:
            raise DependencyError(f"{shown(arguments[0])} does not answer", hint=hint)
        return finished.stdout.decode("utf-8", "replace")


def find_uv() -> Path:
    """The uv binary that came with the package `uv` in this interpreter, wherever PATH points.

    Raises:
        DependencyError: there is none.
    """
    try:
        installed = importlib.metadata.files("uv") or []
    except importlib.metadata.PackageNotFoundError:
        installed = []
    binaries = [Path(str(file.locate())) for file in installed if file.name == "uv" and file.parent.name == "bin"]
    places = [*binaries, Path(sysconfig.get_path("scripts"), "uv")]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise DependencyError("uv is not installed", hint="install the requirements of custody anew")
