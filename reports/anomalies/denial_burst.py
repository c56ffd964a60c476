"""Denial burst: one principal is refused many times within a short time, against its own and everybody's habit.

Limits: identical requests that are sent again count little, because programs retry; a rule that suddenly refuses many
principals is taken for a change of the rules and left out; a prober who stays below four attempts in half an hour is
not seen. It must never compare with runs that came after the burst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import exp, lgamma

from ..types import Anomaly, Severity
from ..words import clip, count_of, joined, number, shorten, stamp
from .records import Detector, RunRecord, anomaly_id, capped

__all__ = ["DETECTOR"]

SPAN = timedelta(minutes=30)
FEWEST = 4
"""Fewer refusals are ordinary work on a program."""
RETRIES_PER_ATTEMPT = 5
"""So many identical requests weigh as much as one new one."""
LIKELIEST = 0.001
"""Bursts that habit makes likelier than this are not reported."""
OWN_HISTORY = 30
"""Runs that a principal needs before its own habit is trusted."""
OWN_DAYS = timedelta(days=14)
MOST_HISTORY = 60
"""Older runs count no more than this many together: a long quiet past must not make every change alarming."""
PRIOR_RUNS = 10
"""Weight, in runs, of the organisation's habit in a principal's baseline."""
FIRST_GUESS = 0.1
"""Share of refusals that is expected where nothing at all is known."""
MASS_CHANGE = 0.3
"""A rule that refuses more than this share of the active principals is a change of the rules."""
FEWEST_FOR_CHANGE = 3


@dataclass(frozen=True, slots=True)
class _Burst:
    """The densest stretch of one principal."""

    refused: tuple[RunRecord, ...]
    runs: int
    """All runs of the principal in the stretch."""
    distinct: int
    """Different requests among the refused."""

    @property
    def weight(self) -> int:
        """Refusals, with repetitions discounted."""
        return self.distinct + (len(self.refused) - self.distinct) // RETRIES_PER_ATTEMPT


@dataclass(frozen=True, slots=True)
class _Habit:
    """What was usual before the burst."""

    own_runs: int
    own_refused: int
    own_age: timedelta
    others_runs: int
    others_refused: int

    @property
    def cold(self) -> bool:
        return self.own_runs < OWN_HISTORY or self.own_age < OWN_DAYS

    @property
    def organisation(self) -> float:
        """The share that others are refused, pulled towards the first guess while they are few."""
        return (self.others_refused + FIRST_GUESS * PRIOR_RUNS) / (self.others_runs + PRIOR_RUNS)


def _find(records: Sequence[RunRecord]) -> Iterator[Anomaly]:
    rolled_out = _changed_rules(records)
    by_principal: dict[str, list[RunRecord]] = {}
    for record in records:
        by_principal.setdefault(record.principal, []).append(record)
    for principal in sorted(by_principal):
        burst = _densest(by_principal[principal], rolled_out)
        if burst is None or burst.weight < FEWEST:
            continue
        habit = _habit(records, principal, burst)
        chance = _tail(burst, habit)
        if chance < LIKELIEST:
            yield _explain(principal, burst, habit, chance)


def _changed_rules(records: Sequence[RunRecord]) -> frozenset[str]:
    """Rules that refuse many principals in this window: the rules changed, not the principals."""
    inside = [record for record in records if record.judged]
    active = {record.principal for record in inside}
    hit: dict[str, set[str]] = {}
    for record in inside:
        for rule in record.rules if record.refused else ():
            hit.setdefault(rule, set()).add(record.principal)
    least = max(FEWEST_FOR_CHANGE, MASS_CHANGE * len(active))
    return frozenset(rule for rule, principals in hit.items() if len(principals) >= least)


def _counts(record: RunRecord, rolled_out: frozenset[str]) -> bool:
    return record.refused and (not record.rules or not rolled_out.issuperset(record.rules))


def _densest(own: Sequence[RunRecord], rolled_out: frozenset[str]) -> _Burst | None:
    """The stretch of at most half an hour with the heaviest refusals; the earliest of equals."""
    refused = [r for r in own if r.judged and _counts(r, rolled_out)]
    best: _Burst | None = None
    first = 0
    for last, record in enumerate(refused):
        while record.time - refused[first].time > SPAN:
            first += 1
        stretch = tuple(refused[first : last + 1])
        if len(stretch) < FEWEST:
            continue
        burst = _burst(stretch, own)
        if best is None or burst.weight > best.weight:
            best = burst
    return best


def _burst(stretch: tuple[RunRecord, ...], own: Sequence[RunRecord]) -> _Burst:
    since, until = stretch[0].time, stretch[-1].time
    runs = sum(since <= record.time <= until for record in own)
    return _Burst(stretch, runs, len({(record.code_sha256, record.rules) for record in stretch}))


def _habit(records: Sequence[RunRecord], principal: str, burst: _Burst) -> _Habit:
    start = burst.refused[0].time
    before = [record for record in records if record.time < start]
    own = [record for record in before if record.principal == principal]
    others = [record for record in before if record.principal != principal]
    return _Habit(
        own_runs=len(own),
        own_refused=sum(record.refused for record in own),
        own_age=start - own[0].time if own else timedelta(0),
        others_runs=len(others),
        others_refused=sum(record.refused for record in others),
    )


def _tail(burst: _Burst, habit: _Habit) -> float:
    """Probability of at least so many refusals, beta-binomial, prior from the organisation and the own past."""
    keep = min(1.0, MOST_HISTORY / habit.own_runs) if habit.own_runs else 0.0
    prior = habit.organisation
    refused = PRIOR_RUNS * prior + keep * habit.own_refused
    passed = PRIOR_RUNS * (1 - prior) + keep * (habit.own_runs - habit.own_refused)
    runs = burst.runs - (len(burst.refused) - burst.weight)
    return min(1.0, sum(_beta_binomial(k, runs, refused, passed) for k in range(burst.weight, runs + 1)))


def _beta_binomial(k: int, n: int, a: float, b: float) -> float:
    choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(choose + _log_beta(k + a, n - k + b) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _explain(principal: str, burst: _Burst, habit: _Habit, chance: float) -> Anomaly:
    refused = burst.refused
    rules = sorted({rule for record in refused for rule in record.rules})
    entries = [index for record in refused for index in record.entries]
    severity = Severity.HIGH if len(rules) > 2 and not habit.cold else Severity.MEDIUM  # noqa: PLR2004 - because one or two rules can be one mistake
    return Anomaly(
        id=anomaly_id(DETECTOR.id, principal, refused[0]),
        detector=DETECTOR.id,
        severity=severity,
        title=f"{count_of(len(refused), 'refused attempt')} within {_minutes(burst)}",
        principal=clip(principal, 120),
        owner=clip(refused[0].owner, 120),
        observed=_observed(burst, rules),
        baseline=_baseline(habit),
        why=(
            f"By habit so many refusals among {count_of(burst.runs, 'run')} would happen {_odds(chance)}. "
            "Somebody who sends one variant after another until a rule no longer matches is looking for a way past the rules."
        ),
        benign=_benign(burst, rules),
        next_step="Read the refused programs side by side; ask the owner what they were for; disable the principal if nobody knows.",
        confidence=_confidence(chance, cold=habit.cold),
        entries=capped(entries),
        entries_total=len(set(entries)),
    )


def _observed(burst: _Burst, rules: Sequence[str]) -> str:
    refused = burst.refused
    named = f"by {count_of(len(rules), 'rule')} ({joined(shorten(rules, 4))})" if rules else "without a deciding rule"
    return (
        f"{count_of(len(refused), 'refused attempt')} between {stamp(refused[0].time)} and {stamp(refused[-1].time)}, "
        f"{number(burst.distinct)} of them different, {named}; {count_of(burst.runs, 'run')} in all in that time."
    )


def _baseline(habit: _Habit) -> str:
    own = f"{number(habit.own_refused)} of {count_of(habit.own_runs, 'earlier run')} refused"
    others = f"{number(habit.others_refused)} of {count_of(habit.others_runs, 'run')} of others"
    if not habit.own_runs and not habit.others_runs:
        return f"Cold start: nothing to compare with; one refusal in {round(1 / FIRST_GUESS)} runs was assumed."
    text = f"{own}; {others}."
    if habit.cold:
        return f"Cold start: {text} Its own habit is trusted after {OWN_HISTORY} runs and {OWN_DAYS.days} days; until then others weigh more."
    return text


def _benign(burst: _Burst, rules: Sequence[str]) -> str:
    repeated = len(burst.refused) - burst.distinct
    text = "An agent that was given a task outside its rights and kept trying to please."
    if repeated:
        text += (
            f" {count_of(repeated, 'repetition')} of the same request point to a retry loop and were weighed as such."
        )
    if len(rules) > 1:
        text += f" Spoken against by {count_of(len(rules), 'different rule')}."
    return text


def _minutes(burst: _Burst) -> str:
    seconds = (burst.refused[-1].time - burst.refused[0].time).total_seconds()
    return count_of(max(1, round(seconds / 60)), "minute")


def _odds(chance: float) -> str:
    return "less than once in a million times" if chance < 1e-6 else f"about once in {number(round(1 / chance))} times"  # noqa: PLR2004 - because smaller odds say nothing more


def _confidence(chance: float, *, cold: bool) -> int:
    """99 at most, 75 on a cold start: the model is simple and says so."""
    sure = 99 if chance < 1e-6 else 95 if chance < 1e-4 else 90  # noqa: PLR2004 - because these are the steps
    return min(sure, 75) if cold else sure


DETECTOR = Detector(
    id="denial_burst",
    sentence="A principal is denied or blocked many times within half an hour, against its own and everybody's habit.",
    limits="Fewer than four refusals, or refusals spread over hours, are not seen.",
    find=_find,
)
