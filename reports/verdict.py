"""The verdict: one sentence that is also the title, a few more, and the headline figures.

It must never call an empty window a good one, nor a consistent ledger a verified one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..ledger.events import SyscallDenied
from ..ledger.types import Verification
from .stories import Known, Story, prying
from .types import Anomaly, AuditData, DecisionNeeded, Fate, Figure, PackageRow, Part, Severity
from .words import count_of, joined, number, word_of

__all__ = ["Verdict", "figures_of", "in_parts", "verdict_of", "worst_of"]

_MOST_PARTS = 4
"""More parts of a figure than this are added up as `more`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reader should know if he reads nothing else."""

    title: str
    text: str
    severity: Severity


def worst_of(severities: Iterable[Severity]) -> Severity:
    """The worst; none without any."""
    return max(severities, key=lambda severity: severity.rank, default=Severity.NONE)


def verdict_of(
    known: Known,
    *,
    judged: Sequence[Story],
    verification: Verification,
    decisions: Sequence[DecisionNeeded],
    packages: Sequence[PackageRow],
    audits: Sequence[AuditData],
) -> Verdict:
    """One sentence, then the sentences that carry it."""
    sentences = [
        _runs(judged),
        *_network(judged),
        *_vulnerable(packages, demo=any(not audit.real for audit in audits)),
        _ledger(verification),
    ]
    severity = worst_of(decision.severity for decision in decisions)
    return Verdict(_title(known, judged, verification, decisions), " ".join(sentences), severity)


def _title(
    known: Known, judged: Sequence[Story], verification: Verification, decisions: Sequence[DecisionNeeded]
) -> str:
    if not verification.consistent:
        return "The ledger does not verify: rely on nothing here until that is explained"
    if decisions:
        return _waiting(decisions)
    if not known.inside and not judged:
        return "Nothing happened in this window: the ledger holds no entry of it"
    if not judged:
        return "No run in this window, and no decision is waiting"
    good = sum(story.fate is Fate.SUCCEEDED for story in judged)
    return f"No decision is waiting; {number(good)} of {count_of(len(judged), 'run')} succeeded"


def _waiting(decisions: Sequence[DecisionNeeded]) -> str:
    worst = decisions[0].severity
    count = len(decisions)
    verb = "decision is" if count == 1 else "decisions are"
    shared = sum(decision.severity is worst for decision in decisions)
    word = "of unknown weight" if worst is Severity.UNKNOWN else worst.value
    if count == 1:
        return f"One {verb} waiting, {word}"
    tail = f"all {word}" if shared == count else f"{word_of(shared)} of them {word}"
    return f"{word_of(count).capitalize()} {verb} waiting, {tail}"


def _runs(judged: Sequence[Story]) -> str:
    if not judged:
        return "No run ended in this window, and none was open at its end."
    fates = Counter(story.fate for story in judged)
    parts = [
        f"{number(fates[fate])} {words}"
        for fate, words in (
            (Fate.SUCCEEDED, "succeeded"),
            (Fate.FAILED, "failed or were stopped"),
            (Fate.NOT_RUN, "did not run"),
            (Fate.OPEN, "had no end yet"),
        )
        if fates[fate]
    ]
    principals = len({story.principal for story in judged})
    return f"{count_of(len(judged), 'run')} by {count_of(principals, 'principal')}: {joined(parts)}."


def _network(judged: Sequence[Story]) -> list[str]:
    refused = [story for story in judged if story.refused_outside]
    if not refused:
        return []
    attempts = sum(seen.event.count for story in refused for seen in story.refused_outside)
    inside = sum(seen.event.count for story in judged for seen in story.refused_egress) - attempts
    return [
        f"{_first(len(refused), 'program')} tried to reach a network that was not granted: {count_of(attempts, 'attempt')}, all refused.",
        *[f"Not counted: {count_of(inside, 'attempt')} at the jail's own loopback."] * bool(inside),
    ]


def _vulnerable(packages: Sequence[PackageRow], *, demo: bool) -> list[str]:
    bad = [row for row in packages if row.state == "vulnerable"]
    caveat = " (by demonstration data)" if demo else ""
    if not bad:
        return []
    used = sum(row.executed > 0 for row in bad)
    reach = (
        f"{count_of(used, 'of them was', 'of them were')} part of an executed run"
        if used
        else "no run was executed with one"
    )
    return [
        f"{_first(len(bad), 'vulnerable package version')}{caveat} {'was' if len(bad) == 1 else 'were'} asked for; {reach}."
    ]


def _first(count: int, one: str) -> str:
    """A count that begins a sentence: `One program`."""
    return f"{word_of(count).capitalize()} {one if count == 1 else one + 's'}"


def _ledger(verification: Verification) -> str:
    if not verification.consistent:
        return f"{_first(len(verification.problems), 'problem')} found in the ledger."
    entries = count_of(verification.size, "entry", "entries")
    if verification.anchored_to is None:
        return f"The ledger is consistent over {entries}, but was not compared with a pin kept elsewhere."
    return f"The ledger is consistent over {entries} and agrees with a pin kept elsewhere up to entry {number(verification.anchored_to)}."


def figures_of(
    *, judged: Sequence[Story], packages: Sequence[PackageRow], anomalies: Sequence[Anomaly]
) -> tuple[Figure, ...]:
    """The headline figures; the second to fifth add up to the first."""
    fates = Counter(story.fate for story in judged)
    principals = len({story.principal for story in judged})
    vulnerable = [row for row in packages if row.state == "vulnerable"]
    outdated = sum(row.freshness == "outdated" for row in packages)
    loud = sum(anomaly.severity.rank >= Severity.HIGH.rank for anomaly in anomalies)
    return (
        Figure(name="Runs", value=len(judged), note=f"by {count_of(principals, 'principal')}", anchor="runs"),
        Figure(name="Succeeded", value=fates[Fate.SUCCEEDED], note=_refused_though(judged), anchor="runs"),
        _taken_apart(judged, Fate.FAILED, "Failed or stopped"),
        _taken_apart(judged, Fate.NOT_RUN, "Did not run"),
        Figure(name="Still open", value=fates[Fate.OPEN], note=_open(judged), anchor="runs"),
        Figure(
            name="Vulnerable packages",
            value=len(vulnerable),
            note=f"of {number(len(packages))}; {number(outdated)} outdated" if packages else "",
            anchor="packages",
        ),
        Figure(name="Anomalies", value=len(anomalies), note=f"{number(loud)} high or worse", anchor="anomalies"),
    )


def _refused_though(judged: Sequence[Story]) -> str:
    """What runs that succeeded were refused on the way; each counts once, by the worst of it."""
    words = Counter(_refused(story) for story in judged if story.fate is Fate.SUCCEEDED)
    named = ("was refused a system call", "asked for files of secrets", "was refused a connection")
    return ", ".join(_plural(words[word], word) for word in named if words[word])


def _refused(story: Story) -> str:
    if story.first(SyscallDenied) is not None:
        return "was refused a system call"
    if prying(story):
        return "asked for files of secrets"
    return "was refused a connection" if story.refused_egress else ""


def _plural(count: int, words: str) -> str:
    return f"{number(count)} {words if count == 1 else words.replace('was ', 'were ')}"


def _taken_apart(judged: Sequence[Story], fate: Fate, name: str) -> Figure:
    ended = [story for story in judged if story.fate is fate]
    words = sorted(Counter(map(_word, ended)).items(), key=lambda item: (-item[1], item[0]))
    named = words if len(words) <= _MOST_PARTS else words[: _MOST_PARTS - 1]
    parts = [Part(count=count, words=word if count == 1 else _SEVERAL.get(word, word)) for word, count in named]
    if rest := sum(count for _, count in words[len(named) :]):
        parts.append(Part(count=rest, words="more"))
    return Figure(name=name, value=len(ended), note=in_parts(parts), anchor="attempts", parts=tuple(parts))


def in_parts(parts: Iterable[Part]) -> str:
    """`2 by themselves, 4 at a limit`: all of them, as they stand under a figure."""
    return ", ".join(f"{number(part.count)} {part.words}" for part in parts)


_AT_A_LIMIT = frozenset({"timed_out", "killed_memory", "killed_cpu", "killed_output"})
_WORDS = {"failed": "by itself", "violated_policy": "by the system-call filter", "infrastructure_error": "by our failure", "stopped": "by order"}  # fmt: skip
_SEVERAL = {"by itself": "by themselves"}


def _word(story: Story) -> str:
    end = story.finished
    if end is None:
        return "open"
    word = (end.event.outcome or "unknown") if end.event.end == "executed" else end.event.end
    if word in _AT_A_LIMIT or (word == "failed" and end.event.limits_hit):
        return "at a limit"
    return _WORDS.get(word, word.replace("_", " ")[:40])


def _open(judged: Sequence[Story]) -> str:
    count = sum(story.waiting is not None for story in judged)
    return f"{number(count)} {'waits' if count == 1 else 'wait'} for people" if count else ""
