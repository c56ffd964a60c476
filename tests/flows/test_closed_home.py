"""A home whose policy set in force does not fit this release: it opens, runs nothing, and takes a set that fits."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from custody.errors import CustodyError, Exit, LedgerError, PolicyError
from custody.flows.approvals import approve, held_runs
from custody.flows.checking import check
from custody.flows.conduct import continue_run
from custody.flows.explanation import why_decided
from custody.flows.house import House, new_id, open_house, policies_in_force
from custody.flows.machine import doctor
from custody.flows.policy import apply_policies
from custody.flows.record import Batch
from custody.ledger import events
from custody.policies import PolicySet
from custody.sandbox import Sandbox
from custody.settings import Settings
from tests.policies.test_closed_gate import NO_PETER, foreign, older

from ..conftest import DIRECTORY, MakeHome
from .conftest import HIDDEN, go, named, request_of

PETER = '\n[humans.peter]\nos_user = "peter"\nroles = ["policy-admin"]\n'


def put_in_force(house: House, policies: PolicySet) -> None:
    """What an older release wrote when its `policy apply` took this set."""
    batch = Batch(house, "alice")
    batch.add(
        events.PolicyReplaced(
            author="alice",
            decision=new_id("dec", house.clock()),
            policy_sha256=policies.digest,
            schema_sha256=policies.schema_digest,
            previous_sha256=house.policies.digest,
            rules=1,
            profiles=("default",),
            comment="",
            policy_set=batch.seal(policies.to_bytes(), media="application/json"),
            difference=batch.seal(b"", media="text/x-diff"),
            files=(),
        )
    )
    batch.write()


@dataclass(frozen=True)
class Closed:
    """The home, and a run that was held in it before."""

    settings: Settings
    held: str


@pytest.fixture(params=[lambda shipped: older(shipped, extra=NO_PETER), foreign], ids=["older", "foreign"])
def closed(request: pytest.FixtureRequest, make_home: MakeHome) -> Closed:
    make: Callable[[PolicySet], PolicySet] = request.param
    settings = make_home(directory=DIRECTORY + PETER)
    with open_house(settings) as house:
        held = go(house, request_of(house, HIDDEN, who="scout")).run
        put_in_force(house, make(PolicySet.shipped()))
    return Closed(settings, held)


def no_jail(*_: object, **__: object) -> object:
    pytest.fail("a jail was started")


def test_every_run_is_refused_with_the_reason_and_the_way_out(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "run", no_jail)
    with open_house(closed.settings) as house:
        done = go(house, request_of(house))
        assert (done.end, done.exit_code) == ("denied", Exit.DENIED)
        (reason,) = done.reasons
        assert "does not fit this release of custody" in reason.text
        checked = check(house, request_of(house))
        assert checked.result == "denied"
        assert checked.remedies == ("put a set in force that fits: custody policy apply FOLDER",)
        with pytest.raises(CustodyError, match="does not fit this release"):
            continue_run(house, closed.held, named(house, "scout"))
        with pytest.raises(CustodyError, match="does not fit this release"):
            approve(house, closed.held, named(house, "bob"), comment="")
        assert [held.run for held in held_runs(house)] == [closed.held], "what is held is not lost by an upgrade"
        assert not list(house.ledger.entries(kinds=("run:started",)))


def test_doctor_names_the_cause_and_the_cure(closed: Closed) -> None:
    with open_house(closed.settings) as house:
        (found,) = [c for c in doctor(house) if c.name == "policy set in force"]
    assert (found.state, found.severity) == ("missing", Exit.HIGH)
    assert "does not fit this release" in found.cause
    assert "custody policy apply" in found.cure


@pytest.mark.jail
def test_who_may_change_policies_brings_it_back(closed: Closed, tmp_path: Path) -> None:
    PolicySet.shipped().write_to(tmp_path / "new")
    with open_house(closed.settings) as house:
        applied = apply_policies(house, named(house, "alice"), tmp_path / "new", comment="after the upgrade")
        assert applied.changed
        assert "locked" in applied.layers
        decided = next(house.ledger.entries(kinds=("policy:decided",), newest_first=True)).event
        assert isinstance(decided, events.PolicyDecided)
    with open_house(closed.settings) as house:
        assert house.gate.closed == ""
        assert go(house, request_of(house)).end == "executed"
        (explained,) = why_decided(house, named(house, "alice"), decided.decision)
        assert (explained.stage, explained.result, explained.again) == ("changePolicy", "allowed", "same")


@pytest.mark.parametrize("who", ["bob", "scout", "gone", "carol"])
def test_who_may_not_change_policies_may_not_now(closed: Closed, tmp_path: Path, who: str) -> None:
    PolicySet.shipped().write_to(tmp_path / "new")
    with open_house(closed.settings) as house:
        before = policies_in_force(house.ledger)
        with pytest.raises(CustodyError) as caught:
            apply_policies(house, named(house, who), tmp_path / "new")
        assert caught.value.exit_code == Exit.DENIED
        assert policies_in_force(house.ledger) == before


def test_an_organisations_own_forbid_holds_on(make_home: MakeHome, tmp_path: Path) -> None:
    settings = make_home(directory=DIRECTORY + PETER)
    PolicySet.shipped().write_to(tmp_path / "new")
    with open_house(settings) as house:
        put_in_force(house, older(PolicySet.shipped(), extra=NO_PETER))
    with open_house(settings) as house, pytest.raises(CustodyError, match="Not Peter"):
        apply_policies(house, named(house, "peter"), tmp_path / "new")


def test_what_does_not_fit_cannot_be_applied_again_and_is_no_unchanged_set(closed: Closed, tmp_path: Path) -> None:
    with open_house(closed.settings) as house:
        house.policies.write_to(tmp_path / "same")
        with pytest.raises(PolicyError, match="rejected"):
            apply_policies(house, named(house, "alice"), tmp_path / "same")
        rejected = next(house.ledger.entries(kinds=("policy:rejected",), newest_first=True)).event
        assert isinstance(rejected, events.PolicyRejected)
        assert rejected.policy_sha256 == house.policies.digest


def test_damaged_bytes_of_the_set_in_force_are_no_set_that_does_not_fit(make_home: MakeHome) -> None:
    """Somebody who can write the database must not get the shipped rules to decide instead of those in force."""
    settings = make_home()
    with open_house(settings) as house:
        changed = next(house.ledger.entries(kinds=("policy:changed",))).event
        assert isinstance(changed, events.PolicyChanged)
        engine = house.ledger._engine
        with engine.begin() as connection:
            for trigger in list(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")):
                connection.exec_driver_sql(f"DROP TRIGGER {trigger[0]}")
            connection.exec_driver_sql(
                "UPDATE payload SET content = ? WHERE id = ?",
                (hashlib.sha256(b"x").digest(), changed.policy_set.id),
            )
    with pytest.raises((LedgerError, PolicyError)), open_house(settings):
        pytest.fail("it opened")
