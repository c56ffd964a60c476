"""The gated run as a Prefect flow: the steps of `pipeline.STEPS`, each a task, over a run that the ledger already holds.

Rules of this conductor:
- Its one parameter is a run's id; code, output, reasons and messages never reach Prefect. What it returns is ids, the end and the outcome class.
- It never decides whether a run may still execute: the ledger does, by the claim. A flow run that is retried, duplicated or resurrected finds
  the run claimed or finished, executes nothing, and that is on record as `access:denied`.
- Retries are for audit (two) and build (one), and only if the failed attempt wrote no entry: a step that may have written is never repeated.
  Nothing is ever retried around the execution, and the flow itself has no retries.
- A cancelled flow kills the jail, and waits until the run's end is durable.
"""

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass

from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType

from ...errors import LedgerError, UsageError
from ...ledger import events
from ...settings import load_settings
from .. import conduct, ending, machine, pipeline
from ..house import House, open_house
from ..passage import Passage, Result
from .steps import StepFailedError, StepThread, may_repeat

__all__ = ["TASKS", "Ended", "Way", "gated_run"]

_FLOW_SECONDS = 3600
"""Backstop only: no shipped profile lets a program run for more than ten minutes, and the jail's own limit is the real one."""
_RUN = re.compile(r"run-[A-Za-z0-9-]{1,60}")
_NOT_DONE = {"unavailable", "unknown", "already_claimed"}
"""Ends by which the flow did not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class Ended:
    """All that Prefect's side learns of a run."""

    run: str
    end: str
    """An end of `run:finished`, or `held`, or `already_claimed`."""
    outcome: str
    """Outcome class; empty unless it was executed."""
    entry: int
    """Index of the entry that says so."""


class Way:
    """One run on its way under this flow. Not a dataclass: Prefect looks into those when they are given to a task."""

    def __init__(self, house: House, run: str, thread: StepThread) -> None:
        self.house = house
        self.run = run
        self.thread = thread
        self.passage: Passage | None = None
        self._refused: Result | None = None

    @property
    def result(self) -> Result | None:
        """How it ended, as soon as that is durable."""
        return self._refused if self.passage is None else self.passage.result

    def take_up(self) -> None:
        """Own the run; or have a result at once, if there is nothing left to do.

        Raises:
            UsageError: there is no such run, or another process is working on it.
        """
        machine.recover(self.house)
        known = list(self.house.ledger.entries(run=self.run))
        taken = conduct.take_up(self.house, self.run)
        if isinstance(taken, Result):
            self._refused = taken
        else:
            self.passage = taken
            machine.expire(self.house, taken, known)

    async def take(self, step: pipeline.Step) -> None:
        """Take one step.

        Raises:
            StepFailedError: it broke.
        """
        passage = self._passage()

        def work() -> None:
            if step is pipeline.execute:
                pipeline.execute(self.house, passage, self.thread.cancel)
            else:
                step(self.house, passage)

        await self.thread.attempt(step.__name__, work, written=self._entries)

    def cancel(self) -> None:
        """Give the run its end, if it had not started: the flow was cancelled, or took too long."""
        passage = self.passage
        if passage is None or passage.result is not None or passage.started:
            return
        # Prefect knows no users, so nobody can be named
        asked = events.RunCancelled(by="prefect", reason="the flow was cancelled or timed out")
        ending.end_without_execution(self.house, passage, "cancelled", "the flow ended before the start", extra=[asked])

    def break_off(self, error: Exception) -> None:
        """Give the run its end: something of ours broke."""
        conduct.broken(self.house, self._passage(), error)

    def _passage(self) -> Passage:
        if self.passage is None:
            raise UsageError(f"run `{self.run}` was not taken up", hint="take it up before taking a step")
        return self.passage

    def _entries(self) -> int:
        return sum(1 for _ in self.house.ledger.entries(run=self.run))


def _as_task(
    step: pipeline.Step, *, delays: tuple[float, ...] = (), seconds: int | None = None
) -> Task[[Way], Coroutine[object, object, None]]:
    @task(
        name=step.__name__,
        task_run_name=step.__name__,
        tags=["custody"],
        retries=len(delays),
        retry_delay_seconds=list(delays),
        retry_condition_fn=may_repeat,
        timeout_seconds=seconds,
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=False,
    )
    async def take(way: Way) -> None:
        await way.take(step)

    return take


TASKS: dict[pipeline.Step, Task[[Way], Coroutine[object, object, None]]] = {
    pipeline.resolve: _as_task(pipeline.resolve, seconds=120),
    pipeline.audit: _as_task(pipeline.audit, delays=(2.0, 10.0), seconds=600),
    pipeline.decide: _as_task(pipeline.decide, seconds=120),
    pipeline.build: _as_task(pipeline.build, delays=(5.0,), seconds=1200),
    # no timeout here: the profile's wall limit ends the program, and a timeout could come between the claim and the end
    pipeline.execute: _as_task(pipeline.execute),
}
"""Every step of the pipeline as a task; a test compares it with `pipeline.STEPS`."""


@flow(
    name="gated-run",
    flow_run_name="gated-run/{run}",
    description="Takes one submitted run through policy, audit, jail and ledger.",
    retries=0,
    timeout_seconds=_FLOW_SECONDS,
    persist_result=False,
    log_prints=False,
)
async def gated_run(run: str) -> State[Ended]:
    """Take a submitted run all the way; the state's name says how it ended."""
    if not _RUN.fullmatch(run):
        raise StepFailedError("receive", UsageError("this is no run's id", hint="`custody runs list` shows the runs"))
    thread = StepThread()
    try:
        result = await _conduct(run, thread)
    finally:
        thread.close()
    return _state(result)


async def _conduct(run: str, thread: StepThread) -> Result:
    way = Way(await thread.enter("open", open_house(load_settings())), run, thread)
    try:
        await thread.attempt("take_up", way.take_up)
        for step in pipeline.STEPS:
            if way.result is None:
                await TASKS[step](way)
    except asyncio.CancelledError:
        thread.finish(way.cancel)
        raise
    except Exception as failure:  # around the steps: the run must get its end whatever broke
        error = failure.error if isinstance(failure, StepFailedError) else failure
        if isinstance(error, LedgerError) or way.passage is None:
            raise
        await thread.attempt("end", lambda: way.break_off(error))
    if way.result is None:
        raise StepFailedError(
            "end", LedgerError(f"run `{run}` has no end", hint="the next command closes it as unknown")
        )
    result = way.result
    # a flow that met another's claim or a finished run changed nothing that would have to be pinned
    return result if way.passage is None else await thread.attempt("pin", lambda: conduct.pinned(way.house, result))


def _state(result: Result) -> State[Ended]:
    outcome = result.outcome.outcome.value if result.outcome else ""
    said = outcome or result.end
    return State(
        type=StateType.FAILED if result.end in _NOT_DONE else StateType.COMPLETED,
        name=said.replace("_", " ").capitalize(),
        message=f"{result.run}: {said}, entry {result.entry}",
        data=Ended(result.run, result.end, outcome, result.entry),
    )
