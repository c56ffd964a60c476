"""The second opinion: pip-audit, as a process, about our pins, from our data.

It must never take an exit code for a verdict: the code, the JSON and the set of packages all have to fit, else there
is no opinion. It must never be given a text of the caller's, nor the caller's environment.
"""

import importlib.metadata
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
from packaging.utils import canonicalize_name

from .osv import canonical_version, is_version
from .processes import Finished, last_lines, run_tool
from .quoting import shown
from .types import Pin

_FOUND, _CLEAN = 1, 0


class Answer(NamedTuple):
    """What pip-audit says: for each (name, version) the advisories, each as the set of its ids."""

    pins: Mapping[tuple[str, str], tuple[frozenset[str], ...]]


class NoAnswer(NamedTuple):
    """Why there is no second opinion."""

    reason: str


class PipAudit:
    """pip-audit of one interpreter.

    Args:
        python: the interpreter that has it installed.
        work: a private directory for scratch files.
        timeout_seconds: how long one audit may take.
    """

    def __init__(self, *, python: Path, work: Path, timeout_seconds: float) -> None:
        self._python = python.absolute()
        self._work = work.absolute()  # it runs in a directory of its own
        self._timeout_seconds = timeout_seconds
        self._version = ""

    def version(self) -> str | NoAnswer:
        """Its version."""
        if not self._version:
            found = self._own_version() if self._python == Path(sys.executable) else self._other_version()
            if isinstance(found, NoAnswer):
                return found
            self._version = found
        return self._version

    def _own_version(self) -> str | NoAnswer:
        try:
            return importlib.metadata.version("pip-audit")
        except importlib.metadata.PackageNotFoundError:
            return NoAnswer("pip-audit is not installed")

    def _other_version(self) -> str | NoAnswer:
        program = "import importlib.metadata as m; print(m.version('pip-audit'))"
        try:
            finished = self._run(["-c", program], self._made_work())
        except OSError as error:
            return NoAnswer(f"{shown(str(self._python))} cannot be asked for pip-audit: {error.strerror}")
        version = finished.stdout.decode("utf-8", "replace").strip()
        return (
            version
            if finished.exit_code == 0 and is_version(version)
            else NoAnswer(f"{shown(str(self._python))} has no pip-audit")
        )

    def ask(self, pins: Sequence[Pin], *, url: str) -> Answer | NoAnswer:
        """What it says of these pins, asking the OSV endpoint at this address."""
        try:
            with tempfile.TemporaryDirectory(prefix="opinion-", dir=self._made_work()) as name:
                folder = Path(name)
                # rendered here: names and versions only, so that nothing in the file can take a pin out of the audit
                (folder / "pins.txt").write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins))
                finished = self._run(_arguments(folder, url), folder)
        except OSError as error:
            return NoAnswer(f"pip-audit could not be run: {error.strerror}")
        return _read_answer(finished, {(pin.name, canonical_version(pin.version)) for pin in pins})

    def _made_work(self) -> Path:
        self._work.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._work

    def _run(self, arguments: Sequence[str], folder: Path) -> Finished:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "NO_PROXY": "*",
            "PIP_CONFIG_FILE": "/dev/null",
        }
        command = [str(self._python), "-I", *arguments]
        return run_tool(command, environment=environment, folder=folder, timeout_seconds=self._timeout_seconds)


def _arguments(folder: Path, url: str) -> list[str]:
    return [
        *("-m", "pip_audit", "-r", str(folder / "pins.txt"), "--no-deps", "--disable-pip", "--strict"),
        *("-s", "osv", "--osv-url", url, "-f", "json", "--desc", "off", "--aliases", "on"),
        *("--progress-spinner", "off", "--cache-dir", str(folder / "cache"), "--timeout", "5"),
    ]


def _read_answer(finished: Finished, asked: set[tuple[str, str]]) -> Answer | NoAnswer:
    """The answer, if code, JSON and packages agree with each other and with what was asked."""
    complaint = shown(last_lines(finished.stderr), longest=300)
    if finished.exit_code is None:
        return NoAnswer("pip-audit did not finish in time")
    if finished.exit_code not in {_CLEAN, _FOUND}:
        return NoAnswer(f"pip-audit ended with code {finished.exit_code}: {complaint}")
    try:
        pins = _read_pins(orjson.loads(finished.stdout))
    except (ValueError, KeyError, TypeError):
        return NoAnswer(f"pip-audit gave no usable answer: {complaint}")
    if isinstance(pins, Answer):
        return _checked(pins, asked, found=finished.exit_code == _FOUND)
    return pins


def _checked(answer: Answer, asked: set[tuple[str, str]], *, found: bool) -> Answer | NoAnswer:
    if set(answer.pins) != asked:
        return NoAnswer("pip-audit did not audit the same packages: " + _difference(set(answer.pins), asked))
    if found != any(answer.pins.values()):
        return NoAnswer("the exit code of pip-audit contradicts its own list")
    return answer


def _read_pins(value: object) -> Answer | NoAnswer:
    if not isinstance(value, dict) or not isinstance(value["dependencies"], list):
        raise TypeError("no list of dependencies")
    pins: dict[tuple[str, str], tuple[frozenset[str], ...]] = {}
    for item in value["dependencies"]:
        name = canonicalize_name(str(item["name"]))
        if "skip_reason" in item:
            return NoAnswer(f"pip-audit skipped {shown(name)}: {shown(str(item['skip_reason']))}")
        pins[name, canonical_version(str(item["version"]))] = tuple(
            frozenset([str(found["id"]), *map(str, found["aliases"])]) for found in item["vulns"]
        )
    return Answer(pins)


def _difference(theirs: set[tuple[str, str]], ours: set[tuple[str, str]]) -> str:
    missing = sorted(f"{name}=={version}" for name, version in ours - theirs)[:5]
    added = sorted(f"{name}=={version}" for name, version in theirs - ours)[:5]
    return "; ".join(
        f"{word} {shown(', '.join(names), longest=300)}"
        for word, names in (("missing", missing), ("not asked for", added))
        if names
    )
