"""Advisory data through a door: import, status, and the audit of a file outside a run.

Data of class `demo` is no audit: only a profile that says so accepts it, and every output says that it is not a real audit.
"""

from dataclasses import dataclass
from pathlib import Path

from ..dependencies import AdvisoryStore, parse_requirements
from ..dependencies.types import AdvisoryData, DataClass, Findings, Severity
from ..errors import DependencyError, Exit, UsageError
from ..ledger import events
from ..policies.types import Principal
from . import entries
from .access import authorise
from .auditing import audit_lock
from .house import House
from .record import Batch, record

__all__ = ["Audited", "Status", "audit_file", "import_demo", "import_file", "status"]

_EXITS = {
    Severity.CRITICAL: Exit.CRITICAL,
    Severity.HIGH: Exit.HIGH,
    Severity.UNKNOWN: Exit.HIGH,
    Severity.MEDIUM: Exit.MEDIUM,
    Severity.LOW: Exit.LOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The audit of a file."""

    findings: Findings
    entry: int
    exit_code: Exit
    refused: str = ""
    """Why the audit does not count; empty if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The advisory data in use."""

    data: AdvisoryData | None
    fit: bool
    remark: str


def audit_file(house: House, principal: Principal, text: bytes, *, name: str, profile: str) -> Audited:
    """Audit pinned and hashed requirements, on record.

    Raises:
        UsageError: they are not pinned and hashed, or there is no such profile.
    """
    known = house.gate.profiles.get(profile)
    if known is None:
        raise UsageError(
            f"there is no profile `{profile}`",
            hint=f"the profiles in force are {', '.join(sorted(house.gate.profiles))}",
        )
    lock = parse_requirements(text, name=name)
    if not lock.pins:
        raise UsageError(
            f"`{name}` names no package, so there is nothing to audit", hint="pin what is to be audited: NAME==VERSION"
        )
    findings = audit_lock(house, lock)
    batch = Batch(house, principal.id)
    batch.add(entries.audited(batch, findings))
    entry = batch.write()[-1].index
    if not findings.real and not known.demo:
        refused = f"profile `{profile}` does not accept demo data: not a real audit"
        return Audited(findings=findings, entry=entry, exit_code=Exit.BLOCKED, refused=refused)
    if not findings.complete:
        return Audited(findings=findings, entry=entry, exit_code=Exit.BLOCKED, refused=findings.coverage_error)
    ranks = [_EXITS[severity] for finding in findings.pins if (severity := entries.worst(finding)) is not None]
    return Audited(findings=findings, entry=entry, exit_code=max(ranks, default=Exit.DONE))


def import_file(house: House, principal: Principal, path: Path) -> AdvisoryData:
    """Import a file as class `imported`, decided and on record.

    Raises:
        CustodyError: this principal may not import.
        DependencyError: the file cannot be used; the data before stays in use.
    """
    authorise(house, principal, "importAdvisories", subject=path.name[:80])
    store = AdvisoryStore(house.places.advisories)
    before = _in_use(store)
    data = store.import_file(
        path, data_class=DataClass.IMPORTED, now=house.clock(), reading=house.settings.caller_files.rights
    )
    _record(house, principal, data, before)
    return data


def import_demo(house: House, principal: Principal) -> AdvisoryData:
    """Put the shipped demo data in use: not a real audit."""
    store = AdvisoryStore(house.places.advisories)
    before = _in_use(store)
    data = store.import_demo(now=house.clock())
    _record(house, principal, data, before)
    return data


def _in_use(store: AdvisoryStore) -> AdvisoryData | None:
    """The data before; None too if it is damaged, which an import mends."""
    try:
        return store.current()
    except DependencyError:
        return None


def _record(house: House, principal: Principal, data: AdvisoryData, before: AdvisoryData | None) -> None:
    event = events.AdvisoriesImported(
        data=entries.data_record(data, house.clock()),
        previous_sha256=before.sha256 if before else None,
        by=principal.id,
    )
    record(house, event, actor=principal.id)


def status(house: House) -> Status:
    """Which data is in use, and whether it is fit for an audit."""
    data = AdvisoryStore(house.places.advisories).current()
    if data is None:
        return Status(
            data=None,
            fit=False,
            remark="no advisory data: a run with packages is blocked; `custody advisories import FILE` brings it",
        )
    if data.data_class is DataClass.DEMO:
        return Status(data=data, fit=False, remark="not a real audit: demo data is accepted by the profile demo alone")
    age = (house.clock() - data.as_of).days
    if age < 0:
        return Status(data=data, fit=False, remark="the data is from the future: check the clock of this machine")
    if age > house.settings.dependencies.error_days:
        return Status(data=data, fit=False, remark=f"{age} days old: too old for an audit; import newer data")
    if age > house.settings.dependencies.warn_days:
        return Status(data=data, fit=True, remark=f"{age} days old: import newer data soon")
    return Status(data=data, fit=True, remark=f"{age} days old: fit for an audit")
