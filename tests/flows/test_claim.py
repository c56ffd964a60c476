"""At most once: whoever claims first executes, and nobody else ever does."""

import multiprocessing
import os
from multiprocessing.queues import Queue

import pytest

from custody.errors import SandboxError, UsageError
from custody.flows import pipeline
from custody.flows.conduct import conduct, take_up
from custody.flows.house import House, open_house
from custody.flows.intake import receive
from custody.flows.ownership import Ownership
from custody.flows.passage import Conductor, Passage, Result, reload
from custody.sandbox import Sandbox
from custody.settings import Settings

from .conftest import Ask, go, kinds

pytestmark = pytest.mark.jail
PROCESSES = 50


def _decided(house: House, ask: Ask) -> Passage:
    passage = receive(house, ask("print('once')\n"), conductor=Conductor.DIRECT)
    for step in (pipeline.resolve, pipeline.audit, pipeline.decide, pipeline.build):
        step(house, passage)
    return passage


def _rush(settings: Settings, run: str, gate: "multiprocessing.synchronize.Barrier", answers: "Queue[str]") -> None:
    """One of many processes that all believe that the run is theirs."""
    with open_house(settings) as house:
        ownership = Ownership.take(settings.home / "state" / f"elsewhere-{os.getpid()}", run)
        assert ownership is not None
        passage = reload(house, run, list(house.ledger.entries(run=run)), ownership)
        pipeline.decide(house, passage)
        gate.wait(300)
        pipeline.execute(house, passage)
        assert passage.result is not None
        answers.put(passage.result.end)


def test_of_fifty_processes_that_claim_one_run_exactly_one_executes(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    passage = _decided(house, ask)
    # one self-test of the jail for all of them: fifty at once say more about the machine than about claims
    sandbox = pipeline.sandbox_of(house)
    assert sandbox.layers()
    monkeypatch.setattr(pipeline, "sandbox_of", lambda _: sandbox)
    context = multiprocessing.get_context("fork")
    gate, answers = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=_rush, args=(house.settings, passage.run, gate, answers)) for _ in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ends = [answers.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    passage.ownership.release()
    assert sorted(ends) == ["already_claimed"] * (PROCESSES - 1) + ["executed"]
    recorded = kinds(house, passage.run)
    assert [recorded.count(kind) for kind in ("run:claimed", "run:started", "run:finished")] == [1, 1, 1]
    assert recorded.count("access:denied") == PROCESSES - 1


def test_whoever_finds_a_run_ended_by_another_gives_way(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    passage = _decided(house, ask)
    ownership = Ownership.take(house.places.home / "state" / "elsewhere", passage.run)
    assert ownership is not None
    other = reload(house, passage.run, list(house.ledger.entries(run=passage.run)), ownership)
    pipeline.decide(house, other)
    pipeline.execute(house, passage)

    def refuse(*_: object) -> None:
        raise SandboxError("too slow", hint="be quicker")

    monkeypatch.setattr(Sandbox, "check", refuse)
    pipeline.execute(house, other)
    assert (passage.result and passage.result.end, other.result and other.result.end) == ("executed", "already_claimed")
    assert kinds(house, passage.run).count("run:finished") == 1


def test_a_finished_run_is_not_taken_up_again_and_the_attempt_is_on_record(house: House, ask: Ask) -> None:
    done = go(house, ask())
    again = take_up(house, done.run)
    assert isinstance(again, Result)
    assert again.end == "already_claimed"
    assert kinds(house, done.run)[-1] == "access:denied"
    assert kinds(house, done.run).count("run:claimed") == 1


def test_a_run_that_is_being_worked_on_is_left_alone(house: House, ask: Ask) -> None:
    passage = _decided(house, ask)
    with pytest.raises(UsageError, match="being worked on"):
        take_up(house, passage.run)
    assert kinds(house, passage.run)[-1] == "access:denied"
    assert conduct(house, passage).end == "executed"


def test_an_id_that_is_none_reaches_no_file(house: House) -> None:
    with pytest.raises(UsageError, match="not the id of a run"):
        take_up(house, "../../keys/ledger")


def test_a_run_whose_stored_bytes_were_redacted_gets_its_end(house: House, ask: Ask) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    passage = receive(house, ask(arguments=(secret,)), conductor=Conductor.PREFECT)
    passage.ownership.release()
    with pytest.raises(UsageError, match="secrets were taken out"):
        take_up(house, passage.run)
    assert kinds(house, passage.run)[-1] == "run:finished"


def test_a_run_that_prefect_is_to_conduct_can_be_taken_up_by_its_id_alone(house: House, ask: Ask) -> None:
    passage = receive(house, ask("print('by id')\n"), conductor=Conductor.PREFECT)
    passage.ownership.release()
    taken = take_up(house, passage.run)
    assert isinstance(taken, Passage)
    done = conduct(house, taken)
    assert done.outcome is not None
    assert done.outcome.stdout.content == b"by id\n"
