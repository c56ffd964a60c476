"""This machine: recovery of what a crash left open, sweeping, and the doctor.

It must never close a run whose owner is alive, and never remove what it does not own.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..dependencies import AdvisoryStore
from ..errors import CustodyError, Exit
from ..ledger import Entry, events
from ..sandbox import Sandbox
from ..sandbox.types import LayerState
from . import ending
from .belongings import replaceable
from .house import House
from .ownership import orphaned
from .passage import Passage, RunState, state_of
from .pipeline import sandbox_of
from .policy import edits_of
from .record import MACHINERY, record

__all__ = ["Check", "doctor", "expire", "recover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that the doctor looked at."""

    name: str
    state: str
    """`ok`, `missing`, `warning`, `not_run_live`."""
    cause: str = ""
    cure: str = ""
    severity: Exit = Exit.DONE
    """DONE, or LOW to CRITICAL."""


def recover(house: House) -> tuple[str, ...]:
    """Close every run whose owner died, sweep what its jail left, and record both; the runs that were closed."""
    closed: list[str] = []
    owned = list(orphaned(house.places.owners))
    if not owned:
        return ()
    swept = sandbox_of(house).sweep()
    for ownership in owned:
        try:
            if _close(house, ownership.run):
                closed.append(ownership.run)
        finally:
            ownership.release()
    if closed or swept:
        event = events.ReconciliationCompleted(
            closed=tuple(closed[:50]), swept=tuple(s[:120] for s in swept[:20]), left=()
        )
        record(house, event, actor=MACHINERY)
    return tuple(closed)


def _close(house: House, run: str) -> bool:
    match state_of(list(house.ledger.entries(run=run))):
        case RunState.STARTED | RunState.CLAIMED:
            explanation = "the process that ran it ended without recording a result; what the program did is unknown"
            return ending.close(house, run, started=True, explanation=explanation) is not None
        case RunState.SUBMITTED:
            explanation = "the process that worked on it ended before the start; nothing was executed"
            return ending.close(house, run, started=False, explanation=explanation) is not None
        case _:
            return False


def expire(house: House, passage: Passage, known: Sequence[Entry]) -> bool:
    """Give a held run its end if nobody answered in time."""
    held = next((entry.event for entry in reversed(known) if isinstance(entry.event, events.RunHeld)), None)
    if held is None or datetime.fromisoformat(held.expires) > house.clock():
        return False
    expired = events.ApprovalExpired(binding=held.binding)
    ending.end_without_execution(
        house, passage, "expired", f"nobody approved it before {held.expires}", extra=[expired]
    )
    return True


def doctor(house: House) -> tuple[Check, ...]:
    """Look at every room; each missing thing with its cause and cure."""
    return (*_layer_checks(house, sandbox_of(house)), *_home_checks(house), _advisory_check(house), _disk_check(house))


def _layer_checks(house: House, sandbox: Sandbox) -> list[Check]:
    demanded = {
        layer: sorted(n for n, p in house.gate.profiles.items() if layer in p.layers)
        for p in house.gate.profiles.values()
        for layer in p.layers
    }
    checks = []
    for layer in sandbox.layers():
        match layer.state:
            case LayerState.PRESENT:
                checks.append(Check(name=f"layer {layer.name}", state="ok"))
            case LayerState.NOT_RUN_LIVE:
                checks.append(
                    Check(name=f"layer {layer.name}", state="not_run_live", cause=layer.cause, cure=layer.cure)
                )
            case LayerState.MISSING:
                profiles = demanded.get(layer.name, [])
                cause = f"{layer.cause}; demanded by {', '.join(profiles)}" if profiles else layer.cause
                severity = Exit.HIGH if profiles else Exit.LOW
                checks.append(
                    Check(name=f"layer {layer.name}", state="missing", cause=cause, cure=layer.cure, severity=severity)
                )
    return checks


def _home_checks(house: House) -> list[Check]:
    mode = house.settings.home.stat().st_mode & 0o777
    private = mode & 0o077 == 0
    checks = [
        Check(name="home is private", state="ok")
        if private
        else Check(
            name="home is private",
            state="missing",
            cause=f"its mode is {mode:o}",
            cure=f"chmod 0700 {house.settings.home}",
            severity=Exit.HIGH,
        ),
        _place_check(house),
        _policy_check(house),
        _edits_check(house),
        Check(name="interpreter", state="ok", cause=sys.version.split()[0]),
    ]
    pins = house.settings.ledger.pin_directory
    if pins is None:
        checks.append(
            Check(
                name="outside pins",
                state="warning",
                cause="no pin directory is set, so nothing outside this home knows the ledger",
                cure="set ledger.pin_directory to a place that another person controls, or run `custody verify --write-pin`",
                severity=Exit.MEDIUM,
            )
        )
    else:
        checks.append(Check(name="outside pins", state="ok", cause=str(pins)))
    return checks


def _place_check(house: House) -> Check:
    name, ledger = "home stays in its place", house.places.ledger
    place = replaceable((house.settings.home, ledger.keys, ledger.database.parent))
    if place is None:
        return Check(name=name, state="ok")
    return Check(
        name=name,
        state="warning",
        cause=f"everybody can write `{place}`, and so put an older copy of this home in its place",
        cure=f"chmod o-w {place}, or put the home elsewhere; a pin outside shows it either way",
        severity=Exit.MEDIUM,
    )


def _policy_check(house: House) -> Check:
    name = "policy set in force"
    if not house.gate.closed:
        return Check(name=name, state="ok", cause=f"{house.gate.rules} rules, {house.policies.digest[:12]}")
    cure = "custody policy lint FOLDER, then custody policy apply FOLDER"
    return Check(name=name, state="missing", cause=house.gate.closed, cure=cure, severity=Exit.HIGH)


def _edits_check(house: House) -> Check:
    edits = edits_of(house)
    if not edits:
        return Check(name="policy folder", state="ok", cause="it holds what is in force")
    cure = f"custody policy apply {house.places.policies}, or put the files back"
    return Check(name="policy folder", state="warning", cause=str(edits), cure=cure, severity=Exit.LOW)


def _advisory_check(house: House) -> Check:
    try:
        data = AdvisoryStore(house.places.advisories).current()
    except CustodyError as error:
        return Check(name="advisory data", state="missing", cause=error.message, cure=error.hint, severity=Exit.HIGH)
    if data is None:
        return Check(
            name="advisory data",
            state="missing",
            cause="none was imported, so a run with packages is blocked",
            cure="custody advisories import FILE",
            severity=Exit.MEDIUM,
        )
    age = (house.clock() - data.as_of).days
    if data.data_class == "demo":
        return Check(
            name="advisory data",
            state="warning",
            cause="demo data: not a real audit",
            cure="custody advisories import FILE",
            severity=Exit.MEDIUM,
        )
    if age > house.settings.dependencies.error_days:
        return Check(
            name="advisory data",
            state="missing",
            cause=f"{age} days old, which is no audit",
            cure="custody advisories import FILE",
            severity=Exit.HIGH,
        )
    return Check(name="advisory data", state="ok", cause=f"{data.data_class}, {data.records} records, {age} days old")


def _disk_check(house: House) -> Check:
    free = shutil.disk_usage(house.settings.home).free // 2**20
    reserve = house.settings.ledger.disk_reserve_mib
    if free < reserve:
        return Check(
            name="disk",
            state="missing",
            cause=f"{free} MiB free, less than the reserve of {reserve} MiB",
            cure="make room",
            severity=Exit.CRITICAL,
        )
    return Check(name="disk", state="ok", cause=f"{free} MiB free")
