"""Names that a program chose are shown by one rule: in one line, without a character that acts, and each cut is marked."""

import os

import pytest

from custody.sandbox.names import shown, told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"plain", "plain"),
        ("é".encode(), "é"),
        (b"a\xffb", r"a\xffb"),
        (b"a\nb\x1b[0m", r"a\nb\x1b[0m"),
        ("\u202ecod.exe".encode(), r"\u202ecod.exe"),
        (b"x" * 400, "x" * 400),
        (b"x" * 401, "x" * 400 + "…"),
    ],
)
def test_bytes_and_what_python_makes_of_them_are_shown_alike(name: bytes, expected: str) -> None:
    assert shown(name) == expected
    assert shown(os.fsdecode(name)) == expected


def test_what_the_interpreter_wrote_of_a_byte_is_shown_like_the_byte() -> None:
    written = "a\udcffb".encode("utf-8", "backslashreplace")
    assert told(written) == shown(b"a\xffb") == told(rb"a\xffb")
    assert told(b"\xe2\x80\xaeb") == r"\u202eb"
