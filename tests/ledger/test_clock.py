"""A clock that is wrong: the log goes on, says what it saw, and is no less in order."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from custody.errors import LedgerError
from custody.ledger import Ledger, LedgerFiles, Pin, Verification, verify_ledger
from custody.ledger import clock as under_test
from custody.ledger.events import LedgerClockSetBack, LedgerHeartbeat, ServiceStarted, ServiceStopped
from custody.ledger.projection import microseconds

from .drafts import ORIGIN, START, Drafts
from .forgery import Forger

YEARS = timedelta(days=365 * 70)


class Machine:
    """A ledger on a machine whose clock can be set."""

    def __init__(self, files: LedgerFiles) -> None:
        Ledger.create(files, origin=ORIGIN).close()
        self.files = files
        self.clock = START
        self.ledger = Ledger.open(files, clock=lambda: self.clock)
        self._drafts = Drafts()

    def write(self, *ages: timedelta, count: int = 1) -> list[int]:
        """Entries that were prepared so long ago, one batch; the clock goes on by a second."""
        times = [self.clock - age for age in ages or (timedelta(0),) * count]
        batch = [replace(self._drafts.make(run=None), time=time) for time in times]
        done = [acknowledgement.index for acknowledgement in self.ledger.append(batch)]
        self.clock += timedelta(seconds=1)
        return done

    def verify(self, *pins: Pin, from_pin: bool = False) -> Verification:
        verification = verify_ledger(
            self.files, verifier_key=self.ledger.verifier_key, pins=pins, from_pin=from_pin, processes=1
        )
        two = verify_ledger(
            self.files, verifier_key=self.ledger.verifier_key, pins=pins, from_pin=from_pin, processes=2
        )
        assert verification == two
        return verification

    def statements(self) -> dict[int, LedgerClockSetBack]:
        kinds = ("ledger:clock_set_back",)
        return {e.index: e.event for e in self.ledger.entries(kinds=kinds) if isinstance(e.event, LedgerClockSetBack)}


@pytest.fixture
def machine(files: LedgerFiles) -> Machine:
    return Machine(files)


def said(verification: Verification) -> list[str]:
    return [sentence for sentence in verification.not_checked if "clock" in sentence]


def codes(verification: Verification) -> set[str]:
    return {problem.code for problem in verification.problems}


def test_a_clock_that_was_far_ahead_for_a_moment_does_not_stop_the_log(machine: Machine) -> None:
    assert machine.write() == [0]
    machine.clock += YEARS
    assert machine.write(count=2) == [1, 2]
    machine.clock = START + timedelta(minutes=1)
    assert machine.write(count=2) == [4, 5]
    assert machine.write() == [6]
    (entry,) = machine.ledger.entries(start=3, stop=4)
    seconds = (YEARS + timedelta(seconds=1) - timedelta(minutes=1)).total_seconds()
    assert entry.event == LedgerClockSetBack(newest="2096-02-12T12:00:01.000000Z", seconds=int(seconds))
    assert (entry.id, entry.actor, entry.run, entry.time) == (
        "ledger/clock/3",
        "custody",
        None,
        START + timedelta(minutes=1),
    )
    verification = machine.verify()
    assert verification.consistent
    assert said(verification) == ["when entries were written: the machine's clock was set back, as entry 3 says"]


def test_a_step_back_of_ten_minutes_is_no_step_and_is_not_said(machine: Machine) -> None:
    machine.write()
    machine.clock = START - timedelta(minutes=10)
    machine.write()
    assert machine.statements() == {}
    machine.clock = START - timedelta(minutes=10, seconds=1)
    machine.write()
    assert [*machine.statements()] == [2]
    assert machine.verify().consistent


def test_small_steps_do_not_add_up_unsaid(machine: Machine) -> None:
    """Each is of nine minutes, which the one before allows for; the newest entry does not."""
    for _ in range(10):
        machine.write()
        machine.clock -= timedelta(minutes=9)
    assert len(machine.statements()) == 4
    assert machine.verify().consistent


def test_an_event_that_waited_too_long_is_refused_while_the_clock_is_right(machine: Machine) -> None:
    machine.write()
    machine.clock += timedelta(hours=1)
    machine.write()
    with pytest.raises(LedgerError, match="the ledger's newest entry is of 2026-03-01T13:00:01") as error:
        machine.write(timedelta(minutes=11))
    assert error.value.hint == "try again: the event was prepared too long before it was to be written"
    assert error.value.exit_code == 74
    machine.clock = START - timedelta(hours=5)
    with pytest.raises(LedgerError, match="newest entry is of 2026-03-01T07:00:00"):
        machine.write(timedelta(0), timedelta(minutes=11))
    assert machine.ledger.size == 2
    assert machine.statements() == {}


def test_time_counts_from_the_newest_entry_since_the_clock_was_set_back(machine: Machine) -> None:
    """Also where the clock comes again to the times of before, and for another process that knows nothing of it."""
    machine.clock = START + timedelta(hours=5)
    machine.write(count=3)
    machine.clock = START
    machine.write()
    for minutes in range(0, 330, 7):
        machine.clock = START + timedelta(minutes=minutes)
        machine.write()
    assert [*machine.statements()] == [3]
    machine.ledger.close()
    machine.ledger = Ledger.open(machine.files, clock=lambda: machine.clock)
    newest = machine.clock
    machine.clock = newest - timedelta(minutes=11)
    machine.write()
    assert len(machine.statements()) == 2
    assert machine.verify().consistent
    assert ", and 1 more times" in said(machine.verify())[0]


def test_the_newest_time_is_found_by_the_index_on_time(machine: Machine) -> None:
    machine.clock += YEARS
    machine.write(count=300)
    machine.clock = START
    machine.write(count=300)
    with machine.ledger._reading() as connection:
        assert under_test.newest_time(connection) == microseconds(START)
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {under_test._NEWEST_SINCE}", (1, 2)).all())
        assert "event_index_time" in plan
        assert "TEMP B-TREE" not in plan
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {under_test._NEWEST}").all())
        assert "event_index_kind" in plan


def test_a_batch_that_is_sent_again_says_nothing_again(machine: Machine) -> None:
    machine.clock += YEARS
    machine.write()
    machine.clock = START
    batch = [replace(Drafts("again").make(run=None), time=START)]
    (first,) = machine.ledger.append(batch)
    (second,) = machine.ledger.append(batch)
    assert (first.index, second.index, second.repeated) == (2, 2, True)
    assert machine.ledger.size == 3


def test_nobody_dates_back_without_saying_so(machine: Machine) -> None:
    """Who has the key can date entries back, and even then the walk over them says so."""
    machine.write(count=3)
    forger = Forger(machine.files.database, machine.files.keys / "signing.key")
    forger.backdate(2, "2026-02-01T00:00:00.000000Z")
    forger.derive()
    forger.sign_again([])
    elsewhere = LedgerFiles(machine.files.database, Path("/nonexistent"))
    assert codes(verify_ledger(elsewhere, verifier_key=machine.ledger.verifier_key)) == {"time-backwards"}


def test_a_statement_that_names_another_time_than_the_newest_excuses_nothing(machine: Machine) -> None:
    machine.clock += YEARS
    machine.write()
    machine.clock = START
    machine.write()
    forger = Forger(machine.files.database, machine.files.keys / "signing.key")
    forger.edit(1, newest="2026-03-01T12:00:00.000000Z")
    forger.derive()
    forger.sign_again([])
    elsewhere = LedgerFiles(machine.files.database, Path("/nonexistent"))
    assert codes(verify_ledger(elsewhere, verifier_key=machine.ledger.verifier_key)) == {"time-backwards"}


@pytest.mark.parametrize("before", [0, 255, 256, 300])
def test_it_is_read_alike_wherever_it_stands_and_from_a_pin_on(machine: Machine, before: int) -> None:
    machine.clock += YEARS
    if before:
        machine.write(count=before)
    machine.write()
    pin = Pin("pin", machine.ledger.checkpoint().note)
    machine.clock = START
    machine.write(count=300)
    for verification in (machine.verify(), machine.verify(pin, from_pin=True)):
        assert verification.consistent
    assert [*machine.statements()] == [before + 1]


def test_silence_counts_from_the_clock_that_was_set_back(machine: Machine) -> None:
    def at(minutes: int, event: LedgerHeartbeat | ServiceStarted | ServiceStopped) -> None:
        machine.clock = START + timedelta(minutes=minutes)
        machine.ledger.append([replace(Drafts(f"at-{minutes}").make(event, run=None), time=machine.clock)])

    at(600, ServiceStarted(service="serve", pid=1, boot_id="b", release="0"))
    at(601, LedgerHeartbeat(interval_seconds=60))
    at(1, LedgerHeartbeat(interval_seconds=60))
    at(2, LedgerHeartbeat(interval_seconds=60))
    assert machine.verify().consistent
    at(30, LedgerHeartbeat(interval_seconds=60))
    at(31, ServiceStopped(service="serve", reason="asked to"))
    assert [(p.code, p.index) for p in machine.verify().problems] == [("heartbeat-gap", 5)]


def test_the_clock_is_asked_only_where_it_matters(files: LedgerFiles, drafts: Drafts) -> None:
    def never() -> datetime:
        pytest.fail("the clock was asked")

    asked: Callable[[], datetime] = never
    Ledger.create(files, origin=ORIGIN).close()
    with Ledger.open(files, clock=asked) as ledger:
        ledger.append(drafts.several(3))
        ledger.append([replace(drafts.make(), time=START - timedelta(minutes=9))])
