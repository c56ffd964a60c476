"""Where the approval of a held run stands, folded from what was recorded about it.

Rules of the fold, over entries in the order of the ledger:
- Only entries of the asked binding count; a withdrawal counts for the run whatever it was bound to.
- Refused, consumed, withdrawn and expired are final: nothing after them changes the state, so that an approval is used once.
- A grant counts for its own role until it expires; approved means that every role that was asked for has such a grant.
- Without an entry that asks (`held`) nothing can be approved: it is expired, which gives no approval.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from .types import Approval, ApprovalEvent, ApprovalEventKind, ApprovalStage, ApprovalState

__all__ = ["approval_state"]


def approval_state(events: Iterable[ApprovalEvent], *, binding: str, now: datetime) -> ApprovalState:
    """The state of one binding's approval at a time."""
    wanted: tuple[str, ...] | None = None
    until: datetime | None = None
    granted: list[Approval] = []
    for event in sorted(events, key=lambda event: event.entry):
        if event.kind is not ApprovalEventKind.WITHDRAWN and event.binding != binding:
            continue
        match event.kind:
            case ApprovalEventKind.HELD:
                # held again under the same binding (the decision was made again) renews the time, not the answers
                wanted, until = event.roles, event.expires
            case ApprovalEventKind.GRANTED:
                if event.expires is not None and event.role and event.approver:
                    granted.append(
                        Approval(
                            role=event.role,
                            approver=event.approver,
                            binding=binding,
                            entry=event.entry,
                            expires=event.expires,
                        )
                    )
            case ApprovalEventKind.REFUSED:
                return ApprovalState(stage=ApprovalStage.REFUSED)
            case ApprovalEventKind.CONSUMED:
                return ApprovalState(stage=ApprovalStage.CONSUMED)
            case ApprovalEventKind.WITHDRAWN:
                return ApprovalState(stage=ApprovalStage.WITHDRAWN)
            case ApprovalEventKind.EXPIRED:
                return ApprovalState(stage=ApprovalStage.EXPIRED)
            case _:
                assert_never(event.kind)
    return _open_state(wanted, until, granted, now)


def _open_state(
    wanted: tuple[str, ...] | None, until: datetime | None, granted: list[Approval], now: datetime
) -> ApprovalState:
    """The state where nothing final was recorded."""
    valid = tuple(approval for approval in granted if approval.expires > now)
    missing = tuple(sorted(set(wanted or ()) - {approval.role for approval in valid}))
    if wanted and not missing:
        return ApprovalState(stage=ApprovalStage.APPROVED, approvals=valid)
    if not wanted or until is None or until <= now:
        return ApprovalState(stage=ApprovalStage.EXPIRED, missing=missing)
    return ApprovalState(stage=ApprovalStage.PENDING, approvals=valid, missing=missing)
