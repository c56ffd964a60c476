"""The program that runs flows: `python -m custody.flows.orchestration.perform`, orders on standard input, answers on standard output.

One flow at a time, each in a loop of its own; an interrupt ends the flow, not the program. It ends with its parent. It must never print
anything else on the channel of its answers, and never answer before what it did is durable in the ledger.
"""

import asyncio
import os
import queue
import signal
from dataclasses import asdict
from io import TextIOWrapper

from prefect import tags

from ...errors import CustodyError, Exit
from ...settings import load_settings
from .deployments import register_all
from .gated_run import gated_run
from .lifeline import end_with_parent
from .orders import Answer, Kind, Order
from .review import acting_as, daily_review
from .steps import StepFailedError

__all__ = ["main"]

_GRACE_SECONDS = 60.0


def main() -> None:
    """Take orders until the other end is closed."""
    answers = _own_channel()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    end_with_parent(signal.SIGINT, grace_seconds=_GRACE_SECONDS, hear=lines.put)
    while True:
        try:
            line = lines.get()
        except KeyboardInterrupt:
            return
        if not line:
            return
        answers.write(_obey(Order.read(line)).line())
        answers.flush()


def _own_channel() -> TextIOWrapper:
    """Standard output for answers alone: whatever else prints there goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _obey(order: Order) -> Answer:
    try:
        with tags("custody"):
            return asyncio.run(_perform(order))
    except KeyboardInterrupt:
        return Answer(
            problem="interrupted", hint="what was running has its end in the ledger", exit_code=Exit.CANCELLED
        )
    except CustodyError as error:
        return Answer.refusing(error)
    except Exception as error:  # noqa: BLE001 - the last edge of this process: the other one is told what Prefect raised
        return _refused_by_prefect(error)


async def _perform(order: Order) -> Answer:
    match order.kind:
        case Kind.RUN:
            state = await gated_run(order.values["run"], return_state=True)
            return _answer(await state.aresult(raise_on_failure=False))
        case Kind.REVIEW:
            with acting_as(order.values["service"]):
                judged = await daily_review(order.values["since"], order.values["until"], return_state=True)
                return _answer(await judged.aresult(raise_on_failure=False))
        case Kind.REGISTER:
            registered = await register_all(load_settings())
            return Answer(
                rows=tuple({k: v for k, v in asdict(one).items() if isinstance(v, str)} for one in registered)
            )


def _answer(error: object) -> Answer:
    """A flow that came to an end of its own is done, whatever that end is: the ledger says it."""
    if isinstance(error, StepFailedError) and isinstance(error.error, CustodyError):
        return Answer.refusing(error.error)
    if isinstance(error, BaseException):
        return _refused_by_prefect(error)
    return Answer()


def _refused_by_prefect(error: BaseException) -> Answer:
    text = " ".join(str(error).split())[:300]
    return Answer(
        problem=f"the flow broke: {type(error).__name__}: {text}",
        hint="read flows.log in the Prefect home",
        exit_code=Exit.FAILURE,
    )


if __name__ == "__main__":
    main()
