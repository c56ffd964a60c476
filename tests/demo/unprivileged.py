"""An interpreter, the packages and the source, where an unprivileged user can read them.

The checkout and its virtual environment often lie under a home that only root may enter.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from custody.settings import load_settings

__all__ = ["as_user"]

ROOT = Path(__file__).resolve().parents[2]
UID = 1_900_000_000 + os.getpid()
"""Of nobody else on this machine, another run of these tests included: the kernel counts some limits by user."""
_CANDIDATES = ("/usr/bin/python3", "/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13")


@contextmanager
def as_user() -> Iterator[dict[str, object]]:
    """What the demo told another user, who has no rights on this machine but his own."""
    # not below pytest's own directory, which only its user may enter
    place = Path(tempfile.mkdtemp(prefix="custody-demo-", dir="/tmp"))
    try:
        place.chmod(0o755)
        ours = place / "theirs"
        ours.mkdir(mode=0o700)
        os.chown(ours, UID, UID)
        shutil.copytree(ROOT / "custody", place / "custody", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("telling.py"), place / "telling.py")
        done = subprocess.run(
            [_interpreter(place), str(place / "telling.py"), str(ours / "demo"), f"uid-{UID}"],
            user=UID,
            group=UID,
            extra_groups=[],
            cwd=ours,
            env=_environment(place, ours),
            stdout=subprocess.PIPE,
            check=True,
            timeout=180,
        )
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        yield told
    finally:
        shutil.rmtree(place)


def _environment(place: Path, ours: Path) -> dict[str, str]:
    settings = load_settings(place)
    index = {} if settings.index_url is None else {"CUSTODY_DEPENDENCIES__INDEX_URL": settings.index_url}
    return {
        **settings.network_environment,
        **index,
        "PATH": "/usr/bin:/bin",
        "HOME": str(ours),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(place),
        "PYTHONPYCACHEPREFIX": str(ours / "bytecode"),
    }


def _interpreter(place: Path) -> str:
    if _starts(sys.executable, "import sqlalchemy, typer"):
        return sys.executable
    base = next((candidate for candidate in _CANDIDATES if _starts(candidate, "import venv")), None)
    if base is None:
        pytest.skip(
            "no Python of 3.11 or later that an unprivileged user can start: install python3 outside root's home"
        )
    uv = str(Path(sys.executable).with_name("uv"))
    index = load_settings(place).index_url
    wanted = ["--quiet", *(["--default-index", index] if index else [])]
    python = str(place / "venv" / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", base, str(place / "venv")], check=True)
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            *wanted,
            "--python",
            python,
            "--require-hashes",
            "-r",
            str(ROOT / "requirements" / "run.txt"),
        ],
        check=True,
    )
    return python


def _starts(python: str, statement: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", f"import sys; {statement}; sys.exit(sys.version_info < (3, 11))"],
            user=UID,
            group=UID,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
