"""Both opinions on a lock, and what they found as plain facts for the policies.

It must never judge: only Cedar decides what a finding means.
"""

import sys
from pathlib import Path

from ..dependencies import AdvisoryStore, Auditor
from ..dependencies.types import Findings, Lock, PinFinding, PinState, Severity
from ..policies.types import DependencyFacts, PackageFacts
from .house import House

__all__ = ["audit_lock", "facts_of"]


def audit_lock(house: House, lock: Lock) -> Findings:
    """Both opinions on a lock."""
    auditor = Auditor(
        AdvisoryStore(house.places.advisories),
        work=house.places.scratch,
        python=Path(sys.executable),
        warn_days=house.settings.dependencies.warn_days,
        error_days=house.settings.dependencies.error_days,
    )
    return auditor.audit(lock, now=house.clock())


def facts_of(findings: Findings | None) -> DependencyFacts:
    """Findings as plain facts for the policies; nothing is judged here."""
    if findings is None:
        return DependencyFacts()
    return DependencyFacts(
        total=len(findings.pins),
        covered=findings.complete,
        data_class=findings.data.data_class.value if findings.data else "none",
        packages=tuple(_package_facts(finding) for finding in findings.pins),
    )


def _package_facts(finding: PinFinding) -> PackageFacts:
    waived = finding.state is PinState.WAIVED
    severities = [] if waived else [advisory.severity for advisory in finding.advisories]
    return PackageFacts(
        name=finding.pin.name,
        version=finding.pin.version,
        direct=finding.pin.direct,
        hashed=bool(finding.pin.hashes),
        malicious=any(advisory.malicious for advisory in finding.advisories),
        critical=severities.count(Severity.CRITICAL),
        high=severities.count(Severity.HIGH),
        medium=severities.count(Severity.MEDIUM),
        low=severities.count(Severity.LOW),
        unknown=severities.count(Severity.UNKNOWN),
        undetermined=finding.state in {PinState.UNDETERMINED, PinState.UNAUDITABLE},
        waived=len(finding.advisories) if waived else 0,
        advisories=tuple(advisory.id for advisory in finding.advisories),
    )
