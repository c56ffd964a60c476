"""How a ledger begins, and silence while a service runs."""

from dataclasses import replace
from datetime import timedelta

from custody.ledger import Draft, Ledger, LedgerFiles, Verification, verify_ledger
from custody.ledger.events import Event, LedgerHeartbeat, LedgerOpened, ServiceStarted, ServiceStopped

from .drafts import ORIGIN, START, Drafts, egress


def codes(verification: Verification) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.index) for problem in verification.problems]


def started(service: str = "serve") -> ServiceStarted:
    return ServiceStarted(service=service, pid=1, boot_id="b", release="0")


def stopped(service: str = "serve") -> ServiceStopped:
    return ServiceStopped(service=service, reason="asked to")


BEAT = LedgerHeartbeat(interval_seconds=60)


def check(ledger: Ledger, files: LedgerFiles, timed: list[tuple[int, Event]]) -> Verification:
    """A ledger with one event at each of the seconds."""
    ledger.append(
        [
            Draft(id=f"e-{number}", event=event, actor="custody", time=START + timedelta(seconds=second))
            for number, (second, event) in enumerate(timed)
        ]
    )
    return verify_ledger(files, verifier_key=ledger.verifier_key)


def test_heartbeats_in_time_and_silence_while_nothing_runs_are_well(ledger: Ledger, files: LedgerFiles) -> None:
    timed = [(0, egress()), (9000, started()), *((9000 + 60 * i, BEAT) for i in range(1, 5)), (9300, stopped())]
    verification = check(ledger, files, [*timed, (99_000, egress()), (99_001, started()), (99_050, stopped())])
    assert verification.consistent
    assert "2 services: an entry every few heartbeats while each ran" in verification.checks


def test_a_gap_while_a_service_runs_is_found_and_named(ledger: Ledger, files: LedgerFiles) -> None:
    timed = [(0, started()), (60, BEAT), (120, BEAT), (301, BEAT), (360, stopped())]
    verification = check(ledger, files, timed)
    assert codes(verification) == [("heartbeat-gap", 3)]
    assert "181 seconds before entry 3" in verification.problems[0].message


def test_any_entry_is_a_sign_of_life(ledger: Ledger, files: LedgerFiles) -> None:
    timed = [(0, started()), (60, BEAT), (200, egress()), (350, egress()), (400, stopped())]
    assert check(ledger, files, timed).consistent


def test_the_silence_before_the_first_heartbeat_and_before_the_end_counts(ledger: Ledger, files: LedgerFiles) -> None:
    assert codes(check(ledger, files, [(0, started()), (500, BEAT), (999, stopped())])) == [("heartbeat-gap", 1)]


def test_a_service_that_ended_without_a_word_is_said_and_is_no_gap(ledger: Ledger, files: LedgerFiles) -> None:
    verification = check(ledger, files, [(0, started()), (60, BEAT), (90_000, started()), (90_060, BEAT)])
    assert verification.consistent
    assert "since when 1 services did not run: they ended without saying so" in verification.not_checked


def test_of_two_services_the_one_that_still_runs_is_watched(ledger: Ledger, files: LedgerFiles) -> None:
    timed = [(0, started("a")), (1, started("b")), (60, BEAT), (61, stopped("a")), (900, BEAT), (901, stopped("b"))]
    assert codes(check(ledger, files, timed)) == [("heartbeat-gap", 4)]


def opening(ledger: Ledger) -> LedgerOpened:
    return LedgerOpened(origin=ORIGIN, verifier_key=ledger.verifier_key, schema="0001", release="0", by="alice")


def test_the_opening_is_checked_against_name_and_key(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append([drafts.make(opening(ledger), run=None)])
    ledger.rotate_key(event_id="rotation", actor="alice", time=START)
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert verification.consistent
    assert "the first entry opens this ledger, under its name and first key" in verification.checks


def test_an_opening_under_another_key_or_a_second_one_is_found(
    ledger: Ledger, files: LedgerFiles, drafts: Drafts
) -> None:
    ledger.append([drafts.make(replace(opening(ledger), origin="another.example"), run=None)])
    ledger.append([drafts.make(opening(ledger), run=None)])
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert codes(verification) == [("opening-mismatch", 0), ("opened-twice", 1)]


def test_a_ledger_that_nobody_opened_is_said(ledger: Ledger, files: LedgerFiles, drafts: Drafts) -> None:
    ledger.append([drafts.make()])
    verification = verify_ledger(files, verifier_key=ledger.verifier_key)
    assert "how the ledger began: its first entry is not `ledger:opened`" in verification.not_checked
