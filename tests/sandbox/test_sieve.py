"""Redacting in parts gives what redacting at once gives, wherever the parts end."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.redaction import SECRET_KINDS, Redactor
from custody.sandbox.sieve import Sieve

if TYPE_CHECKING:
    from _typeshed import TraceFunction

BODY = b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC+/=\n"
LONGEST: dict[str, bytes] = {
    "private_key": b"-----BEGIN RSA PRIVATE KEY-----\n" + BODY * 540 + b"-----END RSA PRIVATE KEY-----",
    "aws_access_key": b"AKIA" + b"A1" * 8,
    "github_token": b"github_pat_" + b"a1_" * 85,
    "gitlab_token": b"glpat-" + b"a-_1" * 16,
    "slack_token": b"xoxb-" + b"1-a" * 85,
    "model_api_key": b"sk-proj-" + b"a_-" * 85,
    "google_api_key": b"AIza" + b"a-_1b" * 7,
    "stripe_key": b"sk_live_" + b"a1" * 127 + b"a",
    "npm_token": b"npm_" + b"a1" * 18,
    "pypi_token": b"pypi-" + b"a_-B" * 125,
    "json_web_token": b"eyJ" + b"a_-1" * 500 + b".eyJ" + b"b_-1" * 1000 + b"." + b"c_-1" * 250,
    "url_password": b"://" + b"u.+" * 33 + b":" + b"p,:" * 66 + b"@",
}
"""As long as the pattern finds one."""
KNOWN = ("abababab", "two\nlines of it", "with 'quotes' and /", "supersecretvalue")
PLAIN = (
    b" ", b"\n", b'"', b"/", b"//", b"://", b"-", b".", b"AKIA", b"sk-", b"eyJ", b"a" * 9000, b"7" * 20_000, b"1.5-" * 500,
    b"ab" * 700, b"word and word\n" * 300, b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----", b"-----BEGIN ", BODY * 200,
    b"ftp://x", b"user:", b"\xff\x00\xe9",
)  # fmt: skip
HOSTILE = (
    b"-----BEGIN PRIVATE KEY-----\n", b"-----BEGIN PRIVATE KEY-----", b"://a:", b"://", b"eyJ-", b"eyJ.", b"abababab", b"sk-", b"1.5-",
)  # fmt: skip
pieces = st.one_of(
    st.sampled_from(sorted(LONGEST.values())),
    st.sampled_from([value.encode() for value in KNOWN]),
    st.sampled_from(PLAIN),
    st.binary(max_size=20),
)


def sieved(content: bytes, size: int, redactor: Redactor) -> tuple[bytes, int]:
    sieve = Sieve(redactor)
    for start in range(0, len(content), size):
        sieve.feed(content[start : start + size])
    return sieve.finish(), sieve.count


def test_every_kind_of_secret_is_among_these_at_its_longest() -> None:
    assert LONGEST.keys() == SECRET_KINDS.keys()
    for kind, secret in LONGEST.items():
        found = SECRET_KINDS[kind].search(b" " + secret + b" ")
        assert found is not None, kind
        if kind not in {"private_key", "url_password"}:
            longer = SECRET_KINDS[kind].search(b" " + secret + b"a ")
            assert longer is None or longer[0] == found[0], f"{kind} has become longer"


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(pieces, max_size=10), size=st.sampled_from([700, 4096, 30_000]))
def test_parts_are_redacted_as_the_whole_is(parts: list[bytes], size: int) -> None:
    redactor = Redactor(KNOWN)
    content = b"".join(parts)
    whole = redactor.redact(content)
    assert sieved(content, size, redactor) == (whole.content, whole.count)


@pytest.mark.parametrize("kind", LONGEST)
def test_no_place_of_a_cut_shows_a_part_of_a_secret(kind: str) -> None:
    redactor, around = Redactor(), b"words, and more of them\n" * 20
    content = around + LONGEST[kind] + around
    whole = redactor.redact(content).content
    for size in range(997, 1013):
        assert sieved(content, size, redactor)[0] == whole


@pytest.mark.parametrize(
    "unit",
    [
        b"line of text\n",
        b'{"a":1,"b":"c"},',
        b"1.5, 2.5, ",
        b"QUJDRA/+",
        b"0123456789abcdef",
        b"://a:",
        b"://a:b@",
        b"-----BEGIN PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMII",
        b"-----BEGIN PRIVATE KEY-----!\n",
        b"-----BEGIN ",
        LONGEST["private_key"],
        b"supersecretvalue ",
    ],
    ids=lambda unit: repr(unit[:30]),
)
def test_little_is_held_back_whatever_the_text_is_made_of(unit: bytes) -> None:
    sieve, most = Sieve(Redactor(("supersecretvalue",))), 0
    for _ in range(20):
        sieve.feed(unit * (65536 // len(unit)))
        most = max(most, sieve._size)
    assert most < 100_000


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_nothing_is_looked_at_again_and_again(unit: bytes) -> None:
    """Twice as much content takes about twice the steps, whatever it is made to look like; steps are counted by the lines that run."""
    steps = [_steps(unit * (size // len(unit))) for size in (1 << 19, 1 << 20)]
    assert steps[1] < 3 * steps[0] + 2000


def _steps(content: bytes) -> int:
    count = 0

    def follow(*_: object) -> "TraceFunction":
        nonlocal count
        count += 1
        return follow

    sys.settrace(follow)
    try:
        sieved(content, 1 << 16, Redactor(KNOWN))
    finally:
        sys.settrace(None)
    return count


MEASURE = """
import os, sys
from custody.redaction import Redactor
from custody.sandbox.artefacts import Caps, collect
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
directory = os.open(sys.argv[1], os.O_RDONLY)
before = peak()
found = collect(directory, "out", Caps(8, 1 << 30), Redactor() if sys.argv[2] == "redacted" else None)
print(peak() - before, sum(len(artefact.content) for artefact in found.artefacts), found.artefacts[0].redactions)
"""


@pytest.mark.parametrize("how", ["plain", "redacted"])
def test_an_artefact_is_in_memory_once(how: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "large").open("wb") as file:
        for _ in range(64):
            file.write((b"ghp_" + b"a1B2" * 10 + b" and words to go with it\n") * 15_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), how],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    grown, handed_out, hits = map(int, done.stdout.split())
    assert (hits > 0) == (how == "redacted")
    assert handed_out > 40 << 20
    assert grown < handed_out + (12 << 20)
