"""Limits of a review: what it did not see, in sentences.

It must never leave out a gap because the rest looks good; this list is empty only if there is no gap.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from ..ledger.events import DependenciesAudited, DependenciesResolved, RunFinished, RunLateResult
from ..ledger.types import Entry, Verification
from .exposure import cut_exposures
from .stories import Known, Story
from .types import AuditData, Limit, PackageRow
from .words import clip, count_of, joined, number, shorten

__all__ = ["limits_of"]

_MOST_ENTRIES = 12
_MOST_SENTENCES = 25
_COLD = 30
"""Earlier runs that a principal needs before its own habit says anything."""
_CLOCK_SLACK = timedelta(seconds=5)
"""Entries of parallel runs may overtake each other by this much without meaning anything."""


def limits_of(
    known: Known,
    *,
    judged: Sequence[Story],
    verification: Verification,
    packages: Sequence[PackageRow],
    audits: Sequence[AuditData],
) -> tuple[Limit, ...]:
    """Everything that this review could not see, judge or compare."""
    return (
        *_seal(known, verification),
        *_demo(audits),
        *_unobserved(judged),
        *_uncounted(judged),
        *_open(judged),
        *_unknown_kinds(known.inside),
        *_late(known.inside),
        *_beyond_caps(judged),
        *_freshness(packages),
        *_cold_start(known, judged),
        *_clock(known),
        Limit(text="Programs that agents run without custody are invisible to it."),
    )


def _seal(known: Known, verification: Verification) -> Iterator[Limit]:
    if verification.anchored_to is None:
        yield Limit(
            text="The ledger was checked against itself only. Whoever holds its keys could have rewritten all of it: compare with a pin that is kept somewhere else."
        )
    elif verification.anchored_to < known.window.size:
        after = known.window.size - verification.anchored_to
        yield Limit(
            text="The last entry came after the pin and is not covered by it."
            if after == 1
            else f"The last {number(after)} entries came after the pin and are not covered by it."
        )
    if verification.size != known.window.size:
        yield Limit(
            text=f"{number(verification.size)} entries were verified, this review judges the ledger at {number(known.window.size)}."
        )
    for text in shorten(verification.not_checked, _MOST_SENTENCES):
        yield Limit(text=f"Not checked in the ledger: {text}")


def _demo(audits: Sequence[AuditData]) -> Iterator[Limit]:
    demo = [audit for audit in audits if not audit.real]
    if demo:
        entries = sorted(index for audit in demo for index in audit.entries)
        count = sum(audit.audits for audit in demo)
        yield Limit(
            text=f"Not a real audit: {count_of(count, 'audit')} used demonstration data, which knows a dozen made-up advisories: “clean” means nothing there.",
            entries=tuple(entries)[:_MOST_ENTRIES],
        )


def _unobserved(judged: Iterable[Story]) -> Iterator[Limit]:
    found: dict[str, list[int]] = defaultdict(list)
    for story in judged:
        for seen in story.all(RunFinished):
            for text in seen.event.unobserved:
                found[clip(text)].append(seen.entry.index)
    for text, entries in sorted(found.items())[:_MOST_SENTENCES]:
        yield Limit(text=f"In {count_of(len(entries), 'run')}: {text}", entries=tuple(entries)[:_MOST_ENTRIES])
    if len(found) > _MOST_SENTENCES:
        yield Limit(
            text=f"{number(len(found) - _MOST_SENTENCES)} more things that could not be observed stand in the entries of the runs."
        )


def _uncounted(judged: Iterable[Story]) -> Iterator[Limit]:
    """Without a control group a refused process leaves no trace of its own, and a limit is known only if somebody looked in time."""
    ends = [seen for story in judged for seen in story.all(RunFinished) if seen.event.end == "executed"]
    without = [seen for seen in ends if seen.event.layers and "cgroup_pids" not in seen.event.layers]
    if without:
        failed = [seen for seen in without if seen.event.outcome == "failed" and not seen.event.limits_hit]
        yield Limit(
            text=f"In {count_of(len(without), 'run')} no control group counted processes: that one was refused is not observable there. They were "
            f"counted now and then, and a limit that was met in between reads as a failure by itself. {_so_many_failed(len(failed))}",
            entries=tuple(seen.entry.index for seen in failed or without)[:_MOST_ENTRIES],
        )


def _so_many_failed(count: int) -> str:
    if not count:
        return "None of these runs failed by itself."
    return f"{number(count)} of these runs failed by {'itself' if count == 1 else 'themselves'}."


def _open(judged: Iterable[Story]) -> Iterator[Limit]:
    lost = [story for story in judged if story.finished is None and story.waiting is None]
    if lost:
        named = joined(shorten((story.run for story in lost), 4))
        yield Limit(
            text=f"{count_of(len(lost), 'run')} had no end yet and could not be judged: {named}.",
            entries=tuple(story.entries[-1].index for story in lost)[:_MOST_ENTRIES],
        )


def _unknown_kinds(inside: Iterable[Entry]) -> Iterator[Limit]:
    unknown = [entry for entry in inside if entry.event is None]
    if unknown:
        kinds = Counter(f"{clip(entry.kind, 60)} version {entry.version}" for entry in unknown)
        named = joined(shorten((f"{kind} ({number(count)})" for kind, count in sorted(kinds.items())), 6))
        yield Limit(
            text=f"{count_of(len(unknown), 'entry', 'entries')} of a kind that this release does not know: {named}. They are counted and proven, not understood.",
            entries=tuple(entry.index for entry in unknown)[:_MOST_ENTRIES],
        )


def _late(inside: Iterable[Entry]) -> Iterator[Limit]:
    late = [entry.index for entry in inside if isinstance(entry.event, RunLateResult)]
    if late:
        yield Limit(
            text=f"{count_of(len(late), 'result')} came after the run had been given its end; the end stands.",
            entries=tuple(late)[:_MOST_ENTRIES],
        )


def _beyond_caps(judged: Sequence[Story]) -> Iterator[Limit]:
    """Events hold only the first of long lists; the payloads hold all, and this review does not read those."""
    beyond: list[int] = []
    for story in judged:
        beyond += [s.entry.index for s in story.all(RunFinished) if s.event.overflow is not None]
        beyond += [s.entry.index for s in story.all(DependenciesResolved) if s.event.total > len(s.event.pins)]
        beyond += [s.entry.index for s in story.all(DependenciesAudited) if _not_clean(s.event) > len(s.event.findings)]
    beyond += cut_exposures(judged)
    if beyond:
        yield Limit(
            text=f"{count_of(len(set(beyond)), 'entry', 'entries')} held more than fits into an entry; what is beyond lies in payloads and is counted, not shown.",
            entries=tuple(dict.fromkeys(beyond))[:_MOST_ENTRIES],
        )


def _not_clean(audit: DependenciesAudited) -> int:
    return audit.vulnerable + audit.waived + audit.undetermined + audit.unauditable


def _freshness(packages: Sequence[PackageRow]) -> Iterator[Limit]:
    never = sum(row.freshness == "never computed" for row in packages)
    unknown = sum(row.freshness == "unknown" for row in packages)
    if never:
        yield Limit(
            text=f"Whether {count_of(never, 'package version')} {'is' if never == 1 else 'are'} outdated was never computed."
        )
    if unknown:
        yield Limit(
            text=f"Whether {count_of(unknown, 'package version')} {'is' if unknown == 1 else 'are'} outdated is unknown; the reasons stand beside them."
        )


def _cold_start(known: Known, judged: Iterable[Story]) -> Iterator[Limit]:
    runs = Counter(story.principal for story in known.earlier)
    cold = sorted({story.principal for story in judged if runs[story.principal] < _COLD})
    if cold:
        yield Limit(
            text=f"Cold start: {count_of(len(cold), 'principal')} with fewer than {_COLD} earlier runs ({joined(shorten(cold, 4))}); what is unusual for them is judged by everybody's habit."
        )


def _clock(known: Known) -> Iterator[Limit]:
    if known.later:
        count = len(known.later)
        yield Limit(
            text=f"{count_of(count, 'entry', 'entries')} below the tree size {'carries a time' if count == 1 else 'carry times'} after the end of this window; they belong to later reviews."
        )
    back = [after.index for before, after in pairwise(known.inside) if before.time - after.time > _CLOCK_SLACK]
    if back:
        yield Limit(
            text=f"The clock went backwards {count_of(len(back), 'time')} between entries; the order of the ledger stands, the times near them may be wrong.",
            entries=tuple(back)[:_MOST_ENTRIES],
        )
