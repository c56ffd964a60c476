"""What was observed of a run is on record in full: the first as entries, the rest in one payload."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import EvidenceError
from custody.flows.house import House
from custody.flows.observations import OBSERVATIONS, commands_of, observed, shortened, to_lines
from custody.flows.record import Batch
from custody.ledger import Entry, events
from custody.sandbox.types import (
    ObservedCommand,
    ObservedEgress,
    ObservedFile,
    Outcome,
    OutcomeClass,
    Output,
    Usage,
)

from ..scenarios.stage import Stage
from .conftest import SMALL, Ask, go

SECRET = "ghp_" + "a1B2" * 10
MANY = f"""
import os, sys
for number in range(260):
    word = "{SECRET[:20]}" + "{SECRET[20:]}" if number == 255 else str(number)
    os.waitpid(os.posix_spawn(sys.executable, ["x", "-S", "-c", "pass", word], {{}}), 0)
"""


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are exact where starts are traced: process events are read a moment later."""
    monkeypatch.setattr("custody.sandbox.sources.open_commands", lambda: None)


@pytest.mark.jail
@pytest.mark.usefixtures("traced")
def test_every_start_is_on_record_beyond_the_entries_too_and_redacted(house: House, ask: Ask) -> None:
    done = go(house, ask(MANY, limits=replace(SMALL, wall_seconds=60, cpu_seconds=60)))
    assert done.outcome is not None
    assert done.outcome.outcome is OutcomeClass.SUCCEEDED, done.outcome.stderr.content
    found = list(house.ledger.entries(run=done.run))
    assert sum(isinstance(entry.event, events.CommandObserved) for entry in found) == OBSERVATIONS
    end = found[-1].event
    assert isinstance(end, events.RunFinished)
    assert end.overflow is not None
    assert not any("only the first" in said for said in end.unobserved)
    stored = house.ledger.read_payload(end.overflow)
    assert SECRET.encode() not in stored
    assert b"[redacted:github_token]" in stored
    commands = commands_of(house, found)
    assert [command.number for command in commands] == list(range(1, 261))
    assert {(command.parent, command.exit_status, command.source) for command in commands} == {(0, 0, "ptrace")}
    words = [command.arguments[-1] for command in commands if command.arguments]
    assert words == [str(number) if number != 255 else "[redacted:github_token]" for number in range(260)]


@pytest.mark.jail
def test_a_command_shows_them_all(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stage = Stage(tmp_path / "stage", tmp_path_factory.getbasetemp() / "bytecode").prepare()
    assert stage.call("init").exit_code == 0
    (stage.work / "many.py").write_text(MANY)
    ran = stage.call("run", "--json", "many.py").value()
    assert (ran["outcome"], ran["commands_total"]) == ("succeeded", 260)
    assert isinstance(ran["commands"], list)
    assert len(ran["commands"]) == 200
    run = str(ran["run"])
    assert stage.call("runs", "show", run, "--json").value()["commands"] is None
    commands = stage.call("runs", "show", run, "--commands", "--json").value()["commands"]
    assert isinstance(commands, list)
    seen = [command for command in commands if not command["program_controlled"]]
    assert [(command["number"], command["parent"]) for command in seen] == [(n, 0) for n in range(1, 261)]
    head, *rows = stage.call("runs", "show", run, "--commands").stdout.splitlines()
    assert head.split("\t") == ["number", "started by", "path", "arguments", "status", "ms", "source"]
    seen_rows = [row.split("\t")[:2] for row in rows if "the program's word" not in row]
    assert seen_rows == [[str(number), "the program"] for number in range(1, 261)]


def outcome_of(**observations: object) -> Outcome:
    nothing = Output(sha256="", seen=0, content=b"", truncated=False)
    plain = Outcome(
        outcome=OutcomeClass.SUCCEEDED,
        explanation="",
        exit_code=0,
        signal=None,
        limits_hit=(),
        usage=Usage(wall_ms=1),
        stdout=nothing,
        stderr=nothing,
    )
    return replace(plain, **observations)  # type: ignore[arg-type]  # tests name fields of Outcome


def command(number: int) -> ObservedCommand:
    return ObservedCommand(
        path="/usr/bin/python3", arguments=("-c", str(number)), source="ptrace", program_controlled=False, parent=0
    )


def test_a_flood_of_one_kind_does_not_keep_another_out_of_the_entries(house: House) -> None:
    attempts = tuple(
        ObservedEgress(
            host=f"{n}.example", port=1, allowed=False, reason="no", source="audit_hook", program_controlled=True
        )
        for n in range(300)
    )
    file = ObservedFile(path="/mnt/data/secret", action="opened", source="fanotify", program_controlled=False)
    outcome = outcome_of(egress=attempts, commands=tuple(map(command, range(300))), files=(file,))
    found = observed(Batch(house, "tester", "run"), outcome)
    kinds = [event.KIND.name for event in found[:OBSERVATIONS]]
    assert len(found) == 601
    assert kinds.count("file:observed") == 1
    assert kinds.count("command:observed") >= 40
    assert [e.number for e in found if isinstance(e, events.CommandObserved)] == list(range(1, 301))


@pytest.mark.parametrize(("more", "beyond"), [(0, 7), (5, 12)])
def test_a_list_of_arguments_that_an_entry_cuts_says_so_and_is_whole_in_the_payload(
    house: House, ask: Ask, more: int, beyond: int
) -> None:
    words = (*map(str, range(29)), "x" * 900)
    seen = replace(command(1), arguments=words, more=more)
    [event] = observed(Batch(house, "tester", "run"), outcome_of(commands=(seen,)))
    assert isinstance(event, events.CommandObserved)
    assert event.arguments == ((*words, "… and 5 more") if more else words)
    short = shortened(event)
    assert isinstance(short, events.CommandObserved)
    assert short.arguments == (*words[:23], f"… and {beyond} more")
    assert shortened(short) == short
    assert commands_of(house, list(_recorded(house, to_lines([event])))) == [event]


@pytest.mark.parametrize(
    "line", [b"x", b"[1]", b'["command:observed", {"arguments": null}]', b'["command:observed", 1]']
)
def test_a_payload_that_cannot_be_read_is_no_evidence(house: House, ask: Ask, line: bytes) -> None:
    with pytest.raises(EvidenceError, match="line 2 of the payload"):
        commands_of(house, list(_recorded(house, to_lines([_event()]) + line + b"\n")))


def _event() -> events.CommandObserved:
    return events.CommandObserved(
        number=1,
        parent=None,
        path="/usr/bin/x",
        arguments=None,
        source="ptrace",
        program_controlled=False,
        exit_status=None,
        wall_ms=None,
    )


def _recorded(house: House, lines: bytes) -> Iterator[Entry]:
    batch = Batch(house, "tester", "run-1")
    batch.add(
        events.RunFinished(
            end="executed",
            started=True,
            outcome="succeeded",
            explanation="",
            rules=(),
            overflow=batch.seal(lines, media="application/jsonl"),
        )
    )
    batch.write()
    return house.ledger.entries(run="run-1", kinds=("run:finished",))
