"""Blocking steps: what Prefect may hear of a failure, what may be done again, and that nothing is let go of."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from custody.errors import LedgerError
from custody.flows.orchestration.steps import StepFailedError, StepThread, may_repeat


@dataclass
class Failed:
    data: object


def _fail(error: Exception, *, entries: int = 0) -> StepFailedError:
    """What comes of a step that writes so many entries and then breaks."""
    written: list[None] = []

    def work() -> None:
        written.extend([None] * entries)
        raise error

    async def attempt() -> None:
        thread = StepThread()
        try:
            await thread.attempt("audit", work, written=lambda: len(written))
        finally:
            thread.close()

    with pytest.raises(StepFailedError) as failed:
        asyncio.run(attempt())
    return failed.value


def test_a_failure_names_its_step_and_kind_and_nothing_else() -> None:
    failure = _fail(ValueError("API_KEY=sk-123"))
    assert str(failure) == "audit: ValueError"
    assert failure.__cause__ is None
    assert failure.__context__ is None


def test_a_step_that_wrote_nothing_may_be_done_again() -> None:
    assert may_repeat(None, None, Failed(_fail(OSError("network"))))


def test_a_step_that_wrote_an_entry_is_never_done_again() -> None:
    assert not may_repeat(None, None, Failed(_fail(OSError("network"), entries=1)))


def test_a_step_whose_ledger_failed_is_never_done_again() -> None:
    assert not may_repeat(None, None, Failed(_fail(LedgerError("full", hint="make room"))))


@pytest.mark.parametrize("error", [TimeoutError(), ValueError(), None])
def test_what_says_nothing_about_its_entries_is_never_done_again(error: object) -> None:
    assert not may_repeat(None, None, Failed(error))


def test_a_cancelled_step_is_told_so_and_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def cancel_it() -> None:
        thread = StepThread()

        def work() -> None:
            begun.set()
            assert thread.cancel.wait(10)
            ended.set()

        step = asyncio.create_task(thread.attempt("execute", work))
        await asyncio.to_thread(begun.wait, 10)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        assert ended.is_set()
        thread.close()

    asyncio.run(cancel_it())


def test_the_loop_lives_while_a_step_works() -> None:
    async def both() -> None:
        thread = StepThread()
        ticked = threading.Event()
        asyncio.get_running_loop().call_later(0.01, ticked.set)
        assert await thread.attempt("execute", lambda: ticked.wait(10))
        thread.close()

    asyncio.run(both())


def test_what_is_entered_is_closed_in_the_same_thread() -> None:
    threads: list[str] = []

    @contextmanager
    def place() -> Iterator[str]:
        threads.append(threading.current_thread().name)
        yield "open"
        threads.append(threading.current_thread().name)

    async def enter() -> str:
        thread = StepThread()
        try:
            return await thread.enter("open", place())
        finally:
            thread.close()

    assert asyncio.run(enter()) == "open"
    assert len(threads) == 2
    assert len(set(threads)) == 1
    assert threads[0] != threading.current_thread().name
