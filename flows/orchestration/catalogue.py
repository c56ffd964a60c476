"""Every flow that is registered with Prefect, in one typed list; plain data, so that doors and documentation can read it without Prefect."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CATALOGUE", "WORK_POOL", "Collision", "Deployment"]

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
    """A flow as Prefect knows it."""

    name: str
    flow: str
    """Name of the flow; Prefect calls the deployment `flow/name`."""
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


CATALOGUE: tuple[Deployment, ...] = (
    Deployment(
        name="daily",
        flow="daily-review",
        entrypoint="custody.flows.orchestration.review.daily_review",
        description="Judges the day before its scheduled start, renders the page and records its digest.",
        collision=Collision.CANCEL_NEW,
        cron="0 6 * * *",
    ),
    Deployment(
        name="by-id",
        flow="gated-run",
        entrypoint="custody.flows.orchestration.gated_run.gated_run",
        description="Takes a submitted run, given by its id, through every step; a run that was claimed before executes nothing.",
        collision=Collision.ENQUEUE,
    ),
)
