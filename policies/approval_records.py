"""What is recorded about the approval of a held run, and where it stands; plain data, standard library only.

flows/ makes the events from entries, approvals.py folds them. It must never hold who may approve: that is said by rules.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Approval", "ApprovalEvent", "ApprovalEventKind", "ApprovalStage", "ApprovalState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval that is in force for one binding."""

    role: str
    approver: str
    binding: str
    entry: int
    """Index of the entry that granted it."""
    expires: datetime


class ApprovalEventKind(StrEnum):
    """What can happen to a run that waits for people."""

    HELD = "held"
    GRANTED = "granted"
    REFUSED = "refused"
    EXPIRED = "expired"
    CONSUMED = "consumed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalEvent:
    """One entry about approvals of a run, as plain values."""

    kind: ApprovalEventKind
    entry: int
    """Index in the ledger: the order that counts."""
    binding: str = ""
    """Empty only for `withdrawn`, which is about the run whatever it was bound to."""
    roles: tuple[str, ...] = ()
    """Of `held`: the roles that are asked for."""
    role: str = ""
    """Of `granted` and `refused`: the role that the person answered in."""
    approver: str = ""
    expires: datetime | None = None
    """Of `held` and `granted`."""
    granted: int | None = None
    """Of `consumed`: index of the entry that granted it."""


class ApprovalStage(StrEnum):
    """Where the approval of one binding stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"
    CONSUMED = "consumed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalState:
    """Where the approval of one binding stands, and the approvals in force."""

    stage: ApprovalStage
    approvals: tuple[Approval, ...] = ()
    """What may be given to `Gate.run`; empty unless pending or approved."""
    missing: tuple[str, ...] = ()
    """Roles that nobody has answered in yet."""
