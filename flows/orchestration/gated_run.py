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
from ...settings import load_settings
from .. import conduct, machine, pipeline
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

    def __init__(self, house: House, passage: Passage, thread: StepThread) -> None:
        self.house = house
        self.passage = passage
        self.thread = thread

    async def take(self, step: pipeline.Step) -> None:
        """Take one step.

        Raises:
            StepFailedError: it broke.
        """

        def work() -> None:
            if step is pipeline.execute:
                pipeline.execute(self.house, self.passage, self.thread.cancel)
            else:
                step(self.house, self.passage)

        await self.thread.attempt(step.__name__, work, written=self._entries)

    def _entries(self) -> int:
        return sum(1 for _ in self.house.ledger.entries(run=self.passage.run))


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
    house = await thread.enter("open", open_house(load_settings()))
    taken = await thread.attempt("take_up", lambda: _take_up(house, run))
    if isinstance(taken, Result):
        return taken
    way = Way(house, taken, thread)
    try:
        for step in pipeline.STEPS:
            if taken.result is None:
                await TASKS[step](way)
    except asyncio.CancelledError:
        thread.finish(lambda: conduct.cancelled(house, taken))
        raise
    except Exception as failure:  # around the steps: the run must get its end whatever broke
        error = failure.error if isinstance(failure, StepFailedError) else failure
        if isinstance(error, LedgerError):
            raise
        await thread.attempt("end", lambda: conduct.broken(house, taken, error))
    if taken.result is None:
        raise StepFailedError(
            "end", LedgerError(f"run `{run}` has no end", hint="the next command closes it as unknown")
        )
    return taken.result


def _take_up(house: House, run: str) -> Passage | Result:
    """The run, owned by this process; or what is to be said if there is nothing left to do."""
    machine.recover(house)
    known = list(house.ledger.entries(run=run))
    passage = conduct.take_up(house, run)
    if isinstance(passage, Passage) and machine.expire(house, passage, known) and passage.result is not None:
        return passage.result
    return passage


def _state(result: Result) -> State[Ended]:
    outcome = result.outcome.outcome.value if result.outcome else ""
    said = outcome or result.end
    return State(
        type=StateType.FAILED if result.end in _NOT_DONE else StateType.COMPLETED,
        name=said.replace("_", " ").capitalize(),
        message=f"{result.run}: {said}, entry {result.entry}",
        data=Ended(result.run, result.end, outcome, result.entry),
    )
