"""The reader process: limited, replaced, and never able to take the asker with it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from custody.policies import reader_process
from custody.policies.reader_process import ReaderProcess

READER = Path(reader_process.__file__).with_name("code_reader.py")


def pid_of(reader: ReaderProcess) -> int:
    assert reader._process is not None
    return reader._process.pid


def test_one_process_reads_many_programs() -> None:
    with ReaderProcess() as reader:
        assert reader.read(b"import socket").flags == ("network",)
        first = pid_of(reader)
        assert reader.read(b"import ctypes").flags == ("native",)
        assert pid_of(reader) == first


def test_it_is_gone_after_the_context() -> None:
    with ReaderProcess() as reader:
        reader.read(b"")
        pid = pid_of(reader)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_is_replaced_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_process, "_RECYCLE", 2)
    with ReaderProcess() as reader:
        pids = []
        for _ in range(4):
            reader.read(b"")
            pids.append(pid_of(reader))
        assert pids[0] == pids[1] != pids[2] == pids[3]


def test_a_dead_reader_is_replaced_and_the_program_read() -> None:
    with ReaderProcess() as reader:
        reader.read(b"")
        os.kill(pid_of(reader), 9)
        assert reader.read(b"import socket").flags == ("network",)


def other_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    path = tmp_path / "reader.py"
    path.write_text(f"import sys, os, time\n{text}\n")
    monkeypatch.setattr(reader_process, "_READER", path)


ODD = {
    "ends at once": ("", "ended without an answer"),
    "ends after reading": ("sys.stdin.buffer.read(4)", "ended without an answer"),
    "says nothing": ("sys.stdin.buffer.read(); time.sleep(60)", "took too long"),
    "never reads": ("time.sleep(60)", "took too long"),
    "answers half": (
        "sys.stdout.buffer.write(b'\\0\\0\\0\\x09{'); sys.stdout.flush(); time.sleep(60)",
        "took too long",
    ),
    "promises too much": ("sys.stdout.buffer.write(b'\\x7f\\0\\0\\0'); sys.stdout.flush(); time.sleep(60)", "too long"),
    "is not JSON": ("sys.stdin.buffer.read(1_000_004); sys.stdout.buffer.write(b'\\0\\0\\0\\1{')", "made no sense"),
    "says more than it may": (
        (
            "sys.stdin.buffer.read(1_000_004); import json; a = json.dumps(dict(parsed=True, error='', imports=[], flags=['X; rm'], hosts=[], paths=[], "
            "evidence=[])).encode(); sys.stdout.buffer.write(len(a).to_bytes(4, 'big') + a)"
        ),
        "made no sense",
    ),
}


@pytest.mark.parametrize(("text", "error"), ODD.values(), ids=ODD.keys())
def test_an_odd_reader_gives_not_parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, error: str) -> None:
    other_reader(monkeypatch, tmp_path, text)
    # whoever is to be given up on is given up on soon; the others get the time that a loaded machine takes to start them
    with ReaderProcess(seconds=1.0 if error == "took too long" else 60.0) as reader:
        seen = reader.read(b"x" * 1_000_000)
    assert not seen.parsed
    assert error in seen.error
    assert seen.flags == ()


def test_a_missing_interpreter_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with ReaderProcess() as reader:
        assert "could not be started" in reader.read(b"").error


def test_it_sees_no_environment_and_opens_nothing() -> None:
    """Its limits are set by itself before the first byte is read."""
    with ReaderProcess() as reader:
        reader.read(b"")
        proc = Path(f"/proc/{pid_of(reader)}")
        assert proc.joinpath("environ").read_bytes() == b""
        limits = proc.joinpath("limits").read_text()
        assert len(list(proc.joinpath("fd").iterdir())) == 3
        owners = {
            line.split()[0]: line.split()[1:]
            for line in proc.joinpath("status").read_text().splitlines()
            if ":" in line
        }
    uid = "65534" if os.geteuid() == 0 else str(os.geteuid())
    assert owners["Uid:"] == [uid] * 4
    assert int(owners["CapEff:"][0], 16) == 0 or os.geteuid() != 0
    found = {line[:26].strip(): line[26:].split() for line in limits.splitlines()[1:]}
    assert found["Max open files"][:2] == ["3", "3"]
    assert found["Max file size"][:2] == ["0", "0"]
    assert found["Max processes"][:2] == ["0", "0"]
    assert found["Max address space"][0] == str(1024**3)


def test_two_threads_get_their_own_answers() -> None:
    with ReaderProcess() as reader:
        wrong: list[str] = []

        def ask(module: str, flag: str) -> None:
            wrong.extend(module for _ in range(20) if reader.read(f"import {module}".encode()).flags != (flag,))

        threads = [threading.Thread(target=ask, args=pair) for pair in (("socket", "network"), ("ctypes", "native"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_the_reader_imports_nothing_of_ours() -> None:
    """It runs without site-packages: an import of ours would fail, and every program would count as not parsed."""
    code = "import ast, sys; t = ast.parse(open(sys.argv[1]).read()); print(*{n.module if isinstance(n, ast.ImportFrom) else a.name for n in ast.walk(t) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names})"
    names = subprocess.run(
        [sys.executable, "-I", "-c", code, str(READER)], capture_output=True, check=True, text=True
    ).stdout.split()
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_frame_that_is_too_large_ends_the_reader() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(READER)],
        input=b"\xff\xff\xff\xff" + b"x" * 100,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
