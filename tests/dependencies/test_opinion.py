"""What counts as an answer of pip-audit: code, JSON and packages together; tried with programs that stand in for it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.dependencies.opinion import Answer, NoAnswer, PipAudit
from custody.dependencies.types import Lock

LockOf = Callable[..., Lock]
Ask = Callable[[object, int], Answer | NoAnswer]


@pytest.fixture
def ask(tmp_path: Path, lock_of: LockOf) -> Ask:
    """Asks about `six==1.17.0` a program that says this and ends with this code."""

    def make(said: object, code: int) -> Answer | NoAnswer:
        program = tmp_path / "python"
        text = said if isinstance(said, str) else json.dumps(said)
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\necho complaint >&2\nexit {code}\n")
        program.chmod(0o755)
        opinion = PipAudit(python=program, work=tmp_path / "work", timeout_seconds=30)
        return opinion.ask(lock_of("six==1.17.0").pins, url="http://127.0.0.1:9/")

    return make


def _said(*items: dict[str, object]) -> dict[str, object]:
    return {"dependencies": list(items), "fixes": []}


_CLEAN: dict[str, object] = {"name": "six", "version": "1.17.0", "vulns": []}
_FOUND: dict[str, object] = {**_CLEAN, "vulns": [{"id": "X-1", "fix_versions": [], "aliases": ["CVE-1"]}]}


def test_a_clean_answer_with_code_0_and_a_finding_with_code_1_count(ask: Ask) -> None:
    assert ask(_said(_CLEAN), 0) == Answer({("six", "1.17.0"): ()})
    assert ask(_said(_FOUND), 1) == Answer({("six", "1.17.0"): (frozenset({"X-1", "CVE-1"}),)})


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (_said(_CLEAN), 1, "the exit code of pip-audit contradicts its own list"),
        (_said(_FOUND), 0, "the exit code of pip-audit contradicts its own list"),
        (_said(_CLEAN), 2, "pip-audit ended with code 2: `complaint`"),
        (_said(_CLEAN), 143, "pip-audit ended with code 143"),
        (_said(), 0, "pip-audit did not audit the same packages: missing `six==1.17.0`"),
        (_said(_CLEAN, {**_CLEAN, "name": "other"}), 0, "not asked for `other==1.17.0`"),
        (_said({**_CLEAN, "version": "1.16.0"}), 0, "missing `six==1.17.0`; not asked for `six==1.16.0`"),
        (_said({"name": "six", "skip_reason": "not found"}), 0, "pip-audit skipped `six`: `not found`"),
        ("No known vulnerabilities found", 0, "pip-audit gave no usable answer: `complaint`"),
        ("", 0, "pip-audit gave no usable answer"),
        ("", 1, "pip-audit gave no usable answer"),
        ([], 0, "pip-audit gave no usable answer"),
        ({"dependencies": {}}, 0, "pip-audit gave no usable answer"),
        (_said({"name": "six"}), 0, "pip-audit gave no usable answer"),
        (_said({**_CLEAN, "vulns": [{"id": "X-1"}]}), 1, "pip-audit gave no usable answer"),
    ],
)
def test_an_answer_that_does_not_fit_together_is_none(ask: Ask, said: object, code: int, reason: str) -> None:
    answer = ask(said, code)
    assert isinstance(answer, NoAnswer)
    assert reason in answer.reason


def test_its_version_is_asked_of_its_own_interpreter(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    link.chmod(0o755)
    own = PipAudit(python=Path(sys.executable), work=tmp_path / "work", timeout_seconds=30)
    other = PipAudit(python=link, work=tmp_path / "work", timeout_seconds=30)
    assert own.version() == other.version() == other.version()
