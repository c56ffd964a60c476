"""Blocking steps under an async flow: one thread for all of them, and failures that say no more than which step and what kind.

It must never let go of a step that still works: a cancelled flow waits until the jail is dead and the run's end is durable.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from prefect import State, Task
from prefect.client.schemas.objects import TaskRun

from ...errors import LedgerError

__all__ = ["StepFailedError", "StepThread", "may_repeat"]

_T = TypeVar("_T")


class StepFailedError(Exception):
    """A step of ours broke. Its text, which Prefect stores in clear, names the step and the kind of error and nothing else.

    Args:
        step: name of the step.
        error: what was raised; kept in this process only.
        repeatable: whether the step wrote nothing, so that doing it again cannot double an entry.
    """

    def __init__(self, step: str, error: Exception, *, repeatable: bool = False) -> None:
        super().__init__(f"{step}: {type(error).__name__}")
        self.error = error
        self.repeatable = repeatable


def may_repeat(task: Task[..., object], run: TaskRun, state: State[object]) -> bool:
    """Prefect's question before a retry: only a step that says it wrote nothing is done again (a timeout says nothing, so it is not)."""
    del task, run
    return isinstance(state.data, StepFailedError) and state.data.repeatable


class StepThread:
    """One thread that does every blocking step of a flow, so that the loop lives and what is bound to a thread (SQLite) stays in it.

    Not a dataclass: Prefect looks into those when they are given to a task.
    """

    def __init__(self) -> None:
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="steps")
        self.cancel = threading.Event()
        """Set when the flow is cancelled; the jail looks at it."""

    async def do(self, work: Callable[[], _T]) -> _T:
        """What the work returns; if the flow is cancelled meanwhile, the work is told so and waited for first."""
        future = self._executor.submit(work)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            self.cancel.set()
            # the loop stands still here on purpose: a cancelled scope would be woken again and again until the step is done
            concurrent.futures.wait([future])
            raise

    async def attempt(self, step: str, work: Callable[[], _T], *, written: Callable[[], int]) -> _T:
        """The same for one step.

        Args:
            step: its name.
            work: what it does.
            written: how many entries there are that it could write; counted before it and after it failed.

        Raises:
            StepFailedError: it broke.
        """

        def guarded() -> _T:
            before = written()
            try:
                return work()
            except LedgerError as error:
                failure = StepFailedError(step, error)
            except Exception as error:  # noqa: BLE001 - around a step: whatever broke, Prefect is told its kind and not its text
                failure = StepFailedError(step, error, repeatable=written() == before)
            raise failure

        return await self.do(guarded)

    def close(self) -> None:
        """Let the thread go; nothing works in it any more."""
        self._executor.shutdown(wait=True)
