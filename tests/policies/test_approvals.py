"""How recorded answers fold into one state."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.policies import approval_state
from custody.policies.types import ApprovalEvent, ApprovalEventKind, ApprovalStage

from .asking import NOW

KIND = ApprovalEventKind
LATER = NOW + timedelta(hours=8)


def event(kind: ApprovalEventKind, entry: int, **fields: object) -> ApprovalEvent:
    usual: dict[str, object] = {"binding": "" if kind is KIND.WITHDRAWN else "b"}
    match kind:
        case KIND.HELD:
            usual |= {"roles": ("reviewer",), "expires": LATER}
        case KIND.GRANTED:
            usual |= {"role": "reviewer", "approver": "bob", "expires": LATER}
        case _:
            pass
    return ApprovalEvent(kind=kind, entry=entry, **(usual | fields))  # type: ignore[arg-type]  # fields of ApprovalEvent


HELD = event(KIND.HELD, 1)
GRANTED = event(KIND.GRANTED, 2)


def stage(*events: ApprovalEvent, minutes: int = 0) -> ApprovalStage:
    return approval_state(events, binding="b", now=NOW + timedelta(minutes=minutes)).stage


def test_a_held_run_is_pending() -> None:
    state = approval_state([HELD], binding="b", now=NOW)
    assert (state.stage, state.missing, state.approvals) == (ApprovalStage.PENDING, ("reviewer",), ())


def test_a_grant_makes_it_approved_and_names_the_entry() -> None:
    state = approval_state([HELD, GRANTED], binding="b", now=NOW)
    assert (state.stage, state.missing) == (ApprovalStage.APPROVED, ())
    assert [(approval.approver, approval.entry, approval.binding) for approval in state.approvals] == [("bob", 2, "b")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (KIND.REFUSED, ApprovalStage.REFUSED),
        (KIND.CONSUMED, ApprovalStage.CONSUMED),
        (KIND.WITHDRAWN, ApprovalStage.WITHDRAWN),
        (KIND.EXPIRED, ApprovalStage.EXPIRED),
    ],
)
def test_what_is_final_stays(kind: ApprovalEventKind, expected: ApprovalStage) -> None:
    final = event(kind, 3)
    assert stage(HELD, final) == expected
    assert stage(HELD, GRANTED, final) == expected
    assert stage(HELD, final, event(KIND.GRANTED, 4)) == expected
    assert stage(HELD, GRANTED, final, event(KIND.HELD, 4), event(KIND.GRANTED, 5)) == expected
    assert approval_state([HELD, GRANTED, final], binding="b", now=NOW).approvals == ()


def test_the_first_final_entry_wins() -> None:
    assert stage(HELD, GRANTED, event(KIND.CONSUMED, 3), event(KIND.REFUSED, 4)) == ApprovalStage.CONSUMED


def test_answers_for_another_binding_count_for_nothing() -> None:
    other = event(KIND.GRANTED, 2, binding="other")
    refused = event(KIND.REFUSED, 3, binding="other")
    assert stage(HELD, other, refused) == ApprovalStage.PENDING


def test_without_being_asked_for_nothing_is_approved() -> None:
    assert stage() == ApprovalStage.EXPIRED
    assert stage(GRANTED) == ApprovalStage.EXPIRED


def test_time_ends_a_wait_and_a_grant() -> None:
    assert stage(HELD, minutes=479) == ApprovalStage.PENDING
    assert stage(HELD, minutes=480) == ApprovalStage.EXPIRED
    assert stage(HELD, GRANTED, minutes=480) == ApprovalStage.EXPIRED
    longer = event(KIND.GRANTED, 2, expires=LATER + timedelta(hours=1))
    assert stage(HELD, longer, minutes=500) == ApprovalStage.APPROVED


def test_every_role_must_answer() -> None:
    held = event(KIND.HELD, 1, roles=("data-owner", "reviewer"))
    half = approval_state([held, GRANTED], binding="b", now=NOW)
    assert (half.stage, half.missing, len(half.approvals)) == (ApprovalStage.PENDING, ("data-owner",), 1)
    assert stage(held, GRANTED, event(KIND.GRANTED, 3, role="data-owner", approver="dan")) == ApprovalStage.APPROVED


@pytest.mark.parametrize("lacking", [{"role": ""}, {"approver": ""}, {"expires": None}])
def test_a_grant_without_role_person_or_time_counts_for_nothing(lacking: dict[str, object]) -> None:
    assert stage(HELD, event(KIND.GRANTED, 2, **lacking)) == ApprovalStage.PENDING


entries = st.lists(st.sampled_from(ApprovalEventKind), max_size=8).map(
    lambda kinds: [event(kind, entry) for entry, kind in enumerate(kinds)]
)


@given(entries, st.randoms(use_true_random=False))
def test_the_order_of_the_ledger_counts_and_no_other(events: list[ApprovalEvent], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    assert approval_state(shuffled, binding="b", now=NOW) == approval_state(events, binding="b", now=NOW)


@given(entries)
def test_approvals_are_given_out_only_while_nothing_final_happened(events: list[ApprovalEvent]) -> None:
    state = approval_state(events, binding="b", now=NOW)
    if state.approvals:
        assert {event.kind for event in events} <= {KIND.HELD, KIND.GRANTED}
