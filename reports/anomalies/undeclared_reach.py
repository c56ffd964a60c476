"""Undeclared reach: a program tried to reach over the network what its request never asked for.

Limits: it sees only what the jail recorded; where the program's own process reports its attempts, it can hide them.
It must never call an attempt a connection.
"""

from collections.abc import Iterator, Sequence

from ..types import Anomaly, Severity, Window
from ..words import clip, count_of, joined, number, shorten
from .records import Detector, Reach, RunRecord, anomaly_id, capped

__all__ = ["DETECTOR"]


def _find(records: Sequence[RunRecord], window: Window) -> Iterator[Anomaly]:
    earlier: dict[str, list[RunRecord]] = {}
    for record in records:
        undeclared = [reach for reach in record.reaches if not reach.asked]
        if undeclared and record.ended >= window.since:
            yield _explain(record, undeclared, earlier.get(record.principal, []))
        earlier.setdefault(record.principal, []).append(record)


def _explain(record: RunRecord, reaches: Sequence[Reach], earlier: Sequence[RunRecord]) -> Anomaly:
    connected = [reach for reach in reaches if reach.allowed]
    hidden = [reach for reach in reaches if not reach.announced]
    entries = [*record.entries, *(reach.entry for reach in reaches)]
    return Anomaly(
        id=anomaly_id(DETECTOR.id, record.principal, record),
        detector=DETECTOR.id,
        severity=_severity(connected=bool(connected), hidden=bool(hidden)),
        title=f"{clip(record.program, 80)} tried to reach {_places(reaches)} that it had not asked for",
        principal=clip(record.principal, 120),
        owner=clip(record.owner, 120),
        observed=_observed(record, reaches, connected),
        baseline=_baseline(earlier),
        why="A request is what people approve and rules judge. A program that reaches for more than its request says can be mistaken, careless or hostile; the jail held it, the request did not show it.",
        benign=_benign(hidden),
        next_step="Ask the owner what the program wanted there. If it is needed, let it ask for the host, so that the rules can judge it; if not, treat the agent as misled.",
        confidence=95 if hidden else 90,
        entries=capped(entries),
        entries_total=len(set(entries)),
    )


def _severity(*, connected: bool, hidden: bool) -> Severity:
    if connected:
        return Severity.CRITICAL
    return Severity.HIGH if hidden else Severity.MEDIUM


def _places(reaches: Sequence[Reach]) -> str:
    named = list(dict.fromkeys(f"{reach.host}:{reach.port}" for reach in reaches))
    return clip(named[0], 80) if len(named) == 1 else count_of(len(named), "place")


def _observed(record: RunRecord, reaches: Sequence[Reach], connected: Sequence[Reach]) -> str:
    named = joined(shorten(dict.fromkeys(f"{reach.host}:{reach.port}" for reach in reaches), 5))
    attempts = sum(reach.count for reach in reaches)
    result = f"{count_of(len(connected), 'place')} answered" if connected else "every attempt was refused"
    seen = (
        f" The jail also saw, unannounced by its code: {joined(shorten(record.undeclared, 4))}."
        if record.undeclared
        else ""
    )
    return f"{count_of(attempts, 'attempt')} to reach {named}; {result}.{seen}"


def _baseline(earlier: Sequence[RunRecord]) -> str:
    if not earlier:
        return "Cold start: its request asked for none of these, and this is the first run of its principal that the ledger knows."
    before = sum(any(not reach.asked for reach in record.reaches) for record in earlier)
    return f"Its request asked for none of these. {number(before)} of {count_of(len(earlier), 'earlier run')} of its principal did the like."


def _benign(hidden: Sequence[Reach]) -> str:
    if not hidden:
        return "Somebody forgot to ask: the program's text names the places openly."
    return "A library that phones home, or an address that is put together at run time. The program's text does not name every place."


DETECTOR = Detector(
    id="undeclared_reach",
    sentence="A program tried to reach over the network what its request never asked for.",
    limits="Attempts that no layer of the jail records are not seen.",
    find=_find,
)
