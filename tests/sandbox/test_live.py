"""Live output: redacted whole, whatever the chunks; never in the way of the run."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.policies.types import Grant
from custody.redaction import Redactor
from custody.sandbox import Job, Live, Sandbox
from custody.sandbox.live import LiveRelay

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]

TOKEN = b"ghp_" + b"a" * 36
KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"QUJD\n" * 40 + b"-----END RSA PRIVATE KEY-----"
LINES = b"first line of a secret\nsecond line of it"


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.streams = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, content: bytes) -> None:
        self.streams[stream] += content


def relayed(text: bytes, cuts: list[int], redactor: Redactor | None) -> bytes:
    heard = Heard()
    relay = LiveRelay(Live(write=heard.write, longest_secret=len(LINES)), redactor)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for begin, end in itertools.pairwise(places):
        relay.feed("stdout", text[begin:end])
    relay.finish()
    assert not relay.cut
    return heard.streams["stdout"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([TOKEN, KEY, LINES, b"plain text\n", b"x" * 30_000, b" ", b"\n"]), max_size=8),
    st.lists(st.integers(min_value=0, max_value=200_000), max_size=12),
)
def test_no_cut_lets_a_part_of_a_secret_through(parts: list[bytes], cuts: list[int]) -> None:
    text = b" ".join(parts)
    redactor = Redactor([LINES.decode()])
    assert relayed(text, cuts, redactor) == redactor.redact(text).content


def test_a_key_whose_end_has_not_come_is_held_back() -> None:
    heard = Heard()
    relay = LiveRelay(Live(write=heard.write), Redactor())
    relay.feed("stdout", b"before\n" + KEY[:60])
    relay.feed("stderr", b"other\n")
    relay.feed("stdout", KEY[60:] + b"\nafter\n")
    relay.finish()
    assert heard.streams == {"stdout": b"before\n[redacted:private_key]\nafter\n", "stderr": b"other\n"}


@pytest.mark.parametrize("kind", [BrokenPipeError, SystemExit, KeyboardInterrupt])
def test_a_listener_that_breaks_hears_no_more_and_that_is_known(kind: type[BaseException]) -> None:
    def broken(stream: str, content: bytes) -> None:
        raise kind(stream, content)

    relay = LiveRelay(Live(write=broken), None)
    relay.feed("stdout", b"x")
    relay.finish()
    assert relay.cut


@pytest.mark.jail
def test_output_is_heard_while_the_program_still_runs(sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob) -> None:
    cancel = threading.Event()
    heard: list[tuple[str, bytes]] = []

    def listen(stream: str, content: bytes) -> None:
        heard.append((stream, content))
        cancel.set()

    code = f"import time\nprint('{TOKEN.decode()}', flush=True)\ntime.sleep(60)"
    grant = replace(grant_of(), live_output=True)
    outcome = sandbox.run(job_of(code), grant, cancel=cancel, live=Live(write=listen))
    assert heard == [("stdout", b"[redacted:github_token]\n")]
    assert outcome.outcome == "cancelled"


@pytest.mark.jail
def test_without_the_grant_nothing_is_heard(sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob) -> None:
    heard = Heard()
    outcome = sandbox.run(job_of("print(1)"), grant_of(), live=Live(write=heard.write))
    assert (heard.streams["stdout"], outcome.stdout.content) == (b"", b"1\n")


@pytest.mark.jail
def test_a_listener_that_never_returns_does_not_stop_the_clock(
    sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    release = threading.Event()

    def stuck(stream: str, content: bytes) -> None:
        del stream, content
        release.wait(30)

    grant = replace(grant_of(wall_seconds=1), live_output=True)
    try:
        outcome = sandbox.run(job_of("while True: print('x' * 1000)"), grant, live=Live(write=stuck))
    finally:
        release.set()
    assert outcome.outcome in {"killed_output", "timed_out"}
    assert any("live output was cut" in sentence for sentence in outcome.unobserved)
