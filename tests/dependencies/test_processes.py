"""Running tools: an environment of our choosing, an end in time, and nothing left behind."""

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from custody.dependencies.processes import last_lines, run_tool


def _run(program: str, folder: Path, *, timeout_seconds: float = 30) -> tuple[int | None, bytes, bytes]:
    return run_tool(
        [sys.executable, "-I", "-c", program], environment={"A": "b"}, folder=folder, timeout_seconds=timeout_seconds
    )


def test_a_tool_sees_its_folder_and_the_given_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    exit_code, stdout, stderr = _run(
        "import os, sys; print(os.getcwd(), dict(os.environ)); print(input('?'))", tmp_path
    )
    assert exit_code == 1
    assert stdout.decode().startswith(f"{tmp_path} ")
    assert b"'A': 'b'" in stdout
    assert b"SECRET" not in stdout
    assert b"EOFError" in stderr


def test_a_tool_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    program = "import os, time; child = os.fork(); open('child' if child == 0 else 'parent', 'w').write(str(os.getpid())); time.sleep(300)"
    exit_code, _, _ = _run(program, tmp_path, timeout_seconds=5)
    assert exit_code is None
    for name in ("child", "parent"):
        assert _dies(int((tmp_path / name).read_text()), within_seconds=30)


def _dies(pid: int, *, within_seconds: float) -> bool:
    """Whether the process ends in time: a signal that was sent has not arrived yet."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within_seconds)[0])
    finally:
        os.close(process)


def test_a_signal_is_a_negative_code(tmp_path: Path) -> None:
    assert _run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", tmp_path)[0] == -signal.SIGTERM


def test_a_tool_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_tool([os.fspath(tmp_path / "absent")], environment={}, folder=tmp_path, timeout_seconds=1)


def test_the_last_lines_of_a_complaint_are_one_line() -> None:
    assert last_lines(b"a\n\nb\r\n c \n\xff\n", count=3) == "b; c; \ufffd"


def test_what_a_line_of_a_complaint_announces_follows_it() -> None:
    said = b"error: Hash mismatch for `six==1.17.0`\n\nExpected:\n  sha256:aa\n\nComputed:\n  sha256:bb\n"
    assert (
        last_lines(said, count=6) == "error: Hash mismatch for `six==1.17.0`; Expected: sha256:aa; Computed: sha256:bb"
    )
