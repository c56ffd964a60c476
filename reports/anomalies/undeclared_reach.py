"""Undeclared reach: programs reached for hosts, or for files of secrets, that their requests never asked for.

Limits: it sees only what the jail recorded; where the program's own process reports its attempts, it can hide them.
It must never call an attempt a connection.
"""

from collections.abc import Iterator, Sequence

from ..types import Anomaly, Severity
from ..words import clip, count_of, joined, number, place, shorten
from .records import Detector, Pry, Reach, RunRecord, anomaly_id, capped

__all__ = ["DETECTOR"]

_NAMED = 2
"""As many names fit into a title."""


def _find(records: Sequence[RunRecord]) -> Iterator[Anomaly]:
    by_principal: dict[str, list[RunRecord]] = {}
    for record in records:
        by_principal.setdefault(record.principal, []).append(record)
    for own in by_principal.values():
        guilty = [record for record in own if record.judged and _leaves_the_jail(record)]
        if guilty:
            yield _explain(guilty, own[: own.index(guilty[0])])


def _undeclared(record: RunRecord) -> list[Reach | Pry]:
    """What it reached for unasked; sockets between parts of the program itself are its own business."""
    return [*record.pries, *(r for r in record.reaches if not r.asked and not (r.local and r.host.startswith("unix:")))]


def _leaves_the_jail(record: RunRecord) -> bool:
    """Loopback alone is no finding: parts of a program that talk to each other use it as well."""
    return any(isinstance(one, Pry) or not one.local for one in _undeclared(record))


def _explain(guilty: Sequence[RunRecord], earlier: Sequence[RunRecord]) -> Anomaly:
    first = guilty[0]
    found = [one for record in guilty for one in _undeclared(record)]
    hidden = any(not one.announced for one in found)
    entries = [*(i for record in guilty for i in record.entries), *(one.entry for one in found)]
    return Anomaly(
        id=anomaly_id(DETECTOR.id, first.principal, first),
        detector=DETECTOR.id,
        severity=_severity(found, hidden=hidden),
        title=f"{_programs(guilty)} reached unasked for {_places(found)}",
        principal=clip(first.principal, 120),
        owner=clip(first.owner, 120),
        observed=_observed(guilty, found),
        baseline=_baseline(earlier),
        why=(
            "A request is what people approve and rules judge. A program that reaches for more than its request says "
            "can be mistaken, careless or hostile, and its request did not show it."
        ),
        benign=_benign(hidden=hidden),
        next_step=(
            "Ask the owner what the program wanted there. If it is needed, let it ask for it, so that the rules can "
            "judge it; if not, treat the agent as misled."
        ),
        confidence=95 if hidden else 90,
        entries=capped(entries),
        entries_total=len(set(entries)),
    )


def _severity(found: Sequence[Reach | Pry], *, hidden: bool) -> Severity:
    if any(isinstance(one, Reach) and one.allowed for one in found):
        return Severity.CRITICAL
    return Severity.HIGH if hidden or any(isinstance(one, Pry) for one in found) else Severity.MEDIUM


def _programs(guilty: Sequence[RunRecord]) -> str:
    if len(guilty) == 1:
        return clip(guilty[0].program, 60)
    return f"{count_of(len(guilty), 'run')} of {clip(guilty[0].principal, 60)}"


def _places(found: Sequence[Reach | Pry]) -> str:
    """Two names, or how many of which kind; the jail's own loopback is no place that anybody was kept out of."""
    outside = list(dict.fromkeys(map(_name, (one for one in found if isinstance(one, Reach) and not one.local))))
    secrets = list(dict.fromkeys(_name(one) for one in found if isinstance(one, Pry)))
    if len(outside) + len(secrets) <= _NAMED:
        return joined([*outside, *secrets])
    counted = (
        (len(outside), "place outside the jail", "places outside the jail"),
        (len(secrets), "file of secrets", "files of secrets"),
    )
    return joined([count_of(count, one, many) for count, one, many in counted if count])


def _name(one: Reach | Pry) -> str:
    return clip(one.path, 60) if isinstance(one, Pry) else clip(place(one.host, one.port), 60)


def _observed(guilty: Sequence[RunRecord], found: Sequence[Reach | Pry]) -> str:
    reaches = [one for one in found if isinstance(one, Reach)]
    pried = list(dict.fromkeys(_name(one) for one in found if isinstance(one, Pry)))
    unannounced = sorted({text for record in guilty for text in record.undeclared})
    parts = []
    if pried:
        parts.append(f"Opened or tried to open {joined(shorten(pried, 4))}; whether it succeeded was not observed.")
    if reaches:
        parts += _attempts(reaches)
    if unannounced:
        parts.append(f"Seen by the jail and announced by nothing in the code: {joined(shorten(unannounced, 4))}.")
    return " ".join(parts)


def _attempts(reaches: Sequence[Reach]) -> Iterator[str]:
    outside = [reach for reach in reaches if not reach.local]
    if outside:
        named = joined(shorten(dict.fromkeys(map(_name, outside)), 4))
        answered = sum(reach.allowed for reach in outside)
        result = f"{count_of(answered, 'place')} answered" if answered else "all refused"
        yield f"{count_of(sum(reach.count for reach in outside), 'attempt')} to reach {named}: {result}."
    if inside := sum(reach.count for reach in reaches if reach.local):
        yield f"Not counted: {count_of(inside, 'attempt')} at the jail's own loopback."


def _baseline(earlier: Sequence[RunRecord]) -> str:
    text = "The requests asked for none of these."
    if not earlier:
        return f"Cold start: no earlier run of this principal is known. {text}"
    before = sum(_leaves_the_jail(record) for record in earlier)
    return f"{text} {number(before)} of {count_of(len(earlier), 'earlier run')} of this principal did the like."


def _benign(*, hidden: bool) -> str:
    if hidden:
        return "A library that phones home, or an address that is put together at run time: the program's text does not name every place."
    return "Somebody forgot to ask: the program's text names the places openly."


DETECTOR = Detector(
    id="undeclared_reach",
    sentence="Programs reached for hosts, or for files of secrets, that their requests never asked for.",
    limits="Attempts that no layer of the jail records are not seen; loopback alone is taken for the program's own.",
    find=_find,
)
