"""Four eyes: an approval counts once, for exactly what was shown, and never from whoever asked."""

from datetime import timedelta

import pytest

from custody.errors import CustodyError, Exit, UsageError
from custody.flows.approvals import approve, held_run, held_runs
from custody.flows.conduct import continue_run
from custody.flows.house import House
from custody.ledger import events

from .conftest import HIDDEN, Ask, go, kinds, named

pytestmark = pytest.mark.jail


def test_a_held_run_continues_after_another_person_approved_it(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    assert held.roles == ("security-reviewer",)
    approve(house, held.run, named(house, "bob"), comment="looked at it")
    done = continue_run(house, held.run, named(house, "scout"))
    assert (done.end, done.outcome and done.outcome.stdout.content) == ("executed", b"42\n")
    recorded = kinds(house, held.run)
    assert recorded[recorded.index("run:claimed") : recorded.index("run:claimed") + 3] == [
        "run:claimed",
        "approval:consumed",
        "run:started",
    ]


def test_without_an_approval_it_stays_held(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    assert continue_run(house, held.run, named(house, "scout")).end == "held"


@pytest.mark.parametrize("who", ["alice", "scout", "gone"])
def test_requester_owner_and_disabled_people_cannot_approve(house: House, ask: Ask, who: str) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    with pytest.raises(CustodyError) as caught:
        approve(house, held.run, named(house, who), comment="")
    assert caught.value.exit_code == Exit.DENIED
    assert kinds(house, held.run)[-2:] == ["policy:decided", "access:denied"]
    assert "approval:granted" not in kinds(house, held.run)


def test_a_reviewer_cannot_approve_what_he_asked_for_himself(house: House, ask: Ask) -> None:
    # carol is developer and reviewer; native code by a human is not held, so her own agent-like request is made through a held rule
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "carol"), comment="not mine")
    assert continue_run(house, held.run, named(house, "scout")).end == "executed"


def test_an_approval_is_used_once(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    continue_run(house, held.run, named(house, "scout"))
    with pytest.raises(UsageError, match="finished"):
        continue_run(house, held.run, named(house, "scout"))
    with pytest.raises(UsageError, match="does not wait"):
        approve(house, held.run, named(house, "bob"), comment="again")
    second = go(house, ask(HIDDEN, who="scout"))
    assert second.end == "held"


def test_nobody_else_continues_it(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    with pytest.raises(CustodyError) as caught:
        continue_run(house, held.run, named(house, "carol"))
    assert caught.value.exit_code == Exit.DENIED


def test_a_held_run_that_nobody_answered_expires(house: House, ask: Ask) -> None:
    from dataclasses import replace

    from custody.flows.house import now

    held = go(house, ask(HIDDEN, who="scout"))
    later = replace(house, clock=lambda: now() + timedelta(hours=house.settings.approvals.hold_hours + 1))
    done = continue_run(later, held.run, named(house, "scout"))
    assert (done.end, done.exit_code) == ("expired", Exit.NEEDS_APPROVAL)
    assert kinds(house, held.run)[-2:] == ["approval:expired", "run:finished"]


def test_an_approver_sees_exactly_what_is_bound(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout", purpose="add numbers"))
    seen = held_run(house, held.run)
    assert seen.code == HIDDEN.encode()
    assert seen.submission.purpose == "add numbers"
    assert "obfuscated" in seen.submission.facts.flags
    assert seen.held.binding
    assert [h.run for h in held_runs(house)] == [held.run]


def test_hostile_comments_are_redacted_and_bounded(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="ghp_" + "A" * 36 + "x" * 1000)
    granted = next(e.event for e in house.ledger.entries(run=held.run) if isinstance(e.event, events.ApprovalGranted))
    assert "ghp_" not in granted.comment
    assert len(granted.comment) <= 300
