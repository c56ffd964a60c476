"""A stage for whole sessions: an empty directory, a home of its own, and the real command line in a process of its own.

It must never see the home, the settings or the secrets of whoever runs the tests.
"""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from custody.cli import main
from custody.identity import calling_user
from custody.settings import load_settings

__all__ = ["DAEMON", "NOBODY", "USER", "Ran", "Stage"]

USER = calling_user(None).os_user
"""Who runs the tests: the caller of every command that does not say otherwise."""
DAEMON, NOBODY = 1, 65534
"""Other OS users; root speaks for them through SUDO_UID."""
_BESIDE = Path(sys.executable).parent
_VOLATILE = (".lock", "-wal", "-shm", "last-signed.json")
"""Ends of the names of files that come and go while nothing happens."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command gave back."""

    exit_code: int
    stdout: str
    stderr: str

    def value(self) -> dict[str, object]:
        """Standard output, which must be exactly one JSON object."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True, slots=True)
class Stage:
    """One session's surroundings."""

    folder: Path
    bytecode: Path
    """Compiled modules, shared by all commands of a test run: compiling them costs as much as a short command."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables on top of the plain ones."""

    @property
    def home(self) -> Path:
        """$CUSTODY_HOME."""
        return self.folder / "custody"

    @property
    def work(self) -> Path:
        """The working directory, empty at first."""
        return self.folder / "work"

    def prepare(self, home: Path | None = None) -> "Stage":
        """Make the directories; with a home that is copied."""
        self.work.mkdir(parents=True)
        (self.folder / "user").mkdir()
        if home is not None:
            shutil.copytree(home, self.home, symlinks=True)
        return self

    def variables(self) -> dict[str, str]:
        """The whole environment of a command: nothing is inherited but what reaches the package index."""
        settings = load_settings(self.folder)
        index = {} if settings.index_url is None else {"CUSTODY_DEPENDENCIES__INDEX_URL": settings.index_url}
        return {
            **settings.network_environment,
            **index,
            "PATH": f"{_BESIDE}:/usr/bin:/bin",
            "HOME": str(self.folder / "user"),
            "CUSTODY_HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            **self.environment,
        }

    def run(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, stdin: bytes = b"") -> Ran:
        """Run a program in the working directory; `custody` is the real one, beside this interpreter."""
        program = str(_BESIDE / command[0]) if command[0] in {"custody", "python"} else command[0]
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.work,
            env={**self.variables(), **(environment or {})},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return Ran(done.returncode, _text(done.stdout), _text(done.stderr))

    def custody(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ran:
        """Run one command of custody."""
        return self.run(["custody", *arguments], environment=environment)

    def call(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ran:
        """Run one command of custody in this process: the same door, without the start of an interpreter."""
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        variables = {**self.variables(), **(environment or {})}
        with (
            patch.dict(os.environ, variables, clear=True),
            patch.object(sys, "argv", ["custody", *arguments]),
            chdir(self.work),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        return Ran(code, _written(stdout), _written(stderr))

    def kinds(self) -> list[str]:
        """The kind of every entry of the ledger, read from the file itself, so that the reading leaves none."""
        database = self.home / "ledger" / "ledger.sqlite"
        if not database.exists():
            return []
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            return [json.loads(leaf)["kind"] for (leaf,) in connection.execute("SELECT leaf FROM entry ORDER BY idx")]
        finally:
            connection.close()

    def files(self) -> set[str]:
        """Every file and directory of this stage but those that come and go while nothing happens."""
        found = (path for path in self.folder.rglob("*") if not path.name.endswith(_VOLATILE))
        return {str(path.relative_to(self.folder)) for path in found}


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.detach()
    assert isinstance(buffer, io.BytesIO)
    return _text(buffer.getvalue())


def _text(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")
