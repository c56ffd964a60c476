"""The two conductors: directly in this process, or by Prefect; both take the same steps and write the same entries.

Prefect is loaded only where it conducts (its import costs a hundred starts of Python), so this file may import inside functions.
"""

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ..errors import CustodyError, LayerError, LedgerError, UsageError
from ..ledger import events
from ..policies.types import Principal, RunRequest
from ..settings import Settings
from . import ending, machine, pipeline
from .access import authorise, subject_of
from .house import House
from .intake import receive
from .interrupts import Interrupts
from .ownership import Ownership
from .passage import Conductor, Passage, Result, RunState, reload, state_of
from .pins import keep_newest
from .record import record

if TYPE_CHECKING:
    from .orchestration import Registered

__all__ = [
    "PrefectConductor",
    "conduct",
    "continue_run",
    "deploy",
    "pinned",
    "prefect_conductor",
    "run_directly",
    "submit",
    "take_up",
]

Progress = Callable[[str], None]
_RUN = re.compile(r"run-[0-9A-Za-z-]{1,60}")


class PrefectConductor(Protocol):
    """A Prefect server with this process as its runner; flows get ids, and answer by the ledger alone."""

    def run(self, run: str) -> None:
        """Conduct one received run as a flow."""

    def review(self, *, since: datetime, until: datetime, principal: str) -> None:
        """Review a window as a flow."""


def _silent(step: str) -> None:
    del step


def run_directly(
    house: House,
    request: RunRequest,
    *,
    progress: Progress = _silent,
    cancel: threading.Event | None = None,
    live: pipeline.Listener | None = None,
) -> Result:
    """Receive a request and take it all the way in this process."""
    machine.recover(house)
    progress("receive")
    return conduct(
        house, receive(house, request, conductor=Conductor.DIRECT), progress=progress, cancel=cancel, live=live
    )


def submit(house: House, request: RunRequest) -> Passage:
    """Receive a request that Prefect is to conduct; its flow gets the run's id and nothing else."""
    passage = receive(house, request, conductor=Conductor.PREFECT)
    passage.ownership.release()
    return passage


def take_up(house: House, run: str) -> Passage | Result:
    """Own a received run again and make its passage from the ledger; a Result if there is nothing left to do.

    Raises:
        UsageError: there is no such run, or another process is working on it.
    """
    if not _RUN.fullmatch(run):
        raise UsageError("that is not the id of a run", hint="`custody runs list` shows the runs")
    ownership = Ownership.take(house.places.owners, run)
    if ownership is None:
        _record_second(house, run)
        raise UsageError(
            f"run `{run}` is being worked on by another process",
            hint="wait for it; `custody runs show` says where it is",
        )
    try:
        known = list(house.ledger.entries(run=run))
        if state_of(known) in {RunState.SUBMITTED, RunState.HELD}:
            return reload(house, run, known, ownership)
    except UsageError as error:
        # what was stored is not what was judged: this run can never go on, so it gets its end
        ending.close(house, run, started=False, explanation=error.message, end="unavailable")
        ownership.release()
        raise
    except BaseException:
        ownership.release()
        raise
    ownership.release()
    if not known:
        raise UsageError(f"there is no run `{run}`", hint="`custody runs list` shows the runs")
    return pipeline.refuse_second(house, run, known[0].actor)


def _record_second(house: House, run: str) -> None:
    """Put on record that a run was to be conducted a second time while it was being worked on."""
    known = next(house.ledger.entries(run=run), None)
    if known is not None:
        reason = "another process is working on the run"
        event = events.AccessDenied(action="execute", source=known.actor, rules=("owned-once",), reason=reason, count=1)
        record(house, event, actor=known.actor, run=run)


def continue_run(
    house: House,
    run: str,
    caller: Principal,
    *,
    progress: Progress = _silent,
    cancel: threading.Event | None = None,
    live: pipeline.Listener | None = None,
) -> Result:
    """Take a held run on, by its requester: from the audit again, with fresh data.

    Raises:
        UsageError: there is no such run, or it is not held.
        CustodyError: this caller may not continue it; the attempt is on record.
    """
    machine.recover(house)
    known = list(house.ledger.entries(run=run))
    state = state_of(known)
    if state is None:
        raise UsageError(f"there is no run `{run}`", hint="`custody runs list` shows the runs")
    if state is not RunState.HELD:
        raise UsageError(
            f"run `{run}` is {state}, not held", hint="only a run that waits for an approval can be continued"
        )
    authorise(house, caller, "continueRun", subject=run, about=subject_of(run, known))
    house.ledger.check_reserve()
    passage = take_up(house, run)
    if isinstance(passage, Result):
        return passage
    if machine.expire(house, passage, known):
        return _result(passage)
    return conduct(house, passage, progress=progress, cancel=cancel, live=live)


def conduct(
    house: House,
    passage: Passage,
    *,
    progress: Progress = _silent,
    cancel: threading.Event | None = None,
    live: pipeline.Listener | None = None,
) -> Result:
    """Take a passage through the steps; whatever happens before the start becomes an end, not a lost run."""
    try:
        with Interrupts(cancel) as interrupts:
            for step in pipeline.STEPS:
                if passage.result:
                    break
                progress(step.__name__)
                if step is pipeline.execute:
                    with interrupts.shielded() as flag:
                        pipeline.execute(house, passage, flag, live)
                else:
                    step(house, passage)
    except KeyboardInterrupt:
        cancelled(house, passage)
    except LedgerError as error:
        # nothing can be recorded now; the next command closes the run
        passage.ownership.abandon()
        if passage.started:
            raise _unrecorded(passage, error) from error
        raise
    except Exception as error:  # noqa: BLE001 - around a flow: the run must get its end whatever broke
        broken(house, passage, error)
    return pinned(house, _result(passage))


def _unrecorded(passage: Passage, error: LedgerError) -> LedgerError:
    """The run was started, and the ledger failed before its end: without a durable end there is no result."""
    return LedgerError(
        f"run `{passage.run}` was executed, and its end is not on record: {error.message}",
        hint=f"{error.hint}; the next command closes the run as unknown, and its result is given to nobody",
        exit_code=error.exit_code,
    )


def pinned(house: House, result: Result) -> Result:
    """Keep the newest checkpoint outside, if a place is set; what is done stays done if that fails, and it is said."""
    folder = house.settings.ledger.pin_directory
    if folder is None:
        return result
    try:
        remark = keep_newest(house.ledger, folder, home=house.settings.home).remark
    except LedgerError as error:
        remark = f"no pin was kept outside: {error.message}"
    return replace(result, notes=(*result.notes, remark)) if remark else result


def cancelled(house: House, passage: Passage) -> None:
    """The requester interrupted the run before its start."""
    if passage.result is None and not passage.started:
        asked = events.RunCancelled(by=passage.request.principal.id, reason="interrupted by the requester")
        ending.end_without_execution(house, passage, "cancelled", "interrupted before the start", extra=[asked])


def broken(house: House, passage: Passage, error: Exception) -> None:
    """Something of ours broke before the start: the run is unavailable, and the cause is named without its content."""
    if passage.result is not None:
        return
    message = error.message if isinstance(error, CustodyError) else f"internal error: {type(error).__name__}"
    extra: list[events.Event] = []
    if isinstance(error, LayerError):
        extra.append(events.DoctorRefused(profile=passage.request.profile, layers=(), causes=(message[:200],)))
    ending.end_without_execution(house, passage, "unavailable", message, extra=extra)


def prefect_conductor(settings: Settings, *, progress: Progress = _silent) -> AbstractContextManager[PrefectConductor]:
    """A Prefect server of our own for this home, started now and stopped at the end."""
    from .orchestration import own_conductor

    return own_conductor(settings, progress=progress)


def deploy(house: House, caller: Principal) -> "tuple[Registered, ...]":
    """Register every flow of the catalogue with the Prefect server that the settings name; decided and on record.

    Raises:
        ConfigurationError: no server is named.
        CustodyError: this caller may not, or the server refused.
    """
    from .orchestration import register

    authorise(house, caller, "deploy", subject="catalogue")
    registered = register(house.settings, house.settings.prefect_client)
    for deployment in registered:
        event = events.ScheduleRegistered(
            deployment=deployment.name,
            entrypoint=deployment.entrypoint,
            schedule=deployment.schedule,
            timezone=deployment.timezone,
            by=caller.id,
        )
        record(house, event, actor=caller.id)
    return registered


def _result(passage: Passage) -> Result:
    if passage.result is None:
        raise LedgerError(f"run `{passage.run}` has no end", hint="it will be closed as unknown by the next command")
    return passage.result
