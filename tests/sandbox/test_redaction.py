"""Content that does not hold the sign of a kind of secret is not searched for it: that must never miss one."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.redaction import SECRET_KINDS, SIGNS, Redactor, secret_kinds_in


def test_every_kind_has_its_signs() -> None:
    assert SIGNS.keys() == SECRET_KINDS.keys()
    assert all(SIGNS.values())


@pytest.mark.parametrize("kind", SECRET_KINDS)
def test_whatever_matches_a_kind_holds_one_of_its_signs(kind: str) -> None:
    @settings(max_examples=50, deadline=None)
    @given(st.from_regex(SECRET_KINDS[kind]))
    def check(content: bytes) -> None:
        assert any(sign in content for sign in SIGNS[kind])
        assert kind in secret_kinds_in(content)
        assert Redactor().redact(content).count >= 1

    check()


KEY = b"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMHcC+/=\n-----END EC PRIVATE KEY-----"
CUT_SHORT = b"-----BEGIN PRIVATE KEY-----\nMIIEvQ\n"


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (KEY + b"\n" + KEY, b"[redacted:private_key]\n[redacted:private_key]"),
        (CUT_SHORT, b"[redacted:private_key]"),
        (CUT_SHORT + KEY, b"[redacted:private_key][redacted:private_key]"),
        (CUT_SHORT + b"-----BEGIN CERTIFICATE-----", b"[redacted:private_key]-----BEGIN CERTIFICATE-----"),
        (CUT_SHORT + b"{}", CUT_SHORT + b"{}"),
    ],
)
def test_private_keys_end_where_anything_else_begins(content: bytes, left: bytes) -> None:
    assert Redactor().redact(content).content == left


HOSTILE = """
import resource
from custody.redaction import Redactor
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for unit in (b"-----BEGIN PRIVATE KEY-----\\n", b"-----BEGIN PRIVATE KEY-----A", b"://a:", b"eyJ.", b"sk-", b"-----BEGIN "):
    Redactor().redact(unit * ((4 << 20) // len(unit)))
print("done")
"""


def test_no_content_makes_the_search_slow() -> None:
    """Its processor time is limited: what looks like a thousand beginnings of a key took a minute for each four MiB."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE], capture_output=True, check=False, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
