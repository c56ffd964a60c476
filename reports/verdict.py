"""The verdict: one sentence that is also the title, a few more, and the headline figures.

It must never call an empty window a good one, nor a consistent ledger a verified one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..ledger.types import Verification
from .stories import Known, Story
from .types import Anomaly, AuditData, DecisionNeeded, Fate, Figure, PackageRow, Severity
from .words import count_of, joined, number, word_of

__all__ = ["Verdict", "figures_of", "verdict_of", "worst_of"]


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
    return [
        f"{count_of(len(refused), 'program')} tried to reach a network that was not granted: {count_of(attempts, 'attempt')}, all refused."
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
        f"{count_of(len(bad), 'vulnerable package version')}{caveat} {'was' if len(bad) == 1 else 'were'} asked for; {reach}."
    ]


def _ledger(verification: Verification) -> str:
    if not verification.consistent:
        return f"{count_of(len(verification.problems), 'problem')} found in the ledger."
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
        Figure(name="Failed or stopped", value=fates[Fate.FAILED], note=_ends(judged, Fate.FAILED), anchor="attempts"),
        Figure(name="Did not run", value=fates[Fate.NOT_RUN], note=_ends(judged, Fate.NOT_RUN), anchor="attempts"),
        Figure(name="Still open", value=fates[Fate.OPEN], note=_open(judged), anchor="runs"),
        Figure(
            name="Vulnerable packages", value=len(vulnerable), note=f"{number(outdated)} outdated", anchor="packages"
        ),
        Figure(name="Anomalies", value=len(anomalies), note=f"{number(loud)} high or worse", anchor="anomalies"),
    )


def _refused_though(judged: Sequence[Story]) -> str:
    count = sum(story.fate is Fate.SUCCEEDED and bool(story.refused_egress) for story in judged)
    return f"{number(count)} refused something" if count else ""


def _ends(judged: Sequence[Story], fate: Fate) -> str:
    words = Counter(_word(story) for story in judged if story.fate is fate)
    return ", ".join(
        f"{number(count)} {word}" for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0]))[:2]
    )


def _word(story: Story) -> str:
    end = story.finished
    if end and end.event.outcome == "failed" and end.event.limits_hit:
        return "at a limit"
    word = (end.event.outcome or "unknown") if end and end.event.end == "executed" else end.event.end if end else "open"
    return {
        "failed": "by itself", "timed_out": "out of time", "killed_memory": "out of memory", "killed_cpu": "out of processor time",
        "killed_output": "too much output", "violated_policy": "system call", "infrastructure_error": "our failure",
    }.get(word, word[:40])  # fmt: skip


def _open(judged: Sequence[Story]) -> str:
    count = sum(story.waiting is not None for story in judged)
    return f"{number(count)} {'waits' if count == 1 else 'wait'} for people" if count else ""
