from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from custody.reports import DETECTORS, Anomaly, Severity
from custody.reports.anomalies import RunRecord

NOON = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
(BURST,) = (detector for detector in DETECTORS if detector.id == "denial_burst")


class Records:
    """Runs one after another, numbered as a ledger would."""

    def __init__(self) -> None:
        self.all: list[RunRecord] = []

    def add(self, principal: str, time: datetime, *rules: str, code: str = "", judged: bool = True) -> None:
        number = len(self.all)
        self.all.append(
            RunRecord(
                run=f"run-{number}",
                time=time,
                judged=judged,
                principal=principal,
                owner="maria",
                program="a.py",
                code_sha256=code or f"code-{number}",
                end="denied" if rules else "succeeded",
                refused=bool(rules),
                rules=rules,
                reaches=(),
                pries=(),
                undeclared=(),
                event_id=f"event-{number}",
                entries=(3 * number, 3 * number + 1, 3 * number + 2),
            )
        )

    def history(self, principal: str, *, runs: int, denied: int) -> None:
        """Evenly spread over forty days before the window."""
        for number in range(runs):
            time = NOON - timedelta(days=41) + number * timedelta(days=40) / runs
            refused = number * denied // runs != (number + 1) * denied // runs
            self.add(principal, time, *(("usual-rule",) if refused else ()), judged=False)

    def burst(
        self, principal: str, count: int, *, rules: int = 3, apart: timedelta = timedelta(minutes=2), code: str = ""
    ) -> None:
        for number in range(count):
            self.add(principal, NOON + number * apart, f"rule-{number % rules}", code=code)

    def found(self) -> list[Anomaly]:
        return list(BURST.find(sorted(self.all, key=lambda record: record.time)))


def quiet_organisation() -> Records:
    records = Records()
    records.history("steady", runs=200, denied=8)
    records.history("prober", runs=60, denied=2)
    return records


def test_many_different_refusals_of_a_quiet_principal_are_found() -> None:
    records = quiet_organisation()
    records.burst("prober", 8)
    (anomaly,) = records.found()
    assert (anomaly.principal, anomaly.severity, anomaly.owner) == ("prober", Severity.HIGH, "maria")
    assert anomaly.confidence >= 95
    assert "8 refused attempts between 2026-11-19 12:00 UTC and 2026-11-19 12:14 UTC" in anomaly.observed
    assert anomaly.baseline == "2 of 60 earlier runs refused; 8 of 200 runs of others."


def recomputed(anomaly: Anomaly, records: Sequence[RunRecord]) -> tuple[int, int]:
    """Refusals and rules, from the evidence alone."""
    proven = [record for record in records if set(record.entries) & set(anomaly.entries)]
    return sum(record.refused for record in proven), len({rule for record in proven for rule in record.rules})


def test_the_evidence_is_enough_to_count_again() -> None:
    records = quiet_organisation()
    records.burst("prober", 6)
    (anomaly,) = records.found()
    assert recomputed(anomaly, records.all) == (6, 3)
    assert anomaly.observed.startswith("6 refused attempts")
    assert "3 rules" in anomaly.observed


def test_the_same_number_is_ordinary_for_somebody_who_is_often_refused() -> None:
    records = Records()
    records.history("steady", runs=200, denied=8)
    records.history("tester", runs=60, denied=45)
    records.burst("tester", 6)
    assert records.found() == []


def test_three_refusals_are_ordinary_work() -> None:
    records = quiet_organisation()
    records.burst("prober", 3)
    assert records.found() == []


def test_the_same_request_sent_again_and_again_is_a_retry_loop() -> None:
    records = quiet_organisation()
    records.burst("prober", 9, rules=1, code="the same")
    assert records.found() == []


def test_refusals_spread_over_a_day_are_no_burst() -> None:
    records = quiet_organisation()
    records.burst("prober", 8, apart=timedelta(hours=2))
    assert records.found() == []


def test_a_rule_that_suddenly_refuses_many_is_a_change_of_the_rules() -> None:
    records = Records()
    for name in ("a", "b", "c", "d"):
        records.history(name, runs=60, denied=1)
        for number in range(5):
            records.add(name, NOON + timedelta(minutes=number), "new-rule")
    assert records.found() == []


def test_a_burst_among_many_good_runs_weighs_less() -> None:
    records = quiet_organisation()
    for number in range(300):
        records.add("prober", NOON + number * timedelta(seconds=3))
    records.burst("prober", 4)
    assert records.found() == []


def test_refusals_before_the_window_are_not_reported_again() -> None:
    records = quiet_organisation()
    records.burst("prober", 8)
    records.all = [replace(record, judged=False) for record in records.all]
    assert records.found() == []


def test_a_first_burst_in_an_empty_ledger_says_that_it_is_a_cold_start() -> None:
    records = Records()
    records.burst("stranger", 8)
    (anomaly,) = records.found()
    assert anomaly.baseline.startswith("Cold start: nothing to compare with")
    assert anomaly.confidence == 75
    assert anomaly.severity is Severity.MEDIUM


def test_a_newcomer_is_compared_with_everybody() -> None:
    records = Records()
    records.history("steady", runs=200, denied=4)
    records.burst("stranger", 6)
    (anomaly,) = records.found()
    assert anomaly.baseline.startswith("Cold start: 0 of 0 earlier runs refused; 4 of 200 runs of others.")


def test_a_long_quiet_past_does_not_make_one_bad_hour_certain() -> None:
    long = quiet_organisation()
    long.history("prober", runs=5_000, denied=100)
    short = quiet_organisation()
    for records in (long, short):
        records.burst("prober", 5)
    assert [a.title for a in long.found()] == [a.title for a in short.found()]


def test_what_comes_after_the_burst_is_no_baseline() -> None:
    records = quiet_organisation()
    records.burst("prober", 8)
    before = records.found()
    for number in range(50):
        records.add("steady", NOON + timedelta(hours=3, minutes=number), "later-rule")
    assert records.found()[:1] == before


def test_the_same_burst_has_the_same_id_in_a_later_review() -> None:
    records = quiet_organisation()
    records.burst("prober", 8)
    (first,) = records.found()
    records.add("prober", NOON + timedelta(hours=5))
    (second,) = records.found()
    assert first.id == second.id


def test_every_field_of_the_explanation_is_filled() -> None:
    records = quiet_organisation()
    records.burst("prober", 8)
    (anomaly,) = records.found()
    texts = (anomaly.observed, anomaly.baseline, anomaly.why, anomaly.benign, anomaly.next_step, anomaly.title)
    assert all(len(text) > 20 for text in texts)
    assert 0 < len(anomaly.entries) <= 20
    assert anomaly.entries_total == 24
