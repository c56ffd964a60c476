"""The gated run, with every room real."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from custody.errors import Exit, LedgerError, SandboxError
from custody.flows import ending, pipeline
from custody.flows.conduct import run_directly
from custody.flows.house import House, Places, open_house
from custody.flows.intake import receive
from custody.flows.passage import Conductor
from custody.ledger import events, verify_ledger
from custody.policies.types import HostRequest
from custody.sandbox import Sandbox
from tests.conftest import MakeHome

from .conftest import HIDDEN, Ask, go, kinds, named, request_of

pytestmark = pytest.mark.jail


def test_an_allowed_run_leaves_every_step_in_order(house: House, ask: Ask) -> None:
    done = go(house, ask())
    assert (done.end, done.exit_code) == ("executed", Exit.DONE)
    assert kinds(house, done.run) == [
        "run:submitted",
        "policy:decided",
        "policy:decided",
        "run:claimed",
        "run:started",
        "run:finished",
    ]
    assert done.outcome is not None
    assert done.outcome.stdout.content == b"hello\n"


def test_the_result_names_the_entry_that_holds_it(house: House, ask: Ask) -> None:
    done = go(house, ask("raise SystemExit(3)\n"))
    entry = next(house.ledger.entries(start=done.entry, stop=done.entry + 1))
    assert isinstance(entry.event, events.RunFinished)
    assert (entry.event.outcome, entry.event.exit_code) == ("failed", 3)
    assert done.exit_code == Exit.PROGRAM_FAILED


@pytest.mark.parametrize(
    ("code", "changes", "end", "exit_code"),
    [
        ("print(1)\n", {"hosts": (HostRequest("api.example.org", 443),)}, "denied", Exit.DENIED),
        (HIDDEN, {"who": "scout"}, "held", Exit.NEEDS_APPROVAL),
        ("print(1)\n", {"who": "gone"}, "denied", Exit.DENIED),
        ("print(1)\n", {"who": "stray"}, "denied", Exit.DENIED),
        ("print(1)\n", {"who": "bob"}, "denied", Exit.DENIED),
    ],
)
def test_what_is_not_allowed_never_reaches_the_jail(
    house: House,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    changes: dict[str, object],
    end: str,
    exit_code: Exit,
) -> None:
    monkeypatch.setattr(Sandbox, "run", _must_not_be_called)
    done = go(house, ask(code, **changes))
    assert (done.end, done.exit_code) == (end, exit_code)
    assert "run:started" not in kinds(house, done.run)
    assert kinds(house, done.run).count("run:finished") == (0 if end == "held" else 1)


def _must_not_be_called(*_: object, **__: object) -> None:
    raise AssertionError("the jail was started")


def test_what_no_jail_could_run_under_its_grant_is_never_started(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SandboxError("the interpreter went away", hint="bring it back")

    monkeypatch.setattr(Sandbox, "check", refuse)
    done = go(house, ask())
    assert (done.end, done.exit_code) == ("unavailable", Exit.FAILURE)
    assert done.explanation == "the interpreter went away: bring it back"
    recorded = kinds(house, done.run)
    assert "run:claimed" not in recorded
    assert recorded.count("run:finished") == 1


VISITOR = """
import sys
from pathlib import Path
from custody.flows.house import open_ledger
from custody.settings import load_settings
settings = load_settings(Path(sys.argv[1]))
print("open", flush=True)
while True:
    open_ledger(settings).close()
"""


def test_a_process_that_opens_and_closes_the_ledger_meanwhile_costs_no_entry(make_home: MakeHome) -> None:
    settings = make_home()
    with subprocess.Popen([sys.executable, "-c", VISITOR, str(settings.home)], stdout=subprocess.PIPE) as visitor:
        try:
            assert visitor.stdout is not None
            visitor.stdout.readline()
            for _ in range(4):
                with open_house(settings) as house:
                    assert go(house, request_of(house)).end == "executed"
        finally:
            visitor.kill()
    verification = verify_ledger(
        Places(settings.home).ledger, verifier_key=Places(settings.home).verifier_key.read_text().strip()
    )
    assert verification.problems == ()


def test_the_decision_can_be_made_again_from_what_was_kept(house: House, ask: Ask) -> None:
    done = go(house, ask())
    decided = [entry.event for entry in house.ledger.entries(run=done.run, kinds=("policy:decided",))]
    last = decided[-1]
    assert isinstance(last, events.PolicyDecided)
    assert house.gate.replay(house.ledger.read_payload(last.inputs)).result == "allowed"
    assert last.policy_sha256 == house.policies.digest


def test_code_and_output_are_kept_beside_the_entries_and_read_back(house: House, ask: Ask) -> None:
    done = go(house, ask("print('the output')\n"))
    known = {entry.kind: entry.event for entry in house.ledger.entries(run=done.run)}
    submitted, finished = known["run:submitted"], known["run:finished"]
    assert isinstance(submitted, events.RunSubmitted)
    assert isinstance(finished, events.RunFinished)
    assert finished.stdout is not None
    assert finished.stdout.payload is not None
    assert house.ledger.read_payload(submitted.code) == b"print('the output')\n"
    assert house.ledger.read_payload(finished.stdout.payload) == b"the output\n"
    assert b"the output" not in b"".join(entry.leaf for entry in house.ledger.entries(run=done.run))


def test_a_secret_in_the_output_is_in_no_entry_payload_or_result(house: House, ask: Ask) -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    # put together at run time, so that the rule on literal secrets does not fire
    done = go(house, ask(f"print('gh' + 'p_' + {token[4:24]!r} + {token[24:]!r})\n"))
    assert done.outcome is not None
    assert token.encode() not in done.outcome.stdout.content
    assert done.outcome.stdout.redactions == 1
    assert "output:redacted" in kinds(house, done.run)
    database = house.places.ledger.database
    stored = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert token.encode() not in stored


def test_artefacts_are_entries_with_their_digest(house: House, ask: Ask) -> None:
    done = go(
        house,
        ask("import pathlib\npathlib.Path('out').mkdir(exist_ok=True)\npathlib.Path('out/a.txt').write_text('A')\n"),
    )
    found = [entry.event for entry in house.ledger.entries(run=done.run, kinds=("artefact:collected",))]
    assert [(a.name, a.bytes) for a in found if isinstance(a, events.ArtefactCollected)] == [("a.txt", 1)]
    assert done.outcome is not None
    assert done.outcome.artefacts[0].content == b"A"


def test_an_observed_attempt_that_no_fact_announced_is_named(house: House, ask: Ask) -> None:
    code = "import socket\ntry:\n    socket.create_connection(('10.1.' + '2.3', 80), 1)\nexcept OSError:\n    pass\n"
    done = go(house, ask(code))
    finished = list(house.ledger.entries(run=done.run))[-1].event
    assert isinstance(finished, events.RunFinished)
    assert "host 10.1.2.3" in finished.undeclared


def test_what_is_missing_on_this_machine_makes_a_run_unavailable(make_home: MakeHome, ask: Ask) -> None:
    settings = make_home("bare")
    with open_house(settings) as house:
        profile = house.gate.profiles["default"]
        lacking = {**house.gate.profiles, "default": replace(profile, layers=(*profile.layers, "second_moon"))}
        house.gate.profiles = lacking
        done = go(house, ask(who="alice"))
        assert (done.end, done.exit_code) == ("unavailable", Exit.FAILURE)
        assert kinds(house, done.run)[-2:] == ["doctor:refused", "run:finished"]
        assert "run:started" not in kinds(house, done.run)


def test_a_ledger_that_cannot_be_written_stops_the_run_before_its_start(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch, quick_writer: Callable[[House], House]
) -> None:
    monkeypatch.setattr(Sandbox, "run", _must_not_be_called)
    house = quick_writer(house)
    passage = receive(house, ask(), conductor=Conductor.DIRECT)
    for step in (pipeline.resolve, pipeline.audit, pipeline.decide, pipeline.build):
        step(house, passage)
    with _locked(house), pytest.raises(LedgerError) as caught:
        pipeline.execute(house, passage)
    assert caught.value.exit_code == Exit.LEDGER
    assert "run:claimed" not in kinds(house, passage.run)


def test_no_durable_end_no_result(house: House, ask: Ask, quick_writer: Callable[[House], House]) -> None:
    house = quick_writer(house)
    request = ask("import time\nprint('secret result', flush=True)\ntime.sleep(2)\n")
    passage = receive(house, request, conductor=Conductor.DIRECT)
    for step in (pipeline.resolve, pipeline.audit, pipeline.decide, pipeline.build):
        step(house, passage)
    lock = _locked(house)
    original = pipeline._run

    def run_then_lock(*arguments: object) -> object:
        outcome = original(*arguments)  # type: ignore[arg-type]  # passed through
        lock.__enter__()
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_run", run_then_lock)
        with pytest.raises(LedgerError):
            pipeline.execute(house, passage)
    lock.__exit__()
    assert passage.result is None
    assert kinds(house, passage.run)[-1] == "run:started"


class _locked:  # noqa: N801 - reads as a word at its use
    """The database's write lock, held by somebody else."""

    def __init__(self, house: House) -> None:
        self._connection = sqlite3.connect(house.places.ledger.database, isolation_level=None)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


NESTED = """
import subprocess, sys
inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'])"
subprocess.run([sys.executable, "-c", inner])
subprocess.run([sys.executable, "-c", "raise SystemExit(3)"])
"""


def test_every_start_is_on_record_with_who_started_it_and_how_it_ended(house: House, ask: Ask) -> None:
    done = go(house, ask(NESTED))
    found = [entry.event for entry in house.ledger.entries(run=done.run, kinds=("command:observed",))]
    starts = [event for event in found if isinstance(event, events.CommandObserved) and not event.program_controlled]
    assert [(start.number, start.parent, start.exit_status) for start in starts] == [(1, 0, 0), (2, 1, 0), (3, 0, 3)]
    # the arguments of one that is gone again before it can be looked at are unknown
    assert all(start.arguments is None or start.arguments[0] == "-c" for start in starts)
    assert all(start.wall_ms is not None for start in starts)


def test_history_counts_what_was_denied(house: House, ask: Ask) -> None:
    for _ in range(5):
        go(house, ask(hosts=(HostRequest("api.example.org", 443),)))
    done = go(house, ask())
    assert done.end == "denied"
    assert "lockout" in done.rules
    other = run_directly(house, ask(who="carol"))
    assert other.end == "executed"


def test_what_was_blocked_by_no_rule_locks_nobody_out(house: House, ask: Ask) -> None:
    for _ in range(6):
        passage = receive(house, ask(), conductor=Conductor.DIRECT)
        ending.end_without_execution(house, passage, "blocked", "the index does not answer")
    assert go(house, ask()).end == "executed"


def test_the_stored_request_is_what_was_asked(house: House, ask: Ask) -> None:
    done = go(house, ask(arguments=("a", "b"), purpose="because"))
    submitted = next(house.ledger.entries(run=done.run)).event
    assert isinstance(submitted, events.RunSubmitted)
    stored = json.loads(house.ledger.read_payload(submitted.request))
    assert (stored["arguments"], stored["purpose"]) == (["a", "b"], "because")
    assert submitted.principal == named(house, "alice").id
