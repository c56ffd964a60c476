"""People who answer: saying no ends a run, and an answer counts once, in time, from somebody else, for what is shown."""

from dataclasses import replace
from datetime import timedelta

import pytest

from custody.errors import CustodyError, Exit, LedgerError, UsageError
from custody.flows import approvals
from custody.flows.approvals import approval_events, approve, held_for, held_for_all, refuse
from custody.flows.conduct import continue_run
from custody.flows.house import House, now, open_house
from custody.flows.passage import RunState, state_of
from custody.ledger import Ledger, events
from custody.policies import approval_state
from custody.policies.types import ApprovalStage
from tests.conftest import DIRECTORY, MakeHome

from .conftest import HIDDEN, Ask, go, kinds, named

SIBLING = '\n[agents.sibling]\nowner = "alice"\nroles = ["developer", "security-reviewer"]\n'


def denials(house: House, run: str) -> list[tuple[str, str, tuple[str, ...]]]:
    found = (entry.event for entry in house.ledger.entries(run=run, kinds=("access:denied",)))
    return [(d.action, d.source, d.rules) for d in found if isinstance(d, events.AccessDenied)]


def test_a_refusal_ends_the_run(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    refuse(house, held.run, named(house, "bob"), comment="what does it hide?")
    assert kinds(house, held.run)[-3:] == ["policy:decided", "approval:refused", "run:finished"]
    ended = list(house.ledger.entries(run=held.run))[-1].event
    assert isinstance(ended, events.RunFinished)
    assert (ended.end, ended.started, ended.explanation) == ("refused", False, "refused by bob: what does it hide?")
    with pytest.raises(UsageError, match="finished, not held"):
        continue_run(house, held.run, named(house, "scout"))
    for answer in (approve, refuse):
        with pytest.raises(UsageError, match="does not wait"):
            answer(house, held.run, named(house, "bob"), comment="")
    assert denials(house, held.run) == [
        ("approve", "bob", ("approval-binding",)),
        ("refuse", "bob", ("approval-binding",)),
    ]


@pytest.mark.parametrize("who", ["alice", "scout", "gone"])
def test_who_may_not_refuse_ends_nothing(house: House, ask: Ask, who: str) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    with pytest.raises(CustodyError) as caught:
        refuse(house, held.run, named(house, who), comment="")
    assert caught.value.exit_code == Exit.DENIED
    assert kinds(house, held.run)[-2:] == ["policy:decided", "access:denied"]


def test_another_agent_of_the_same_owner_cannot_approve(make_home: MakeHome, ask: Ask) -> None:
    with open_house(make_home("sibling", directory=DIRECTORY + SIBLING)) as house:
        held = go(house, replace(ask(HIDDEN, who="scout"), principal=named(house, "scout")))
        with pytest.raises(CustodyError, match="agent or service of theirs"):
            approve(house, held.run, named(house, "sibling"), comment="")
        assert denials(house, held.run)[0][:2] == ("approve", "sibling")


def test_a_reviewer_cannot_approve_for_himself_or_his_agent(make_home: MakeHome, ask: Ask) -> None:
    own = '\n[agents.hers]\nowner = "carol"\nroles = ["developer"]\n'
    with open_house(make_home("own", directory=DIRECTORY + own)) as house:
        held = go(house, replace(ask(HIDDEN, who="scout"), principal=named(house, "hers")))
        with pytest.raises(CustodyError, match="Nobody approves what they"):
            approve(house, held.run, named(house, "carol"), comment="")
        approve(house, held.run, named(house, "bob"), comment="")


def test_an_approval_is_given_once(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    with pytest.raises(CustodyError, match="approved already"):
        approve(house, held.run, named(house, "carol"), comment="me too")
    assert kinds(house, held.run).count("approval:granted") == 1
    assert denials(house, held.run) == [("approve", "carol", ("approval-binding",))]


def test_of_two_approvals_at_the_same_moment_one_is_written(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = go(house, ask(HIDDEN, who="scout")).run
    real = approvals._require_current

    def meanwhile(*given: object) -> None:
        real(*given)  # type: ignore[arg-type]  # passed on as it came
        monkeypatch.setattr(approvals, "_require_current", real)
        approve(house, held, named(house, "carol"), comment="first")

    monkeypatch.setattr(approvals, "_require_current", meanwhile)
    with pytest.raises(CustodyError, match="at the same moment") as caught:
        approve(house, held, named(house, "bob"), comment="second")
    assert caught.value.exit_code == Exit.DENIED
    (granted,) = house.ledger.entries(run=held, kinds=("approval:granted",))
    assert granted.actor == "carol"
    assert denials(house, held) == [("approve", "bob", ("approval-binding",))]


def test_an_answer_that_comes_too_late_is_refused(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    later = replace(house, clock=lambda: now() + timedelta(hours=house.settings.approvals.hold_hours + 1))
    with pytest.raises(CustodyError, match="nobody answered before"):
        approve(later, held.run, named(house, "bob"), comment="")
    assert denials(house, held.run) == [("approve", "bob", ("approval-binding",))]


@pytest.mark.jail
def test_an_approval_that_was_not_used_in_time_does_not_count(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    later = replace(house, clock=lambda: now() + timedelta(hours=house.settings.approvals.valid_hours + 1))
    assert continue_run(later, held.run, named(house, "scout")).end == "held"


def test_an_approval_of_a_time_that_has_not_come_counts_for_nothing(house: House, ask: Ask) -> None:
    """It was given while the clock was ahead, and would be valid for as long."""
    held = go(house, ask(HIDDEN, who="scout"))
    ahead = replace(house, clock=lambda: now() + timedelta(hours=2))
    approve(ahead, held.run, named(house, "bob"), comment="")
    assert continue_run(house, held.run, named(house, "scout")).end == "held"
    approve(house, held.run, named(house, "bob"), comment="")


@pytest.mark.jail
def test_a_replayed_approval_counts_for_nothing(house: House, ask: Ask) -> None:
    """The very entry of an approval, written once more for another run of the same program."""
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    continue_run(house, held.run, named(house, "scout"))
    (event,) = (e.event for e in house.ledger.entries(run=held.run, kinds=("approval:granted",)))
    consumed = approval_events(house.ledger.entries(run=held.run), now=house.clock())
    assert isinstance(event, events.ApprovalGranted)
    state = approval_state(consumed, binding=event.binding, now=house.clock())
    assert (state.stage, state.approvals) == (ApprovalStage.CONSUMED, ())
    assert go(house, ask(HIDDEN, who="scout")).end == "held"


def test_other_code_is_another_run_with_another_binding(house: House, ask: Ask) -> None:
    first, second = go(house, ask(HIDDEN, who="scout")), go(house, ask(f"{HIDDEN}# more\n", who="scout"))
    approve(house, first.run, named(house, "bob"), comment="")
    assert continue_run(house, second.run, named(house, "scout")).end == "held"
    bindings = {
        e.event.binding for e in house.ledger.entries(kinds=("run:held",)) if isinstance(e.event, events.RunHeld)
    }
    assert len(bindings) == 2


def test_what_waits_is_shown_to_readers_only_and_on_record(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    seen = held_for(house, held.run, named(house, "bob"))
    assert seen is not None
    assert seen.code == HIDDEN.encode()
    read = next(house.ledger.entries(kinds=("ledger:read",), newest_first=True)).event
    assert isinstance(read, events.LedgerRead)
    assert read.what == f"held run {held.run}"
    assert held_for(house, held.run, named(house, "gone")) is None
    assert [h.run for h in held_for_all(house, named(house, "bob"))] == [held.run]
    assert held_for_all(house, named(house, "stray")) == []


@pytest.mark.parametrize("text", ["\x1b[2J", "two\nlines", "back\u202ewards", "x" * 500, "nul\0"])
def test_hostile_purposes_and_tickets_are_denied_on_record(house: House, ask: Ask, text: str) -> None:
    for changes in ({"purpose": text}, {"ticket": text}):
        done = go(house, ask(**changes))
        assert (done.end, done.rules) == ("denied", ("submit-texts",))
        assert "one plain line" in done.explanation
        assert kinds(house, done.run) == ["run:submitted", "policy:decided", "run:finished"]


def test_too_little_disk_lets_no_held_run_go_on_and_it_stays_held(house: House, ask: Ask) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    with Ledger.open(house.places.ledger, disk_reserve_mib=1 << 30) as careful:
        with pytest.raises(LedgerError, match="kept in reserve") as caught:
            continue_run(replace(house, ledger=careful), held.run, named(house, "scout"))
        assert caught.value.exit_code == Exit.LEDGER
    assert state_of(list(house.ledger.entries(run=held.run))) is RunState.HELD
