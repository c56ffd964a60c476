"""The audit of a lock: our own index decides what is found, pip-audit has to agree, and coverage says if both could look.

It must never call anything clean that was not judged by both opinions from data fit for use, and never allow or deny.
"""

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import orjson

from ..errors import DependencyError
from .endpoint import Endpoint, serve
from .index import AdvisoryIndex, Match
from .opinion import Answer, NoAnswer, PipAudit
from .osv import canonical_version
from .severity import strongest
from .store import CLOCK_SKEW, AdvisoryStore, OpenData
from .types import Advisory, AdvisoryData, DataClass, Findings, Lock, Pin, PinFinding, PinState, SecondOpinion

_OPINION_SECONDS = 60.0
_MOST_FIXES = 10
_LONGEST_DETAIL = 2_000
_PREFERRED_IDS = ("MAL-", "PYSEC-", "GHSA-", "CVE-")


class _Opinions(NamedTuple):
    """The second opinion and why it spoils coverage, if it does."""

    second: SecondOpinion | None
    problem: str


class Auditor:
    """Audits locks against the data of a store.

    Args:
        store: the advisory data.
        work: a private directory for scratch files.
        python: the interpreter that has pip-audit installed.
        warn_days: age of real data from which a warning is given.
        error_days: age of real data from which coverage is an error.
        timeout_seconds: how long pip-audit may take.
    """

    def __init__(
        self,
        store: AdvisoryStore,
        *,
        work: Path,
        python: Path,
        warn_days: int = 7,
        error_days: int = 14,
        timeout_seconds: float = _OPINION_SECONDS,
    ) -> None:
        self._store = store
        self._pip_audit = PipAudit(python=python, work=work, timeout_seconds=timeout_seconds)
        self._opened: OpenData | None = None
        self._warn_after = timedelta(days=warn_days)
        self._error_after = timedelta(days=error_days)

    def audit(self, lock: Lock, *, now: datetime) -> Findings:
        """What is known of every pin, and whether that is everything that should be known."""
        if not lock.pins:
            return Findings(
                lock_sha256=lock.sha256, pins=(), complete=True, coverage_error="", data=None, second_opinion=None
            )
        try:
            opened = self._opened = self._store.open(self._opened)
        except DependencyError as error:
            return _unaudited(lock, error.message)
        if opened is None:
            return _unaudited(lock, "no advisory data: nothing was imported")
        try:
            pins = tuple(_judge(pin, opened.index) for pin in lock.pins)
        except DependencyError as error:
            return _unaudited(lock, error.message, opened.data)
        problems, warnings = self._fitness(opened, now)
        opinions = self._second_opinion(lock, pins, opened)
        problems = [problem for problem in (*problems, opinions.problem) if problem]
        return Findings(
            lock_sha256=lock.sha256,
            pins=pins,
            complete=not problems,
            coverage_error="; ".join(problems),
            data=opened.data,
            second_opinion=opinions.second,
            warnings=tuple(warnings),
        )

    def _fitness(self, opened: OpenData, now: datetime) -> tuple[list[str], list[str]]:
        """Why the data is not fit for a verdict, and what a reader should know of it."""
        data = opened.data
        if data.data_class is DataClass.DEMO:
            return [], ["demo data: this is not a real audit"]
        problems: list[str] = []
        warnings: list[str] = []
        age = now - data.as_of
        if age < -CLOCK_SKEW or now < data.imported_at - CLOCK_SKEW:
            problems.append("the clock of this machine is behind the advisory data")
        elif age > self._error_after:
            problems.append(f"the advisory data is {age.days} days old; {self._error_after.days} are allowed")
        elif age > self._warn_after:
            warnings.append(f"the advisory data is {age.days} days old")
        if opened.shrunk_from:
            problems.append(
                f"the advisory data shrank from {opened.shrunk_from} to {data.records} records; import it again to accept that"
            )
        if data.quarantined:
            warnings.append(f"{data.quarantined} advisories could not be read and are quarantined")
        return problems, warnings

    def _second_opinion(self, lock: Lock, pins: Sequence[PinFinding], opened: OpenData) -> _Opinions:
        version = self._pip_audit.version()
        if isinstance(version, NoAnswer):
            return _Opinions(None, version.reason)
        tool = f"pip-audit {version}"
        kept = _Kept(self._store.folder / "opinions", lock, opened.index, version)
        answer = kept.read()
        cached = answer is not None
        if answer is None:
            asked = self._ask(lock, opened.index)
            if isinstance(asked, NoAnswer):
                second = SecondOpinion(tool=tool, agreed=False, advisories=0, detail=asked.reason[:_LONGEST_DETAIL])
                return _Opinions(second, asked.reason)
            answer = asked
            kept.write(answer)
        differences = _differences(pins, answer)
        second = SecondOpinion(
            tool=tool,
            agreed=not differences,
            advisories=sum(map(len, answer.pins.values())),
            detail="; ".join(differences)[:_LONGEST_DETAIL],
            cached=cached,
        )
        return _Opinions(second, f"the two opinions disagree about {len(differences)} packages" if differences else "")

    def _ask(self, lock: Lock, index: AdvisoryIndex) -> Answer | NoAnswer:
        with serve(self._endpoint(index)) as endpoint:
            answer = self._pip_audit.ask(lock.pins, url=endpoint.url)
        if isinstance(answer, Answer) and endpoint.asked != set(answer.pins):
            # it gives an answer for a package that it never asked about
            return NoAnswer("pip-audit did not ask about every package")
        return answer

    def _endpoint(self, index: AdvisoryIndex) -> Endpoint:
        return Endpoint(index)


class _Kept:
    """The answer of pip-audit for one lock, one index and one version of it, kept in the store.

    What is kept is its answer, not our conclusion: the comparison is made every time.
    """

    def __init__(self, folder: Path, lock: Lock, index: AdvisoryIndex, version: str) -> None:
        key = hashlib.sha256(f"{lock.sha256} {index.sha256} {version}".encode()).hexdigest()
        self._path = folder / f"{key}.json"
        self._expected = {(pin.name, canonical_version(pin.version)) for pin in lock.pins}

    def read(self) -> Answer | None:
        try:
            value: Mapping[str, list[list[str]]] = orjson.loads(self._path.read_bytes())
            pins = {_split(pin): tuple(frozenset(ids) for ids in found) for pin, found in value.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return Answer(pins) if set(pins) == self._expected else None

    def write(self, answer: Answer) -> None:
        value = {f"{name}=={version}": [sorted(ids) for ids in found] for (name, version), found in answer.pins.items()}
        # an answer that cannot be kept is asked for again the next time; nothing else is lost
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.{threading.get_native_id()}")
            new.write_bytes(orjson.dumps(value))
            new.replace(self._path)


def _split(pin: str) -> tuple[str, str]:
    name, _, version = pin.partition("==")
    return name, version


def _unaudited(lock: Lock, reason: str, data: AdvisoryData | None = None) -> Findings:
    pins = tuple(PinFinding(pin=pin, state=PinState.UNAUDITABLE, reason=reason) for pin in lock.pins)
    return Findings(
        lock_sha256=lock.sha256, pins=pins, complete=False, coverage_error=reason, data=data, second_opinion=None
    )


def _judge(pin: Pin, index: AdvisoryIndex) -> PinFinding:
    matches = index.matches(pin.name, pin.version)
    unreadable = index.quarantined(pin.name)
    advisories = tuple(_merge(group) for group in _groups(matches))
    if any(match.certain for match in matches):
        state = PinState.VULNERABLE
    elif matches or unreadable:
        state = PinState.UNDETERMINED
    else:
        state = PinState.CLEAN
    reasons = [f"{match.id}: {match.reason}" for match in matches if not match.certain]
    reasons += [f"an advisory could not be read: {reason}" for reason in unreadable]
    return PinFinding(pin=pin, state=state, advisories=advisories, reason="; ".join(reasons)[:_LONGEST_DETAIL])


def _groups(matches: Iterable[Match]) -> list[list[Match]]:
    """Matches that are one vulnerability under several ids, together."""
    groups: list[tuple[set[str], list[Match]]] = []
    for match in matches:
        ids, members = {match.id, *match.aliases}, [match]
        apart: list[tuple[set[str], list[Match]]] = []
        for other in groups:
            if other[0].isdisjoint(ids):
                apart.append(other)
            else:
                ids |= other[0]
                members = other[1] + members
        groups = [*apart, (ids, members)]
    return sorted((members for _, members in groups), key=lambda members: _preference(members[0].id))


def _merge(group: Sequence[Match]) -> Advisory:
    """One advisory for one vulnerability: the preferred id, all others as aliases, the best founded severity."""
    first = min(group, key=lambda match: _preference(match.id))
    rating = strongest(match.rating for match in group)
    ids = {name for match in group for name in (match.id, *match.aliases)} - {first.id}
    fixes = dict.fromkeys(fix for match in (first, *group) for fix in match.fixed_in)
    return Advisory(
        id=first.id,
        aliases=tuple(sorted(ids)),
        severity=rating.severity,
        severity_source=rating.source,
        summary=first.summary or next((match.summary for match in group if match.summary), ""),
        fixed_in=tuple(fixes)[:_MOST_FIXES],
        malicious=any(match.malicious for match in group),
    )


def _preference(identity: str) -> tuple[int, str]:
    rank = next((i for i, prefix in enumerate(_PREFERRED_IDS) if identity.startswith(prefix)), len(_PREFERRED_IDS))
    return rank, identity


def _differences(pins: Iterable[PinFinding], answer: Answer) -> list[str]:
    """Where the two opinions differ, by the sets of ids of each vulnerability: one sentence a package, both answers in it."""
    differences: list[str] = []
    for finding in pins:
        pin = finding.pin
        ours = [{advisory.id, *advisory.aliases} for advisory in finding.advisories]
        theirs = answer.pins[pin.name, canonical_version(pin.version)]
        only_ours = [ids for ids in ours if all(ids.isdisjoint(other) for other in theirs)]
        only_theirs = [ids for ids in theirs if all(ids.isdisjoint(other) for other in ours)]
        if only_ours or only_theirs:
            differences.append(
                f"{pin.name}=={pin.version}: the index finds {_listed(ours)}, pip-audit finds {_listed(theirs)}"
            )
    return differences


def _listed(groups: Sequence[set[str] | frozenset[str]]) -> str:
    return ", ".join(sorted(min(ids, key=_preference) for ids in groups)) or "nothing"
