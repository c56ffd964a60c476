"""A clean environment with the wheel and its locked requirements, and the README played in it once."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from custody.settings import load_settings

from .newcomer import Done, Newcomer, Step, steps_of

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

SUDO = """\
#!/bin/sh
# what sudo does that custody looks at: it says who called
SUDO_UID="$CALLER" exec "$@"
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of an environment that has the wheel and what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).parent / "uv"
    index = load_settings(folder).index_url
    environment = dict(os.environ) | ({"UV_DEFAULT_INDEX": index} if index else {})
    place = folder / "clean"

    def call(*command: str | Path) -> None:
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)

    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (wheel,) = folder.glob("*.whl")
    call(uv, "venv", "--quiet", "--python", sys.executable, place)
    install = (uv, "pip", "install", "--quiet", "--python", place / "bin" / "python", "--no-deps")
    call(*install, "--require-hashes", "-r", ROOT / "requirements" / "run.txt")
    call(*install, wheel)
    return place / "bin"


@pytest.fixture(scope="session")
def newcomer(installed: Path) -> Iterator[Newcomer]:
    """Somebody with a fresh home in a directory that holds the two things which the README says one has: examples/ and all.zip.

    Other logins reach the directory, as they do on a machine with several users; the folder of pytest is for its user only.
    """
    place = Path(tempfile.mkdtemp(prefix="custody-newcomer-"))
    place.chmod(0o755)
    home, folder, tools = place / "home", place / "here", place / "tools"
    for made in (home, folder, tools):
        made.mkdir(mode=0o700 if made == home else 0o755)
    (tools / "sudo").write_text(SUDO, encoding="utf-8")
    (tools / "sudo").chmod(0o755)
    shutil.copytree(ROOT / "examples", folder / "examples")
    write_advisories(folder / "all.zip")
    settings = load_settings(home)
    environment = {
        "PATH": f"{installed}:{tools}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        **settings.network_environment,
        **({"UV_DEFAULT_INDEX": settings.index_url} if settings.index_url else {}),
    }
    yield Newcomer(folder, environment)
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def played(newcomer: Newcomer) -> Mapping[int, Done]:
    """What came of each command of the README, in its order; those of other logins need root, because sudo is believed only there."""
    return {number: newcomer.do(step) for number, step in enumerate(steps_of(README)) if playable(step)}


def playable(step: Step) -> bool:
    """Whether this user can type it."""
    return not step.login or os.geteuid() == 0


def write_advisories(path: Path) -> None:
    """Two records about nothing that the README uses, changed yesterday, in the form that the OSV project publishes."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("GHSA-aaaa-bbbb-cccc", "GHSA-dddd-eeee-ffff"):
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}]
            package = {"ecosystem": "PyPI", "name": f"example-{name[-4:]}"}
            record = {
                "schema_version": "1.6.0",
                "id": name,
                "modified": yesterday,
                "published": yesterday,
                "summary": "made for a test",
                "affected": [{"package": package, "ranges": ranges, "versions": ["1.0"]}],
            }
            archive.writestr(f"{name}.json", json.dumps(record))
