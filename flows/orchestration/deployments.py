"""Putting the catalogue on record at a Prefect server: a work pool and one deployment for each flow, the same however often it is done.

It must never store more than the home's path at that server.
"""

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from ...settings import Settings
from .catalogue import CATALOGUE, WORK_POOL, Collision, Deployment, Registered
from .gated_run import gated_run
from .review import daily_review

__all__ = ["register_all"]

_FLOWS = {found.name: found.ato_deployment for found in (daily_review, gated_run)}

_STRATEGIES = {
    Collision.CANCEL_NEW: ConcurrencyLimitStrategy.CANCEL_NEW,
    Collision.ENQUEUE: ConcurrencyLimitStrategy.ENQUEUE,
}


async def register_all(settings: Settings) -> tuple[Registered, ...]:
    """Register every deployment of the catalogue; what the server acknowledged."""
    async with get_client() as client:
        await _make_pool(client)
    return tuple([await _register(deployment, settings) for deployment in CATALOGUE])


async def _make_pool(client: PrefectClient) -> None:
    pool = WorkPoolCreate(
        name=WORK_POOL,
        type=ProcessWorker.type,
        description="custody: one flow at a time",
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=1,
    )
    try:
        await client.create_work_pool(pool)
    except ObjectAlreadyExists:
        return


async def _register(deployment: Deployment, settings: Settings) -> Registered:
    prepared: RunnerDeployment = await _FLOWS[deployment.flow](
        name=deployment.name,
        description=deployment.description,
        schedules=[Cron(deployment.cron, timezone=deployment.timezone)] if deployment.cron else [],
        parameters={"timezone": deployment.timezone} if deployment.cron else {},
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=_STRATEGIES[deployment.collision]),
        work_pool_name=WORK_POOL,
        job_variables={"env": {"CUSTODY_HOME": str(settings.home)}},
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["custody"],
    )
    await prepared.aapply()
    return Registered(
        name=deployment.full_name,
        entrypoint=str(prepared.entrypoint),
        schedule=deployment.cron,
        timezone=deployment.timezone,
    )
