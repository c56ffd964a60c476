"""The system-call filters as nsjail is given them: rules alone, every call by its number.

nsjail reads and compiles the filter at each start, and finds a call by its name only after all that stand before it in its
table: with numbers that takes half the time, and what comes out is the same (tests/sandbox/test_filters.py asks the kernel).

It must never change what a filter lets through.
"""

import functools
import re
from pathlib import Path

from ..errors import SandboxError
from .syscalls import syscall_number

__all__ = ["SECCOMP", "filter_text"]

SECCOMP = Path(__file__).parent / "seccomp"
_TOKEN = re.compile(r"SYSCALL\[[0-9]+\]|\w+|.")
_RULES = 2
"""Braces around a rule: of its policy, of its action."""
_KERNEL_NAMES = {
    "newstat": "stat",
    "newlstat": "lstat",
    "newfstat": "fstat",
    "newuname": "uname",
    "sendfile64": "sendfile",
}
"""Kafel calls some by the kernel's own name."""


@functools.cache
def filter_text(name: str) -> str:
    """What is in one of the files under `seccomp`, without comments and layout, which would only be read at every start."""
    lines = (SECCOMP / f"{name}.kafel").read_text(encoding="utf-8").splitlines()
    kept = [line.strip() for line in lines if line.strip() and not line.strip().startswith("//")]
    defined = [line for line in kept if line.startswith("#")]
    return "\n".join([*defined, *numbered("\n".join(line for line in kept if line not in defined)).splitlines()])


def numbered(policies: str) -> str:
    """Policies with every call that a rule names as `SYSCALL[number]`; conditions are left alone.

    Raises:
        SandboxError: a call is not known.
    """
    depth = brackets = 0
    words: list[str] = []
    for part in _TOKEN.findall(policies.replace("\n", "\0")):
        depth += (part == "{") - (part == "}")
        brackets += (part == "(") - (part == ")")
        rule = depth == _RULES and brackets == 0 and part.isidentifier()
        words.append(f"SYSCALL[{_number(part)}]" if rule else part)
    return "".join(words).replace("\0", "\n")


def _number(name: str) -> int:
    number = syscall_number(_KERNEL_NAMES.get(name, name))
    if number is None:
        raise SandboxError(
            f"a system-call filter names `{name}`, which is no call of this kernel", hint="correct the filter"
        )
    return number
