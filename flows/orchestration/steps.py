"""Blocking steps under an async flow: one thread for all of them, and failures that say no more than which step and what kind.

It must never let go of a step that still works: a cancelled flow waits until the jail is dead and the run's end is durable.
"""

import asyncio
import concurrent.futures
import logging
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

from ...errors import LedgerError

__all__ = ["StepFailedError", "StepThread", "may_repeat"]

_log = logging.getLogger(__name__)
_FRAMES = 12
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


class _Failed(Protocol):
    """The state that Prefect would give an attempt."""

    data: object


def may_repeat(task: object, run: object, state: _Failed) -> bool:
    """Prefect's question before a retry: only a step that says it wrote nothing is done again (a timeout says nothing, so it is not)."""
    del task, run
    return isinstance(state.data, StepFailedError) and state.data.repeatable


def _places(error: Exception) -> str:
    """Where it was raised, innermost first, for whoever mends it; without its text, which may quote a program."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[:-_FRAMES:-1])


class StepThread:
    """One thread that does every blocking step of a flow, so that the loop lives and what is bound to a thread stays in it.

    Not a dataclass: Prefect looks into those when they are given to a task.
    """

    def __init__(self) -> None:
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="steps")
        self._stack = ExitStack()
        self.cancel = threading.Event()
        """Set when the flow is cancelled; the jail looks at it."""

    async def attempt(self, step: str, work: Callable[[], _T], *, written: Callable[[], int] = lambda: 0) -> _T:
        """What the work of one step returns; if the flow is cancelled meanwhile, the work is told so and waited for first.

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
                _log.error("step=%s error=%s at=%s", step, type(error).__name__, _places(error))
            raise failure

        future = self._executor.submit(guarded)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            self.cancel.set()
            # the loop stands still here on purpose: a cancelled scope would be woken again and again until the step is done
            concurrent.futures.wait([future])
            raise

    async def enter(self, step: str, context: AbstractContextManager[_T]) -> _T:
        """Open something in the thread, to be closed there by `close`."""
        return await self.attempt(step, lambda: self._stack.enter_context(context))

    def finish(self, work: Callable[[], None]) -> None:
        """Do something at once and wait for it without the loop; for a flow that is being cancelled, where nothing can be awaited."""
        self._executor.submit(work).result()

    def close(self) -> None:
        """Close what was entered, and let the thread go."""
        try:
            self.finish(self._stack.close)
        finally:
            self._executor.shutdown()
