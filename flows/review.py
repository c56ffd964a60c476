"""A review: ask the index what is outdated, verify the ledger, judge the window, render, put the page's digest on record.

Each part is a plain function, so that a person, a test and a schedule do the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from ..dependencies import check_freshness
from ..dependencies.types import Freshness
from ..errors import LedgerError, UsageError
from ..ledger import Pin, events, verify_ledger
from ..policies.types import Principal
from ..reports import Rendered, Review, Window, judge, render
from . import entries
from .house import House, new_id
from .pins import keep_newest, read_pin
from .record import Batch

__all__ = ["Reviewed", "Shown", "check_window", "find_reviews", "read_review", "record_freshness", "review_window"]

_PACKAGES_PER_ENTRY = 100
_PACKAGES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A review that was rendered and recorded."""

    review: Review
    folder: Path
    html: Path
    entry: int
    remark: str = ""
    """What the caller should hear, for example that no pin was kept outside."""


def check_window(since: datetime, until: datetime) -> None:
    """Refuse a window that holds no time.

    Raises:
        UsageError: it ends before it begins.
    """
    if since >= until:
        raise UsageError("the window ends before it begins", hint="give --since before --until")


def record_freshness(house: House, actor: str, *, since: datetime, until: datetime) -> int:
    """Ask the index for the latest version of every pin of the window and record the answers; how many pins there were."""
    pins: set[tuple[str, str]] = set()
    for entry in house.ledger.entries(kinds=("dependencies:resolved",), since=since, until=until):
        if isinstance(entry.event, events.DependenciesResolved):
            pins.update((pin.name, pin.version) for pin in entry.event.pins)
    if not pins:
        return 0
    now = house.clock()
    chosen = sorted(pins)[:_PACKAGES]
    answers = check_freshness(
        chosen,
        index_url=house.settings.index_url,
        certificates=house.settings.certificates,
        now=now,
        timeout_seconds=house.settings.dependencies.freshness_timeout_seconds,
    )
    batch = Batch(house, actor)
    for first in range(0, len(answers), _PACKAGES_PER_ENTRY):
        part = answers[first : first + _PACKAGES_PER_ENTRY]
        known = [answer for answer in part if answer.latest is not None]
        batch.add(
            events.DependenciesFreshness(
                as_of=entries.timestamp(now),
                known=len(known),
                unknown=len(part) - len(known),
                packages=tuple(_freshness(answer) for answer in part),
            )
        )
    batch.write()
    return len(pins)


def _freshness(answer: Freshness) -> events.FreshnessRecord:
    return events.FreshnessRecord(
        name=answer.name[:100],
        used=answer.used[:60],
        latest=answer.latest,
        reason=answer.reason[:120],
        yanked=answer.yanked,
    )


def review_window(
    house: House,
    principal: Principal,
    *,
    since: datetime,
    until: datetime,
    conductor: str = "direct",
    freshness: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Reviewed:
    """Judge the entries of a window, render the page, and record that this was done.

    Raises:
        UsageError: the window holds no time.
        LedgerError: the ledger cannot be read or written.
    """
    check_window(since, until)
    tell = progress or (lambda _: None)
    if freshness:
        tell("freshness")
        record_freshness(house, principal.id, since=since, until=until)
    tell("verify")
    pins = _outside_pins(house)
    verification = verify_ledger(house.places.ledger, verifier_key=house.ledger.verifier_key, pins=pins)
    tell("judge")
    identity = new_id("review", until)
    window = Window(since, until, verification.size)

    review = judge(
        house.ledger.entries(stop=window.size),
        window=window,
        verification=verification,
        review=identity,
        organisation=house.settings.organisation,
        read_payload=house.ledger.read_payload,
    )
    tell("render")
    rendered = render(review)
    folder = _store(house, identity, rendered)
    tell("record")
    return Reviewed(
        review=review,
        folder=folder,
        html=folder / "review.html",
        entry=_record(house, principal, review, rendered, conductor=conductor),
        remark=_keep_outside(house),
    )


def _outside_pins(house: House) -> list[Pin]:
    folder = house.settings.ledger.pin_directory
    if folder is None or not (folder / "latest.note").is_file():
        return []
    return [read_pin(str(folder / "latest.note"), replace(house.settings.caller_files, sudo_uid=None))]


def _store(house: House, identity: str, rendered: Rendered) -> Path:
    folder = house.places.reviews / identity
    folder.mkdir(parents=True, mode=0o700)
    (folder / "review.html").write_bytes(rendered.html)
    (folder / "review.json").write_bytes(rendered.json)
    return folder


def _record(house: House, principal: Principal, review: Review, rendered: Rendered, *, conductor: str) -> int:
    batch = Batch(house, principal.id)
    for anomaly in review.anomalies[:50]:
        batch.add(
            events.FindingRaised(
                finding=anomaly.id,
                detector=anomaly.detector,
                severity=anomaly.severity,
                principal=anomaly.principal,
                title=anomaly.title[:300],
                observed=anomaly.observed[:600],
                baseline=anomaly.baseline[:600],
                why=anomaly.why[:600],
                benign=anomaly.benign[:600],
                next_step=anomaly.next_step[:600],
                confidence=anomaly.confidence,
                entries=anomaly.entries[:50],
                review=review.id,
            )
        )
    batch.add(
        events.ReviewCompleted(
            review=review.id,
            since=entries.timestamp(review.window.since),
            until=entries.timestamp(review.window.until),
            size=review.window.size,
            severity=review.severity,
            verdict=review.title[:600],
            decisions=len(review.decisions),
            anomalies=len(review.anomalies),
            html_sha256=rendered.html_sha256,
            json_sha256=rendered.json_sha256,
            conductor=conductor,
        ),
        id=_event_id(review.id),
    )
    return batch.write()[-1].index


def _keep_outside(house: House) -> str:
    """Keep the newest checkpoint outside, if a place is set; what is recorded stays recorded if that fails, and it is said."""
    if house.settings.ledger.pin_directory is None:
        return ""
    try:
        folder, home = house.settings.ledger.pin_directory, house.settings.home
        return keep_newest(house.ledger, folder, home=home).remark
    except LedgerError as error:
        return f"no pin was kept outside: {error.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A review that was made before."""

    event: events.ReviewCompleted
    html: Path
    as_issued: bool
    """Whether the page still has the digest that is on record."""


def read_review(house: House, review: str) -> Shown:
    """One recorded review.

    Raises:
        UsageError: there is no such review, or its page is gone.
    """
    found = house.ledger.entry(_event_id(review))
    event = found.event if found is not None else None
    if not isinstance(event, events.ReviewCompleted):
        raise UsageError(f"there is no review `{review}`", hint="`custody review list` shows them")
    html = house.places.reviews / event.review / "review.html"
    try:
        page = html.read_bytes()
    except OSError as error:
        raise UsageError(f"the page of review `{review}` cannot be read", hint=f"it belongs at {html}") from error
    return Shown(event=event, html=html, as_issued=hashlib.sha256(page).hexdigest() == event.html_sha256)


def _event_id(review: str) -> str:
    """A review is recorded once: its entry is found by its id, and cannot be written again."""
    return f"{review}/completed"


def find_reviews(house: House, *, limit: int = 50) -> list[events.ReviewCompleted]:
    """The newest recorded reviews, newest first."""
    found = islice(house.ledger.entries(kinds=("review:completed",), newest_first=True), limit)
    return [entry.event for entry in found if isinstance(entry.event, events.ReviewCompleted)]
