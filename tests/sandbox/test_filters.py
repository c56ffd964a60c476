"""The filters as nsjail is given them are the filters as they are written: the kernel is asked what it was handed."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from custody.errors import SandboxError
from custody.sandbox.binary import find_nsjail
from custody.sandbox.filters import SECCOMP, filter_text, numbered
from custody.sandbox.spec import NAMESPACES, quote

FILTERS = sorted(path.stem for path in SECCOMP.glob("*.kafel"))
ATTACH, GET_FILTER, DETACH = 16, 0x420C, 17
INSTRUCTION = 8


@pytest.mark.parametrize("name", FILTERS)
def test_every_call_is_given_by_its_number_and_conditions_stay(name: str) -> None:
    text = filter_text(name)
    assert "//" not in text
    assert "SYSCALL[56](flags) { (flags & CLONE_NAMESPACES_AND_UNTRACED) != 0 }" in text
    assert re.search(r"\b(read|newfstat|clone|ptrace)\b", text) is None
    assert text.splitlines()[-1] == (SECCOMP / f"{name}.kafel").read_text().strip().splitlines()[-1]


def test_a_call_that_the_kernel_does_not_have_is_an_error() -> None:
    with pytest.raises(SandboxError, match="no call of this kernel"):
        numbered("POLICY p {\nALLOW {\nread, make_coffee\n}\n}")


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel shows a filter to root alone")
@pytest.mark.parametrize("name", FILTERS)
def test_the_kernel_is_handed_the_same_program_by_number_and_by_name(name: str, tmp_path: Path) -> None:
    by_number = compiled(filter_text(name), tmp_path)
    assert by_number == compiled((SECCOMP / f"{name}.kafel").read_text(), tmp_path)
    assert by_number != compiled(filter_text(name).replace("SYSCALL[39]", "SYSCALL[500]", 1), tmp_path)
    assert len(by_number) > 100 * INSTRUCTION


def compiled(text: str, folder: Path) -> bytes:
    """What nsjail makes of a filter: it becomes `cat` under that filter, which waits for an input that does not come."""
    lines = [f"clone_new{name}: false" for name in NAMESPACES] + [
        f"seccomp_string: {quote(line)}" for line in text.splitlines()
    ]
    (folder / "jail.cfg").write_text("\n".join(["mode: EXECVE", "keep_caps: true", "mount_proc: false", *lines]))
    command = [str(find_nsjail(None).path), "-C", str(folder / "jail.cfg"), "--", "/usr/bin/cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"x")
            process.stdin.flush()
            assert process.stdout.read(1) == b"x"  # it is `cat` by now
            return filter_of(process.pid)
        finally:
            process.kill()


def filter_of(process: int) -> bytes:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long
    assert libc.ptrace(ATTACH, process, None, None) == 0
    os.waitpid(process, 0)
    count = libc.ptrace(GET_FILTER, process, None, None)
    assert count > 0, os.strerror(ctypes.get_errno())
    program = ctypes.create_string_buffer(INSTRUCTION * count)
    assert libc.ptrace(GET_FILTER, process, None, ctypes.cast(program, ctypes.c_void_p)) == count
    assert libc.ptrace(DETACH, process, None, None) == 0
    return program.raw
