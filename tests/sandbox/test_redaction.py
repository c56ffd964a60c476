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


WHOLE = {
    "private_key": KEY,
    "aws_access_key": b"AKIAABCDEFGHIJKLMNOP",
    "github_token": b"github_pat_" + b"a" * 30,
    "gitlab_token": b"glpat-" + b"a-" * 20,
    "slack_token": b"xoxb-123-" + b"a" * 20,
    "model_api_key": b"sk-ant-" + b"a_" * 20,
    "google_api_key": b"AIza" + b"-" * 35,
    "stripe_key": b"sk_live_" + b"a" * 20,
    "npm_token": b"npm_" + b"a" * 36,
    "pypi_token": b"pypi-" + b"a" * 60,
    "json_web_token": b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLi4u",
    "url_password": b"https://someone:a-secret-word@",
    "known_value": b"two words of\na known value",
}
LONGEST_SIGN = len(b"-----BEGIN EC PRIVATE KEY-----")


@pytest.mark.parametrize("kind", WHOLE)
def test_wherever_content_is_cut_off_no_part_of_a_secret_is_shown_beyond_what_all_of_its_kind_begin_with(
    kind: str,
) -> None:
    assert WHOLE.keys() == {*SECRET_KINDS, "known_value"}
    secret, redactor = WHOLE[kind], Redactor([WHOLE["known_value"].decode()])
    assert redactor.redact(secret).count == 1
    for before in (b"", b"plain text, a word ", b"x=" * 6000):
        for size in range(1, len(secret)):
            left = redactor.redact(before + secret[:size], cut=True).content[len(before) :]
            most = LONGEST_SIGN if kind == "private_key" else len(b"https://someone:")
            assert len(left.replace(b"[redacted:private_key]", b"")) <= most, left
            assert left == secret[: len(left)] or b"[redacted:" in left


def test_what_is_no_beginning_of_a_secret_is_shown_to_the_cut() -> None:
    for content in (b"plain", b"y" * 20_000, b"sk-short and more", b"http://localhost:8080/ "):
        assert Redactor(["another value"]).redact(content, cut=True).content == content


HOSTILE = """
import resource
from custody.redaction import Redactor
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for unit in (b"-----BEGIN PRIVATE KEY-----\\n", b"-----BEGIN PRIVATE KEY-----A", b"://a:", b"eyJ.", b"sk-", b"-----BEGIN "):
    Redactor().redact(unit * ((4 << 20) // len(unit)))
    Redactor([unit.decode() * 100]).redact(unit * ((4 << 20) // len(unit)), cut=True)
print("done")
"""


def test_no_content_makes_the_search_slow() -> None:
    """Its processor time is limited: what looks like a thousand beginnings of a key took a minute for each four MiB."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE], capture_output=True, check=False, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
