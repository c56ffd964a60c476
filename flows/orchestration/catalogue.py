"""Every flow that is registered with Prefect, in one typed list; plain data, so that doors and documentation read it without Prefect."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CATALOGUE", "WORK_POOL", "Collision", "Deployment", "Registered"]

WORK_POOL = "custody"
"""The process work pool; its concurrency limit is 1, because Prefect's SQLite server bears one flow at a time."""


class Collision(StrEnum):
    """What becomes of a flow run that is due while another of its deployment runs."""

    CANCEL_NEW = "CANCEL_NEW"
    """It is cancelled: for reviews, whose window the next one can be given."""
    ENQUEUE = "ENQUEUE"
    """It waits: for gated runs, each of which must get its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A flow as Prefect is to know it."""

    flow: str
    name: str
    entrypoint: str
    """Module path of the flow function: it works from a checkout and from an installed wheel alike."""
    description: str
    collision: Collision
    cron: str = ""
    """Empty for what runs only when it is asked for."""
    timezone: str = "UTC"
    """IANA name; the window of a scheduled review follows its wall clock."""

    @property
    def full_name(self) -> str:
        """What `prefect deployment run` takes."""
        return f"{self.flow}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A deployment that Prefect's server acknowledged."""

    name: str
    entrypoint: str
    schedule: str
    """Cron expression; empty for what runs only when it is asked for."""
    timezone: str
    worker_command: str = f"prefect worker start --pool {WORK_POOL} --type process"
    """What the operator keeps running, as the user that owns the home: without a worker nothing that is due happens."""


CATALOGUE: tuple[Deployment, ...] = (
    Deployment(
        flow="daily-review",
        name="daily",
        entrypoint="custody.flows.orchestration.review.daily_review",
        description="Judges the day before its scheduled start, renders the page and records its digest.",
        collision=Collision.CANCEL_NEW,
        cron="0 6 * * *",
    ),
    Deployment(
        flow="gated-run",
        name="by-id",
        entrypoint="custody.flows.orchestration.gated_run.gated_run",
        description="Takes a submitted run, given by its id, all the way; a run that was claimed before executes nothing.",
        collision=Collision.ENQUEUE,
    ),
)
