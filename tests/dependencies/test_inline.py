"""Inline script metadata, and whether a lock gives what a program declares."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.dependencies import check_declared, parse_requirements, read_inline
from custody.dependencies.types import InlineMetadata, Lock
from custody.errors import UsageError

_BLOCK = b"""#!/usr/bin/env python
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "tabulate>=0.9",
#   "Python_Dateutil<3",
# ]
# ///
import tabulate
"""


def _lock(*pins: str) -> Lock:
    digest = hashlib.sha256(b"").hexdigest()
    return parse_requirements("".join(f"{pin} --hash=sha256:{digest}\n" for pin in pins).encode(), name="lock")


def test_a_block_says_what_the_program_needs() -> None:
    expected = InlineMetadata(dependencies=("tabulate>=0.9", "Python_Dateutil<3"), requires_python=">=3.11")
    assert read_inline(_BLOCK) == expected
    assert read_inline(_BLOCK.replace(b"\n", b"\r\n")) == expected
    assert read_inline(_BLOCK.replace(b"\n", b"\r")) == expected


@pytest.mark.parametrize(
    "code", [b"", b"print(1)", b"# // script", b"x = '# /// script'", b"# /// other\n# a = 1\n# ///\n"]
)
def test_a_program_without_a_block_declares_nothing(code: bytes) -> None:
    assert read_inline(code) is None


def test_the_last_closing_line_of_a_run_of_comments_closes() -> None:
    code = b'# /// script\n# dependencies = []\n#\n# ///\n# requires-python = ">=3"\n# ///\n'
    with pytest.raises(UsageError, match="is not TOML"):
        read_inline(code)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"# /// script\n# dependencies = [\n# ///\n", "is not TOML"),
        (b"# /// script\n# dependencies = " + b"[" * 5000 + b"\n# ///\n", "is not TOML"),
        (b"# /// script\n# x = " + b"9" * 5000 + b"\n# ///\n", "is not TOML"),
        (b"# /// script\n# a = '\xff'\n# ///\n", "is not TOML"),
        (b"# /// script\n# [tool.uv]\n# index-url = 'http://evil.invalid'\n# ///\n", "may not set `tool`"),
        (b"# /// script\n# entry = 1\n# ///\n", "may not set `entry`"),
        (b"# /// script\n# dependencies = 'six'\n# ///\n", "must be a list"),
        (b"# /// script\n# dependencies = [1]\n# ///\n", "must be a list of texts"),
        (b"# /// script\n# dependencies = ['six @ https://evil.invalid/x.whl']\n# ///\n", "an address is not taken"),
        (b"# /// script\n# dependencies = ['-r other.txt']\n# ///\n", "not a requirement"),
        (b"# /// script\n# requires-python = 3\n# ///\n", "must be a short text"),
        (b"# /// script\n# requires-python = 'new'\n# ///\n", "is not a version specifier"),
        (b"# /// script\n# dependencies = []\nprint(1)\n", "is not closed"),
        (b"# /// script\n# ///\n\n# /// script\n# ///\n", "two inline metadata blocks"),
        (b"# /// script\n# a = '" + b"x" * 70_000 + b"'\n# ///\n", "too large"),
    ],
)
def test_a_block_that_cannot_be_taken_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_inline(block)
    assert reason in refused.value.message


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.lists(
        st.sampled_from(["# /// script", "# ///", "#", "# a = 1", "# dependencies = ['six']", "x", ""]), max_size=12
    )
)
def test_any_lines_are_metadata_nothing_or_a_usage_error(lines: list[str]) -> None:
    try:
        found = read_inline("\n".join(lines).encode())
    except UsageError:
        return
    assert found is None or found.dependencies in {(), ("six",)}


def test_declared_packages_are_direct_and_the_text_of_the_lock_stays() -> None:
    lock = _lock("python-dateutil==2.9.0.post0", "six==1.17.0", "tabulate==0.9.0")
    checked = check_declared(("tabulate>=0.9", "Python_Dateutil<3"), lock)
    assert {pin.name: pin.direct for pin in checked.pins} == {"python-dateutil": True, "six": False, "tabulate": True}
    assert checked.sha256 == lock.sha256


def test_without_declarations_every_package_counts_as_direct() -> None:
    lock = _lock("six==1.17.0")
    assert check_declared((), lock) is lock


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("attrs", "does not have the declared requirement `attrs`"),
        ("six>=2", "the lock has `six==1.17.0`, which is outside the declared `six>=2`"),
        ("six!=1.17", "outside the declared"),
        ("attrs; python_version >= '3'", "does not have the declared requirement"),
        ("attrs; os_name ~= 'posix'", "does not have the declared requirement"),
        ("six; python_version < '3'" + " or os_name == 'x'" * 50, "too long"),
        ("six @ https://evil.invalid", "an address is not taken"),
    ],
)
def test_a_lock_that_does_not_give_what_is_declared_is_refused(declared: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_declared((declared,), _lock("six==1.17.0"))
    assert reason in refused.value.message


def test_what_is_declared_for_other_machines_may_be_absent() -> None:
    assert check_declared(("pywin32; sys_platform == 'win32'", "six"), _lock("six==1.17.0")).pins[0].direct


def test_a_pinned_pre_release_may_satisfy_a_range() -> None:
    assert check_declared(("six>=1",), _lock("six==1.18rc1")).pins[0].version == "1.18rc1"


def _requiring(python: str) -> bytes:
    return f'# /// script\n# requires-python = "{python}"\n# ///\n'.encode()


@pytest.mark.parametrize("wanted", [">=3.11", ">=3.8,<4", "==3.11.*", "~=3.11.2"])
def test_an_interpreter_that_is_required_is_taken(wanted: str) -> None:
    assert read_inline(_requiring(wanted), python=lambda: "3.11.7") == InlineMetadata(
        dependencies=(), requires_python=wanted
    )


@pytest.mark.parametrize("wanted", [">=3.12", "<3.8", "!=3.11.*", "==3.11"])
def test_another_interpreter_than_the_required_one_is_refused(wanted: str) -> None:
    with pytest.raises(UsageError, match=r"the jail has Python `?3\.11\.7"):
        read_inline(_requiring(wanted), python=lambda: "3.11.7")


def test_no_interpreter_is_asked_for_its_version_if_none_is_required() -> None:
    def ask() -> str:
        raise AssertionError

    assert read_inline(b"# /// script\n# dependencies = []\n# ///\n", python=ask) is not None
