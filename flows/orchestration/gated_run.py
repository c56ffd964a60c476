"""The gated run as a Prefect flow: the steps of `pipeline.STEPS`, each a task, over a run that the ledger already holds.

Rules of this conductor:
- Its one parameter is a run's id; code, output, reasons and messages never reach Prefect. What it returns is ids, the end and the outcome class.
- It never decides whether a run may still execute: the ledger does, by the claim. A flow run that is retried, duplicated or resurrected finds
  the run claimed or finished, executes nothing, and that is on record as `access:denied`.
- Retries are for audit (two) and build (one), and only if the failed attempt wrote no entry; a step that may have written is not repeated.
  Deciding is pure and cheap to submit again, and nothing is ever retried around the execution. The flow itself has none.
- A cancelled flow kills the jail, and waits until the run's end is durable.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from prefect import Task, flow, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from ...errors import UsageError
from ...settings import load_settings
from .. import pipeline
from ..house import House, open_house
from ..passage import Passage, Result
from .steps import StepFailedError, StepThread, may_repeat

__all__ = ["Ended", "gated_run"]

_FLOW_SECONDS = 3600
"""Backstop only: no profile lets a program run for more than ten minutes, and the jail's own limit is the real one."""
_RUN = re.compile(r"run-[A-Za-z0-9-]{1,60}")


@dataclass(frozen=True, slots=True)
class Ended:
    """All that Prefect's side learns of a run."""

    run: str
    end: str
    outcome: str
    """Outcome class; empty unless it was executed."""
    entry: int


class Way:
    """One run on its way under this flow. Not a dataclass: Prefect looks into those when they are given to a task."""

    def __init__(self, house: House, passage: Passage, thread: StepThread) -> None:
        self.house = house
        self.passage = passage
        self.thread = thread

    async def take(self, step: pipeline.Step) -> None:
        """Take one step."""

        def work() -> None:
            if step is pipeline.execute:
                pipeline.execute(self.house, self.passage, self.thread.cancel)
            else:
                step(self.house, self.passage)

        await self.thread.attempt(step.__name__, work, written=self._entries)

    def _entries(self) -> int:
        return sum(1 for _ in self.house.ledger.entries(run=self.passage.run))


def _as_task(step: pipeline.Step, *, retries: int = 0, seconds: int | None = None) -> Task[[Way], None]:
    @task(
        name=step.__name__,
        tags=["custody"],
        retries=retries,
        retry_delay_seconds=[2.0, 10.0][:retries],
        retry_condition_fn=may_repeat,
        timeout_seconds=seconds,
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=False,
    )
    async def take(way: Way) -> None:
        await way.take(step)

    return take


TASKS: dict[Callable[..., None], Task[[Way], None]] = {
    pipeline.resolve: _as_task(pipeline.resolve, seconds=120),
    pipeline.audit: _as_task(pipeline.audit, retries=2, seconds=600),
    pipeline.decide: _as_task(pipeline.decide, seconds=120),
    pipeline.build: _as_task(pipeline.build, retries=1, seconds=1200),
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
        # said without the text: whatever was given here instead of an id does not go into one more message
        raise StepFailedError("receive", UsageError("this is not the id of a run", hint="`custody runs list` shows the runs"))
    thread = StepThread()
    try:
        with tags("custody"):
            result = await _conduct(run, thread)
    finally:
        thread.close()
    outcome = result.outcome.outcome.value if result.outcome else ""
    return _state(Ended(result.run, result.end, outcome, result.entry))


async def _conduct(run: str, thread: StepThread) -> Result:
    house = open_house(load_settings())
