"""What the event index holds of an entry: derived from the leaf alone, so that anybody can derive it again.

It must never hold anything that is not in the leaf.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from .events import Event, PolicyDecided, RunFinished
from .leaf import Parsed
from .types import Draft

__all__ = ["IndexRow", "microseconds", "outcome_of", "project", "project_draft", "tells_outcome", "time_at"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class IndexRow(NamedTuple):
    """One row of the event index, in the order of its columns."""

    idx: int
    kind: str
    run: str | None
    actor: str
    outcome: str
    time_us: int
    seq: int | None


def project(index: int, leaf: Parsed) -> IndexRow:
    """The row of a stored entry."""
    return IndexRow(index, leaf.kind, leaf.run, leaf.actor, outcome_of(leaf.event), leaf.time_us, leaf.sequence)


def project_draft(index: int, draft: Draft, sequence: int | None) -> IndexRow:
    """The same row, for an entry that is just being written."""
    return IndexRow(
        index,
        draft.event.KIND.name,
        draft.run,
        draft.actor,
        outcome_of(draft.event),
        microseconds(draft.time),
        sequence,
    )


def tells_outcome(kind_of_event: type[Event]) -> bool:
    """Whether the outcome depends on more than the kind."""
    return issubclass(kind_of_event, RunFinished | PolicyDecided)


def outcome_of(event: Event | None) -> str:
    """How it ended, where a kind says so.

    `run:finished`: its end, or the outcome class where the end is `executed`; `policy:decided`: its result; else empty.
    """
    if isinstance(event, RunFinished):
        return (event.outcome or "unknown") if event.end == "executed" else event.end
    return event.result if isinstance(event, PolicyDecided) else ""


def microseconds(time: datetime) -> int:
    """Whole microseconds since 1970, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def time_at(time_us: int) -> datetime:
    """The same the other way round."""
    return _EPOCH + time_us * _MICROSECOND
