"""A review must agree with itself: every headline figure equals what its details add up to.

The renderer calls this before it writes a byte; a review that contradicts itself is never shown.
"""

from collections import Counter
from collections.abc import Iterator

from ..errors import CustodyError
from .evidence import references
from .types import Fate, Figure, Review, Severity
from .verdict import in_parts

__all__ = ["check", "contradictions"]

_TAKEN_APART = frozenset({"Failed or stopped", "Did not run"})


def check(review: Review) -> None:
    """Raise if any figure, title or reference contradicts the details."""
    found = next(contradictions(review), None)
    if found is not None:
        message = f"the review contradicts itself: {found}"
        raise CustodyError(message, hint="this is a fault of custody: keep the ledger and report it")


def contradictions(review: Review) -> Iterator[str]:
    """Each contradiction, as half a sentence."""
    yield from _figures(review)
    yield from _attempts(review)
    yield from _exposure(review)
    yield from _chart(review)
    yield from _decisions(review)
    yield from _references(review)


def _figures(review: Review) -> Iterator[str]:
    fates = Counter(row.fate for row in review.runs)
    expected = {
        "Runs": len(review.runs),
        "Succeeded": fates[Fate.SUCCEEDED],
        "Failed or stopped": fates[Fate.FAILED],
        "Did not run": fates[Fate.NOT_RUN],
        "Still open": fates[Fate.OPEN],
        "Vulnerable packages": sum(row.state == "vulnerable" for row in review.packages),
        "Anomalies": len(review.anomalies),
    }
    shown = {figure.name: figure.value for figure in review.figures}
    for name in sorted(expected.keys() | shown.keys()):
        if expected.get(name) != shown.get(name):
            yield f"`{name}` says {shown.get(name)}, the details hold {expected.get(name)}"
    for figure in review.figures:
        yield from _parts(figure)


def _parts(figure: Figure) -> Iterator[str]:
    """What stands under a figure adds up to it, wherever a figure is taken apart."""
    if figure.name not in _TAKEN_APART and not figure.parts:
        return
    if (total := sum(part.count for part in figure.parts)) != figure.value:
        yield f"`{figure.name}` says {figure.value}, its parts add up to {total}"
    if in_parts(figure.parts) != figure.note:
        yield f"`{figure.name}` is noted as `{figure.note}`, its parts are `{in_parts(figure.parts)}`"


def _attempts(review: Review) -> Iterator[str]:
    """Every failed or not run run is told as an attempt, and nothing else is told as one."""
    bad = Counter(row.run for row in review.runs if row.fate in {Fate.FAILED, Fate.NOT_RUN})
    told = Counter(attempt.run for attempt in review.attempts if attempt.fate in {Fate.FAILED, Fate.NOT_RUN})
    if bad != told:
        yield f"{sum(bad.values())} runs failed or did not run, {sum(told.values())} attempts are told"


def _exposure(review: Review) -> Iterator[str]:
    """Nothing is said to be granted more often than there are runs in the table."""
    for row in review.exposure:
        if not 0 < row.runs + row.waiting <= len(review.runs):
            yield f"{row.runs + row.waiting} runs were granted {row.what}, the details hold {len(review.runs)}"
        if row.runs and not review.granted_limits:
            yield f"a run was granted {row.what}, and none was granted limits"
    for limit in review.granted_limits:
        if not 0 < limit.runs <= len(review.runs):
            yield f"{limit.runs} runs were granted {limit.most} of {limit.limit}, the details hold {len(review.runs)}"


def _chart(review: Review) -> Iterator[str]:
    for name, fate in (("succeeded", Fate.SUCCEEDED), ("failed", Fate.FAILED), ("not_run", Fate.NOT_RUN)):
        drawn = sum(getattr(bar, name) for bar in review.chart.bars)
        listed = sum(row.fate is fate for row in review.runs)
        if drawn != listed:
            yield f"the chart draws {drawn} runs that {name}, the table lists {listed}"


def _decisions(review: Review) -> Iterator[str]:
    worst = max((d.severity for d in review.decisions), key=lambda severity: severity.rank, default=Severity.NONE)
    if worst.rank != review.severity.rank:
        yield f"the verdict is {review.severity}, the worst decision {worst}"
    if not review.seal.consistent and review.severity is not Severity.CRITICAL:
        yield "the ledger does not verify, yet the verdict is not critical"
    if review.not_a_real_audit != any(not audit.real for audit in review.audits):
        yield "the banner on demonstration data does not agree with the audits"


def _references(review: Review) -> Iterator[str]:
    shown = {row.index for row in review.evidence}
    if len(shown) != len(review.evidence):
        yield "an entry stands twice in the evidence"
    if unseen := sorted(references(review) - shown):
        yield f"entry {unseen[0]} is referred to and not in the evidence"
