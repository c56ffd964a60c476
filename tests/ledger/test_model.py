"""The ledger against a model that is a list: whatever is appended, repeated, reopened or rotated, in whatever order, by whatever clock."""

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from custody.errors import ConflictError
from custody.ledger import Draft, Ledger, LedgerFiles, Pin, check_proof, verify_ledger
from custody.ledger.events import LedgerClockSetBack
from custody.ledger.tree import leaf_hash

from .drafts import ORIGIN, START, claim, egress
from .test_tree import naive_root

DEEP = os.environ.get("CUSTODY_TEST_DEPTH") == "deep"
NAMES = st.sampled_from([f"name-{i}" for i in range(12)])
RUNS = st.sampled_from([None, "a", "b"])
TOLERANCE = timedelta(minutes=10)


class LedgerMachine(RuleBasedStateMachine):
    """Drives one ledger on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="custody-model-"))
        self.files = LedgerFiles(self.home / "ledger.db", self.home / "keys")
        self.clock = self.newest = START
        Ledger.create(self.files, origin=ORIGIN).close()
        self.ledger = self.opened()
        self.known: dict[str, Draft] = {}
        self.order: list[str] = []
        self.pins: list[Pin] = []
        self.rotations = 0

    def opened(self) -> Ledger:
        return Ledger.open(self.files, clock=lambda: self.clock)

    def expect(self, draft: Draft) -> None:
        """A draft that is new comes next; before it, if the clock is far behind the newest entry, what the ledger says of that."""
        if draft.time < self.newest - TOLERANCE:
            said = f"ledger/clock/{len(self.order)}"
            seconds = (self.newest - self.clock) // timedelta(seconds=1)
            event = LedgerClockSetBack(newest=f"{self.newest:%Y-%m-%dT%H:%M:%S.%fZ}", seconds=seconds)
            self.known[said] = Draft(id=said, event=event, actor="custody", time=self.clock)
            self.order.append(said)
            self.newest = self.clock
        self.newest = max(self.newest, draft.time)
        self.order.append(draft.id)
        self.known[draft.id] = draft

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.home)

    @initialize()
    def first(self) -> None:
        self.append([("first", None)])

    @rule(wanted=st.lists(st.tuples(NAMES, RUNS), min_size=1, max_size=5, unique_by=lambda pair: pair[0]))
    def append(self, wanted: list[tuple[str, str | None]]) -> None:
        batch = []
        for name, run in wanted:
            fresh = Draft(id=name, event=egress(name), actor="agent", time=self.clock, run=run)
            batch.append(self.known.get(name, fresh))
        acknowledged = self.ledger.append(batch)
        for draft, answer in zip(batch, acknowledged, strict=True):
            assert answer.repeated == (draft.id in self.known)
            if not answer.repeated:
                self.expect(draft)
            assert self.order[answer.index] == draft.id

    @rule(minutes=st.sampled_from([-3000, -60, -11, -9, 0, 1, 60, 3000]))
    def set_the_clock(self, minutes: int) -> None:
        self.clock += timedelta(minutes=minutes)

    @rule(name=NAMES)
    def conflict(self, name: str) -> None:
        if name in self.known:
            other = Draft(id=name, event=claim(), actor="agent", time=self.clock, run=None)
            fresh = Draft(id="never", event=claim(), actor="agent", time=self.clock, run=None)
            with pytest.raises(ConflictError):
                self.ledger.append([fresh, other])

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = self.opened()

    @rule()
    def pin(self) -> None:
        self.pins.append(Pin("kept", self.ledger.checkpoint().note))

    @precondition(lambda self: self.rotations < 3)
    @rule()
    def rotate(self) -> None:
        name = f"rotation-{self.rotations}"
        self.ledger.rotate_key(event_id=name, actor="root", time=self.clock)
        *_said, entry = self.ledger.entries(start=len(self.order))
        assert entry.event is not None
        self.expect(Draft(id=name, event=entry.event, actor="root", time=entry.time))
        self.rotations += 1

    @invariant()
    def holds(self) -> None:
        entries = list(self.ledger.entries())
        assert [e.id for e in entries] == self.order
        assert [e.event for e in entries] == [self.known[name].event for name in self.order]
        for run in ("a", "b"):
            own = [e for e in entries if e.run == run]
            assert [e.sequence for e in own] == list(range(len(own)))
        assert self.ledger.checkpoint().root == naive_root([leaf_hash(e.leaf) for e in entries])
        if entries:
            last = entries[-1]
            assert check_proof(self.ledger.prove(last.index), last.leaf, self.ledger.verifier_key).index == last.index
        verification = verify_ledger(self.files, verifier_key=self.ledger.verifier_key, pins=self.pins)
        assert verification.consistent


def test_the_ledger_is_the_model() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=100 if DEEP else 10,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
