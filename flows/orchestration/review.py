"""The daily review as a Prefect flow: what is outdated, then the review of the same window.

It must never take the time at which it happens to run for its window (period.py), nor the name of its principal from a parameter.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType

from ...errors import ConfigurationError
from ...policies.types import Principal, PrincipalKind
from ...settings import load_settings
from .. import review
from ..access import authorise, identify
from ..house import House, open_house
from .period import Period, period_of
from .steps import StepThread, may_repeat

__all__ = ["Judged", "acting_as", "daily_review"]

_FLOW_SECONDS = 3600
_SERVICE: ContextVar[str] = ContextVar("service", default="")


@dataclass(frozen=True, slots=True)
class Judged:
    """All that Prefect's side learns of a review."""

    review: str
    severity: str
    entry: int


@contextmanager
def acting_as(service: str) -> Iterator[None]:
    """Let a flow that is called within act as a service of the directory; empty for the OS user of this process.

    Not a parameter of the flow: those can be chosen by whoever reaches Prefect's server.
    """
    token = _SERVICE.set(service)
    try:
        yield
    finally:
        _SERVICE.reset(token)


def _run_name() -> str:
    scheduled = runtime.flow_run.get_scheduled_start_time()
    until = str(runtime.flow_run.get_parameters().get("until") or scheduled.isoformat(timespec="minutes"))
    return f"daily-review/{until[:40]}"


class Desk:
    """What both tasks work with. Not a dataclass: Prefect looks into those when they are given to a task."""

    def __init__(self, house: House, principal: Principal, period: Period, thread: StepThread) -> None:
        self.house = house
        self.principal = principal
        self.period = period
        self.thread = thread


@task(
    name="freshness",
    task_run_name="freshness",
    tags=["custody"],
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=may_repeat,
    timeout_seconds=900,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def ask_freshness(desk: Desk) -> None:
    """Ask the index what is outdated; done again only if nothing was recorded."""
    since, until = desk.period

    def work() -> None:
        review.record_freshness(desk.house, desk.principal.id, since=since, until=until)

    def written() -> int:
        return desk.house.ledger.count(kinds=("dependencies:freshness",))

    await desk.thread.attempt("freshness", work, written=written)


@task(
    name="review",
    task_run_name="review",
    tags=["custody"],
    retries=0,
    timeout_seconds=1800,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def judge_window(desk: Desk) -> Judged:
    """Verify, judge, render and record, in one piece: the page and its digest belong together."""
    since, until = desk.period

    def work() -> Judged:
        done = review.review_window(
            desk.house, desk.principal, since=since, until=until, conductor="prefect", freshness=False
        )
        return Judged(done.review.id, done.review.severity.value, done.entry)

    return await desk.thread.attempt("review", work)


@flow(
    name="daily-review",
    flow_run_name=_run_name,
    description="Judges a window of the ledger and renders the report.",
    retries=0,
    timeout_seconds=_FLOW_SECONDS,
    persist_result=False,
    log_prints=False,
)
async def daily_review(since: str = "", until: str = "", timezone: str = "UTC") -> State[Judged]:
    """Review a window; the state's name says how bad the worst finding is."""
    thread = StepThread()
    scheduled = runtime.flow_run.get_scheduled_start_time()
    service = _SERVICE.get()
    try:
        period = await thread.attempt("window", lambda: period_of(since, until, scheduled=scheduled, timezone=timezone))
        house = await thread.enter("open", open_house(load_settings()))
        principal = await thread.attempt("authorise", lambda: _principal(house, service))
        desk = Desk(house, principal, period, thread)
        await ask_freshness(desk)
        judged = await judge_window(desk)
    finally:
        thread.close()
    return State(
        type=StateType.COMPLETED,
        name="Nothing found" if judged.severity == "none" else judged.severity.capitalize(),
        message=f"{judged.review}: {judged.severity}, entry {judged.entry}",
        data=judged,
    )


def _principal(house: House, service: str) -> Principal:
    """Who reviews, if the policies let them.

    Without a named service it is whoever the directory knows behind the OS user of this process: a service, where it runs under an account of
    its own. Nobody called, so nothing that sudo or a login says counts.
    """
    if service:
        found = house.directory.principal(service, authentication="own-process")
        if found is None or found.kind is not PrincipalKind.SERVICE:
            raise ConfigurationError(f"the directory has no service `{service}`", hint="add it to directory.toml")
        principal = found
    else:
        principal = identify(house, _os_user(), "os-user")
    authorise(house, principal, "runReview", subject="ledger")
    return principal


def _os_user() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
