"""The dry run: every decision of the gated run, nothing of its effects, and what would make it pass.

It is on record as a decision of stage `check`: whoever feels his way along the rules leaves a trace.
"""

from dataclasses import dataclass

from ..dependencies.types import Findings, PinState
from ..errors import Exit
from ..policies import read_code
from ..policies.action_words import in_words
from ..policies.types import Allowed, Basis, Decision, Denied, NeedsApproval, Permitted, Reason, RunRequest
from . import entries
from .auditing import audit_lock, facts_of
from .fixes import fixing_versions
from .history import history_of
from .house import House, new_id
from .intake import validate
from .policy import edits_of
from .record import Batch

__all__ = ["Checked", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What would be decided, and why."""

    result: str
    basis: Basis
    reasons: tuple[Reason, ...]
    roles: tuple[str, ...]
    remedies: tuple[str, ...]
    notes: tuple[str, ...]
    """Things that the caller should hear though they decided nothing."""
    real_audit: bool
    entry: int
    exit_code: Exit


def check(house: House, request: RunRequest) -> Checked:
    """Decide a request without running it.

    Raises:
        UsageError: the request cannot be understood.
    """
    lock = validate(house, request)
    now = house.clock()
    code = read_code(request.code, language=request.language, file_name=request.file_name)
    history = history_of(house.ledger, house.directory, request.principal, now=now)
    decision: Decision | Permitted = house.gate.submit(
        request,
        packages=[(pin.name, pin.version) for pin in lock.pins if pin.direct],
        code=code,
        history=history,
        now=now,
        decision=new_id("dec", now),
    )
    findings = None
    if isinstance(decision, Permitted):
        findings = audit_lock(house, lock) if lock.pins else None
        decision = house.gate.run(
            request,
            dependencies=facts_of(findings),
            code=code,
            history=history,
            approvals=(),
            lock_sha256=lock.sha256 if lock.pins else None,
            now=house.clock(),
            decision=new_id("dec", now),
        )
    return _checked(house, request, decision, findings)


def _checked(house: House, request: RunRequest, decision: Decision | Permitted, findings: Findings | None) -> Checked:
    reasons: tuple[Reason, ...] = ()
    roles: tuple[str, ...] = ()
    match decision:
        case Allowed() | Permitted():
            result, code = "allowed", Exit.DONE
        case NeedsApproval():
            result, reasons, roles, code = "needs_approval", decision.reasons, decision.roles, Exit.NEEDS_APPROVAL
        case Denied():
            result, reasons = "denied", decision.reasons
            code = Exit.BLOCKED if decision.about_packages_only else Exit.DENIED
    batch = Batch(house, request.principal.id)
    subject = f"{request.file_name[:80]} {request.digest()[:12]}"
    batch.add(
        entries.decided(
            batch,
            decision.basis,
            stage="check",
            result=result,
            reasons=reasons,
            roles=roles,
            profile=request.profile,
            subject=subject,
        )
    )
    return Checked(
        result=result,
        basis=decision.basis,
        reasons=reasons,
        roles=roles,
        remedies=tuple(_remedies(decision, findings, closed=bool(house.gate.closed))),
        notes=tuple(str(edits) for edits in (edits_of(house),) if edits),
        real_audit=findings is None or findings.real,
        entry=batch.write()[-1].index,
        exit_code=code,
    )


def _remedies(decision: Decision | Permitted, findings: Findings | None, *, closed: bool) -> list[str]:
    """What the requester could change or ask for."""
    remedies = [] if not closed else ["put a set in force that fits: custody policy apply FOLDER"]
    if isinstance(decision, NeedsApproval):
        remedies.append(f"an approval by another person with the role {' or '.join(decision.roles)}")
    if findings is not None and not findings.complete:
        remedies.append(f"complete the audit: {findings.coverage_error}")
    for finding in findings.pins if findings else ():
        if finding.state is PinState.VULNERABLE:
            fixed = fixing_versions(finding)
            upgrade = (
                f"use {finding.pin.name} {' or '.join(fixed)}"
                if fixed
                else f"do without {finding.pin.name}: no fixed version is known"
            )
            remedies.append(upgrade)
    if isinstance(decision, Denied):
        remedies += [
            f"do not {in_words(item.action, item.resource)}, or ask the security team for a rule that permits it"
            for item in decision.basis.items
            if item.result == "denied" and item.action in {"connect", "mountRead", "mountWrite"}
        ]
    return remedies
