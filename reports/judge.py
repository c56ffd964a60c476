"""From entries to a review: collect, judge, and put together what each part found.

It must never look at a clock, a file or the machine: only entries speak, and payloads that the caller reads for it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..ledger.events import AccessDenied, ApprovalGranted, ApprovalRefused, Event, ReviewCompleted, ReviewSigned
from ..ledger.types import Entry, Verification
from .anomalies import DETECTORS, detect, records_of
from .attempts import ReadPayload, attempt_of, key_entries, severity_of, was_refused_something
from .chart import chart_of
from .decisions import decisions_of
from .endings import end_in_words
from .evidence import evidence_of, references
from .exposure import exposure_of, granted_limits_of
from .limits import limits_of
from .packages import audits_of, packages_of
from .stories import Known, Seen, Story, known_at
from .types import (
    Anomaly,
    Approval,
    Attempt,
    AuditData,
    CompletedReview,
    DecisionNeeded,
    DetectorNote,
    Fate,
    KindCount,
    PackageRow,
    Refusal,
    Review,
    RunRow,
    Seal,
    Window,
)
from .verdict import figures_of, verdict_of
from .words import clip, shorten

__all__ = ["judge", "reviews_in"]


def judge(
    entries: Iterable[Entry],
    *,
    window: Window,
    verification: Verification,
    review: str,
    organisation: str,
    read_payload: ReadPayload | None = None,
) -> Review:
    """The window, judged; the same arguments give the same review.

    Args:
        entries: all entries below the window's tree size; earlier ones are baseline and complete the runs of the window.
        window: what to judge.
        verification: of the whole ledger, done by whoever calls.
        review: id of the review.
        organisation: whose ledger it is, for the head of the page.
        read_payload: gives a payload's bytes, for the last lines of programs that failed; None leaves those out.
    """
    known = known_at(entries, window)
    told = _told(
        _weighed(known, verification), read_payload, review=clip(review, 80), organisation=clip(organisation, 120)
    )
    # what the page refers to is known only once everything on it is told
    return replace(told, evidence=evidence_of(known.entries, references(told)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """What several parts of a review look at."""

    known: Known
    judged: Sequence[Story]
    verification: Verification
    packages: tuple[PackageRow, ...]
    audits: tuple[AuditData, ...]
    anomalies: tuple[Anomaly, ...]
    decisions: tuple[DecisionNeeded, ...]


def _weighed(known: Known, verification: Verification) -> _Weighed:
    judged = known.judged
    packages, audits, anomalies = packages_of(known, judged), audits_of(known, judged), detect(records_of(known))
    decisions = decisions_of(
        known, judged=judged, verification=verification, packages=packages, audits=audits, anomalies=anomalies
    )
    return _Weighed(
        known=known,
        judged=judged,
        verification=verification,
        packages=packages,
        audits=audits,
        anomalies=anomalies,
        decisions=decisions,
    )


def _told(weighed: _Weighed, read_payload: ReadPayload | None, *, review: str, organisation: str) -> Review:
    """Everything but the evidence."""
    known, judged, verification = weighed.known, weighed.judged, weighed.verification
    packages, audits, anomalies = weighed.packages, weighed.audits, weighed.anomalies
    verdict = verdict_of(
        known, judged=judged, verification=verification, decisions=weighed.decisions, packages=packages, audits=audits
    )
    return Review(
        id=review,
        organisation=organisation,
        title=verdict.title,
        verdict=verdict.text,
        severity=verdict.severity,
        window=known.window,
        figures=figures_of(judged=judged, packages=packages, anomalies=anomalies),
        decisions=weighed.decisions,
        attempts=_attempts(judged, read_payload),
        refusals=_refusals(known),
        packages=packages,
        audits=audits,
        exposure=exposure_of(judged),
        granted_limits=granted_limits_of(judged),
        anomalies=anomalies,
        detectors=tuple(DetectorNote(id=d.id, sentence=d.sentence, limits=d.limits) for d in DETECTORS),
        approvals=_approvals(known),
        chart=chart_of(known, judged),
        runs=tuple(_run_row(story) for story in judged),
        seal=_seal(verification),
        limits=limits_of(known, judged=judged, verification=verification, packages=packages, audits=audits),
        kinds=_kinds(known.inside),
        not_a_real_audit=any(not audit.real for audit in audits),
        evidence=(),
    )


def _attempts(judged: Sequence[Story], read_payload: ReadPayload | None) -> tuple[Attempt, ...]:
    told = [
        attempt_of(story, read_payload)
        for story in judged
        if story.fate in {Fate.FAILED, Fate.NOT_RUN} or was_refused_something(story)
    ]
    return tuple(sorted(told, key=lambda attempt: (-attempt.severity.rank, attempt.time, attempt.run)))


def _run_row(story: Story) -> RunRow:
    submitted = story.submitted
    return RunRow(
        run=clip(story.run, 80),
        time=story.time,
        principal=clip(story.principal, 120),
        program=clip(story.program, 120),
        profile=clip(submitted.profile if submitted else "", 60),
        conductor=clip(submitted.conductor if submitted else "", 40),
        fate=story.fate,
        end=end_in_words(story),
        severity=severity_of(story),
        entries=key_entries(story, most=6),
    )


def _refusals(known: Known) -> tuple[Refusal, ...]:
    """Refusals at a door, the same ones together."""
    groups: dict[tuple[str, str, str, tuple[str, ...], str], list[Seen[AccessDenied]]] = {}
    for entry in known.inside:
        event = entry.event
        if isinstance(event, AccessDenied):
            key = (entry.actor, event.action, event.source, event.rules, event.reason)
            groups.setdefault(key, []).append(Seen(entry, event))
    return tuple(
        Refusal(
            actor=clip(actor, 120),
            action=clip(action, 120),
            source=clip(source, 120),
            rules=shorten(rules),
            reason=clip(reason),
            count=sum(one.event.count for one in seen),
            entries=tuple(one.entry.index for one in seen)[:12],
        )
        for (actor, action, source, rules, reason), seen in groups.items()
    )


def _approvals(known: Known) -> tuple[Approval, ...]:
    requesters = {story.run: story.principal for story in known.stories}
    return tuple(
        Approval(
            run=clip(entry.run or "", 80),
            granted=isinstance(event, ApprovalGranted),
            approver=clip(event.approver, 120),
            role=clip(event.role, 80),
            requester=clip(requesters.get(entry.run or "", ""), 120),
            comment=clip(event.comment),
            time=entry.time,
            entries=(entry.index,),
        )
        for entry in known.inside
        if isinstance(event := entry.event, ApprovalGranted | ApprovalRefused)
    )


def _seal(verification: Verification) -> Seal:
    return Seal(
        size=verification.size,
        root=verification.root.hex(),
        consistent=verification.consistent,
        problems=shorten((f"{problem.code}: {problem.message}" for problem in verification.problems), 20),
        checks=shorten(verification.checks, 20),
        not_checked=shorten(verification.not_checked, 20),
        anchored_to=verification.anchored_to,
        command="custody verify --pin FILE",
    )


def _kinds(inside: Sequence[Entry]) -> tuple[KindCount, ...]:
    counts = Counter((entry.kind, entry.event is not None) for entry in inside)
    return tuple(
        KindCount(kind=clip(kind, 60), entries=count, known=known) for (kind, known), count in sorted(counts.items())
    )


def reviews_in(entries: Iterable[Entry]) -> tuple[CompletedReview, ...]:
    """Every review that the entries know of, oldest first, with those who signed it."""
    completed: dict[str, Seen[ReviewCompleted]] = {}
    signed: dict[str, list[str]] = {}
    for entry in entries:
        event: Event | None = entry.event
        if isinstance(event, ReviewCompleted):
            completed[event.review] = Seen(entry, event)
        elif isinstance(event, ReviewSigned):
            signed.setdefault(event.review, []).append(event.signer)
    return tuple(
        CompletedReview(
            review=seen.event.review,
            time=seen.entry.time,
            since=seen.event.since,
            until=seen.event.until,
            severity=seen.event.severity,
            verdict=seen.event.verdict,
            decisions=seen.event.decisions,
            anomalies=seen.event.anomalies,
            html_sha256=seen.event.html_sha256,
            entry=seen.entry.index,
            signed_by=tuple(signed.get(review, ())),
        )
        for review, seen in completed.items()
    )
