"""Packages of the window: what audits found, and how far behind they are.

It must never call a version current or clean that nobody checked.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..ledger.events import (
    DataRecord,
    DependenciesAudited,
    DependenciesFreshness,
    DependenciesResolved,
    FindingRecord,
    FreshnessRecord,
)
from ..ledger.types import Entry
from .stories import Known, Seen, Story
from .types import AuditData, PackageRow, Severity
from .words import clip, shorten

__all__ = ["audits_of", "packages_of", "severity_from"]

_PLAIN = re.compile(r"(\d{1,9}(?:\.\d{1,9}){0,7})(?:\.post(\d{1,9}))?")
"""A release that needs no knowledge of pre-releases, epochs or local versions to be compared."""
_STATES = ("clean", "waived", "not audited", "unauditable", "undetermined", "vulnerable")
"""From best to worst; the worst of several audits is shown."""


@dataclass(slots=True)
class _Use:
    """What is known of one version of one package while it is collected."""

    state: str = "not audited"
    real: bool = True
    finding: FindingRecord | None = None
    runs: set[str] = field(default_factory=set)
    executed: set[str] = field(default_factory=set)
    principals: set[str] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)


def severity_from(word: str) -> Severity:
    """The severity of that name; any other word is unknown."""
    try:
        return Severity(word)
    except ValueError:
        return Severity.UNKNOWN


def packages_of(known: Known, judged: Iterable[Story]) -> tuple[PackageRow, ...]:
    """One row for each version that a run of the window asked for, worst first."""
    uses: dict[tuple[str, str], _Use] = {}
    for story in [*judged, *_by_hand(known)]:
        _collect(story, uses)
    fresh = _freshness(known.entries)
    rows = [_row(name, version, use, fresh.get((name, version))) for (name, version), use in uses.items()]
    return tuple(sorted(rows, key=_order))


def _order(row: PackageRow) -> tuple[int, bool, bool, str, str]:
    return (-row.severity.rank, row.state == "clean", row.freshness == "current", row.name, row.version)


def _collect(story: Story, uses: dict[tuple[str, str], _Use]) -> None:
    audit = story.last(DependenciesAudited)
    resolved = story.last(DependenciesResolved)
    findings = {(f.name, f.version): f for f in audit.event.findings} if audit else {}
    pins = {(pin.name, pin.version) for pin in resolved.event.pins} if resolved else set()
    for pin in sorted(pins | findings.keys()):
        use = uses.setdefault(pin, _Use())
        if story.run:
            use.runs.add(story.run)
        use.principals.add(story.principal)
        if story.executed:
            use.executed.add(story.run)
        use.entries |= {seen.entry.index for seen in (audit, resolved) if seen is not None}
        _judge(use, findings.get(pin), audit)


def _judge(use: _Use, finding: FindingRecord | None, audit: Seen[DependenciesAudited] | None) -> None:
    if audit is None:
        return
    state = finding.state if finding else ("clean" if audit.event.complete else "undetermined")
    first = use.state == "not audited" and use.finding is None
    if first or _badness(state) > _badness(use.state):
        use.state, use.finding = state, finding
    use.real = audit.event.real and (first or use.real)


def _badness(state: str) -> int:
    return _STATES.index(state) if state in _STATES else len(_STATES)


def _row(name: str, version: str, use: _Use, fresh: Seen[DependenciesFreshness] | None) -> PackageRow:
    record = next((r for r in fresh.event.packages if (r.name, r.used) == (name, version)), None) if fresh else None
    freshness, note = _compare(record)
    finding = use.finding
    return PackageRow(
        name=clip(name, 120),
        version=clip(version, 60),
        state=clip(use.state, 40),
        real=use.real,
        advisories=shorten(finding.advisories) if finding else (),
        severity=_severity(use),
        fixed_in=shorten(sorted(finding.fixed_in, key=_in_order), 4) if finding else (),
        freshness=freshness,
        latest=clip(record.latest, 60) if record and record.latest else "",
        freshness_note=note,
        as_of=clip(fresh.event.as_of, 40) if fresh else "",
        runs=len(use.runs),
        executed=len(use.executed),
        principals=shorten(sorted(use.principals), 4),
        entries=tuple(sorted(use.entries | ({fresh.entry.index} if fresh else set())))[:12],
    )


def _severity(use: _Use) -> Severity:
    match use.state:
        case "clean":
            return Severity.NONE
        case "waived":
            return Severity.LOW
        case "vulnerable" if use.finding is not None:
            return severity_from(use.finding.severity)
        case _:
            return Severity.UNKNOWN


def _freshness(entries: Iterable[Entry]) -> dict[tuple[str, str], Seen[DependenciesFreshness]]:
    """The newest answer of the index for each version, from the window or before it."""
    newest: dict[tuple[str, str], Seen[DependenciesFreshness]] = {}
    for entry in entries:
        if isinstance(entry.event, DependenciesFreshness):
            for record in entry.event.packages:
                newest[record.name, record.used] = Seen(entry, entry.event)
    return newest


def _compare(record: FreshnessRecord | None) -> tuple[str, str]:
    if record is None:
        return "never computed", ""
    yanked = "the version in use was yanked" if record.yanked else ""
    if record.latest is None:
        return "unknown", clip(record.reason) or "no reason recorded"
    if record.latest == record.used:
        return ("outdated" if yanked else "current"), yanked
    used, latest = _PLAIN.fullmatch(record.used), _PLAIN.fullmatch(record.latest)
    if used and latest and _release(used) >= _release(latest):
        return ("outdated", yanked) if yanked else ("current", "")
    return "outdated", yanked


def _in_order(version: str) -> tuple[list[int], int, str]:
    """As people count: 1.26.5 before 1.26.17; what is not a plain release comes last."""
    match = _PLAIN.fullmatch(version)
    return (*_release(match), version) if match else ([10**9], 0, version)


def _release(match: re.Match[str]) -> tuple[list[int], int]:
    numbers = [int(part) for part in match.group(1).split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return numbers, int(match.group(2) or -1)


def _by_hand(known: Known) -> list[Story]:
    """Audits of the window that belong to no run, as stories without a run: one for each lock."""
    stories: dict[str, Story] = {}
    for entry in known.inside:
        if entry.run is None and isinstance(entry.event, DependenciesAudited | DependenciesResolved):
            stories.setdefault(entry.event.lock_sha256, Story("")).entries.append(entry)
    return list(stories.values())


def audits_of(known: Known, judged: Iterable[Story]) -> tuple[AuditData, ...]:
    """The advisory data that audits of the window rest on; demo data first."""
    by_data: dict[tuple[str, ...], list[Seen[DependenciesAudited]]] = {}
    for story in [*judged, *_by_hand(known)]:
        for seen in story.all(DependenciesAudited):
            data = seen.event.data
            key = (data.data_class, data.sha256, str(seen.event.real)) if data else ("none", "", str(seen.event.real))
            by_data.setdefault(key, []).append(seen)
    rows = [_audit_data(seen) for _key, seen in sorted(by_data.items())]
    return tuple(sorted(rows, key=lambda row: (row.real, row.data_class, row.as_of)))


def _audit_data(audits: list[Seen[DependenciesAudited]]) -> AuditData:
    data: DataRecord | None = audits[-1].event.data
    return AuditData(
        data_class=clip(data.data_class, 40) if data else "none",
        real=audits[-1].event.real and (data is None or data.data_class != "demo"),
        source=clip(data.source, 160) if data else "",
        as_of=clip(data.as_of, 40) if data else "",
        age_days=data.age_days if data else 0,
        records=data.records if data else 0,
        audits=len(audits),
        incomplete=sum(not seen.event.complete for seen in audits),
        disagreed=sum(seen.event.second_opinion_agreed is False for seen in audits),
        entries=tuple(sorted(seen.entry.index for seen in audits))[:12],
    )
