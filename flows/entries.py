"""From the rooms' types to the catalogue's: what a request, a decision, an audit and an outcome look like as entries.

It must never shorten without saying so: lists are capped, true totals and the whole stand in a payload.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from ..dependencies.types import AdvisoryData, Environment, Findings, Lock, PinFinding, PinState, Severity
from ..ledger import PayloadRef, events
from ..policies.types import Basis, CodeFacts, Denied, Exposure, Limits, NeedsApproval, Reason, RunRequest
from ..sandbox.types import Outcome, Output
from .fixes import fixing_versions
from .record import Batch, bounded, clean, texts

__all__ = [
    "audited",
    "built",
    "code_record",
    "data_record",
    "decided",
    "finished",
    "request_bytes",
    "resolved",
    "submitted",
    "worst",
]

_PINS = 200
_FINDINGS = 100
_ITEMS = 60
_TEXT = 300

_RANK = [Severity.CRITICAL, Severity.HIGH, Severity.UNKNOWN, Severity.MEDIUM, Severity.LOW]


def worst(finding: PinFinding) -> Severity | None:
    """The worst severity of a pin's advisories; unknown ranks as high."""
    found = {advisory.severity for advisory in finding.advisories}
    return next((severity for severity in _RANK if severity in found), None)


def timestamp(time: datetime) -> str:
    """A time inside an event: RFC 3339, UTC, seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def request_bytes(request: RunRequest) -> bytes:
    """Everything of a request but its principal, code and the bytes of its files, as canonical JSON; `passage.reload` reads it."""
    value = {
        "arguments": list(request.arguments),
        "declared": list(request.declared),
        "file_name": request.file_name,
        "files": [f.name for f in request.files],
        "hosts": [[h.name, h.port] for h in request.hosts],
        "language": request.language,
        "limits": asdict(request.limits),
        "mounts": [[m.path, m.access.value, m.target] for m in request.mounts],
        "profile": request.profile,
        "purpose": request.purpose,
        "requirements": request.requirements.decode(),
        "ticket": request.ticket,
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def code_record(facts: CodeFacts) -> events.CodeRecord:
    """Facts of the code, bounded."""
    return events.CodeRecord(
        language=facts.language,
        parsed=facts.parsed,
        error=facts.error[:_TEXT],
        imports=texts(facts.imports, 40, 60),
        flags=texts(facts.flags, 30, 40),
        hosts=texts(facts.hosts, 20, 100),
        paths=texts(facts.paths, 20, 100),
        secrets=facts.secrets,
    )


def submitted(
    batch: Batch, request: RunRequest, facts: CodeFacts, *, conductor: str, request_sha256: str, lock: Lock
) -> events.RunSubmitted:
    """A request as it was received."""
    redactor = batch.house.redactor
    return events.RunSubmitted(
        principal=request.principal.id,
        principal_kind=request.principal.kind,
        owner=request.principal.owner,
        authentication=request.principal.authentication,
        conductor=conductor,
        request_sha256=request_sha256,
        language=request.language,
        file_name=clean(redactor, request.file_name, 120),
        code_sha256=facts.sha256,
        code_bytes=facts.bytes,
        code=batch.seal(request.code, media="text/x-code"),
        request=batch.seal(request_bytes(request), media="application/json"),
        argument_count=len(request.arguments),
        files=tuple(
            events.InputRecord(
                name=clean(redactor, f.name, 120),
                sha256=_sha256(f.content),
                bytes=len(f.content),
                content=batch.seal(f.content, media="application/octet-stream"),
            )
            for f in request.files
        ),
        requirements_sha256=lock.sha256 if lock.pins else None,
        requirement_count=len(lock.pins),
        profile=request.profile,
        hosts=tuple(events.HostRecord(name=clean(redactor, h.name, 253), port=h.port) for h in request.hosts),
        mounts=tuple(
            events.MountRecord(
                path=clean(redactor, m.path, _TEXT), access=m.access, target=clean(redactor, m.target, 80)
            )
            for m in request.mounts
        ),
        limits=limits_record(request.limits),
        facts=code_record(facts),
        purpose=clean(redactor, request.purpose, _TEXT),
        ticket=clean(redactor, request.ticket, 80),
    )


def limits_record(limits: Limits) -> events.LimitsRecord:
    """Limits, field by field."""
    return events.LimitsRecord(**asdict(limits))


def decided(
    batch: Batch,
    basis: Basis,
    *,
    stage: str,
    result: str,
    reasons: Sequence[Reason] = (),
    roles: Sequence[str] = (),
    profile: str = "",
    limits: Limits | None = None,
    subject: str = "",
) -> events.PolicyDecided:
    """A decision, with its inputs beside it so that it can be made again."""
    redactor = batch.house.redactor
    items = sorted(basis.items, key=lambda item: (item.result == "allowed", item.action, item.resource))
    return events.PolicyDecided(
        decision=basis.decision,
        stage=stage,
        result=result,
        rules=basis.rules,
        reasons=tuple(events.ReasonRecord(rule=r.rule, text=r.text[:_TEXT]) for r in reasons[:40]),
        roles=tuple(roles),
        items=tuple(
            events.ItemRecord(
                action=i.action, resource=clean(redactor, i.resource, 160), result=i.result, rules=i.rules[:10]
            )
            for i in items[:_ITEMS]
        ),
        items_total=len(items),
        profile=profile,
        limits=None if limits is None else limits_record(limits),
        exposure=_exposure(basis.exposure),
        obligations=texts(basis.obligations, 40, 120),
        errors=texts(basis.errors, 10, _TEXT),
        policy_sha256=basis.policy_digest,
        schema_sha256=basis.schema_digest,
        engine=basis.engine,
        inputs=batch.seal(basis.inputs, media="application/json"),
        subject=subject,
    )


def _exposure(exposure: Exposure) -> events.ExposureRecord:
    return events.ExposureRecord(
        hosts=texts(exposure.hosts, 40, 260),
        readable=texts(map(_place, exposure.readable), 20, _TEXT),
        writable=texts(map(_place, exposure.writable), 20, _TEXT),
        packages_with_findings=texts(exposure.packages_with_findings, 60, 120),
        new=texts(exposure.new, 60, 120),
    )


def _place(text: str) -> str:
    """A path with the classes of its data: where it is too long, the path is cut, never the classes."""
    path, bracket, classes = text.rpartition(" (")
    return f"{bounded(path, _TEXT - len(bracket) - len(classes.encode()))}{bracket}{classes}"


def refusal(decision: Denied | NeedsApproval) -> tuple[Sequence[Reason], Sequence[str]]:
    """The reasons of a decision that is not an allowance, and the roles that could help."""
    return decision.reasons, decision.roles if isinstance(decision, NeedsApproval) else ()


def resolved(batch: Batch, lock: Lock) -> events.DependenciesResolved:
    """The lock of a run."""
    return events.DependenciesResolved(
        lock_sha256=lock.sha256,
        source=lock.source,
        resolver="given",
        total=len(lock.pins),
        pins=tuple(
            events.PinRecord(name=p.name[:100], version=p.version[:60], direct=p.direct) for p in lock.pins[:_PINS]
        ),
        lock=batch.seal(lock.text.encode(), media="text/plain"),
    )


def data_record(data: AdvisoryData, now: datetime) -> events.DataRecord:
    """Identity and age of advisory data."""
    return events.DataRecord(
        data_class=data.data_class,
        sha256=data.sha256,
        source=data.source[:120],
        as_of=timestamp(data.as_of),
        age_days=max(0, (now - data.as_of).days),
        records=data.records,
        quarantined=data.quarantined,
    )


def audited(batch: Batch, findings: Findings) -> events.DependenciesAudited:
    """What the audit found."""
    states = [finding.state for finding in findings.pins]
    unclean = [finding for finding in findings.pins if finding.state is not PinState.CLEAN]
    opinion = findings.second_opinion
    return events.DependenciesAudited(
        lock_sha256=findings.lock_sha256,
        real=findings.real,
        complete=findings.complete,
        coverage_error=findings.coverage_error[:_TEXT],
        data=None if findings.data is None else data_record(findings.data, batch.house.clock()),
        clean=states.count(PinState.CLEAN),
        vulnerable=states.count(PinState.VULNERABLE),
        waived=states.count(PinState.WAIVED),
        undetermined=states.count(PinState.UNDETERMINED),
        unauditable=states.count(PinState.UNAUDITABLE),
        findings=tuple(_finding(finding) for finding in unclean[:_FINDINGS]),
        second_opinion=opinion.tool if opinion else "",
        second_opinion_agreed=opinion.agreed if opinion else None,
        report=batch.seal(json.dumps(asdict(findings), sort_keys=True, default=str).encode(), media="application/json"),
    )


def _finding(finding: PinFinding) -> events.FindingRecord:
    severity = worst(finding)
    return events.FindingRecord(
        name=finding.pin.name[:100],
        version=finding.pin.version[:60],
        state=finding.state,
        severity=severity.value if severity else "unknown",
        advisories=texts([a.id for a in finding.advisories], 20, 40),
        fixed_in=texts(fixing_versions(finding), 10, 40),
    )


def built(environment: Environment, lock: Lock, wall_ms: int) -> events.EnvironmentBuilt | events.EnvironmentReused:
    """An environment that is ready to be mounted."""
    if environment.reused:
        return events.EnvironmentReused(
            environment=environment.key, lock_sha256=lock.sha256, tree_sha256=environment.tree_sha256
        )
    return events.EnvironmentBuilt(
        environment=environment.key,
        lock_sha256=lock.sha256,
        tree_sha256=environment.tree_sha256,
        files=environment.files,
        bytes=environment.bytes,
        tool=environment.tool[:80],
        in_jail=environment.built_in_jail,
        wall_ms=wall_ms,
    )


def finished(
    batch: Batch,
    outcome: Outcome,
    *,
    rules: Sequence[str],
    undeclared: Sequence[str],
    overflow: PayloadRef | None,
    total: int,
) -> events.RunFinished:
    """The end of a run that was executed."""
    return events.RunFinished(
        end="executed",
        started=True,
        outcome=outcome.outcome,
        explanation=outcome.explanation[:_TEXT],
        rules=tuple(rules),
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        limits_hit=outcome.limits_hit,
        usage=events.UsageRecord(**asdict(outcome.usage)),
        stdout=_output(batch, outcome.stdout),
        stderr=_output(batch, outcome.stderr),
        artefacts=len(outcome.artefacts),
        artefacts_refused=tuple(
            events.ReasonRecord(rule=clean(batch.house.redactor, a.name, 120), text=a.reason[:120])
            for a in outcome.refused_artefacts[:20]
        ),
        unobserved=texts(outcome.unobserved, 10, 200),
        layers=outcome.layers,
        spec_sha256=outcome.spec_sha256,
        nsjail_sha256=outcome.nsjail_sha256,
        observed_total=total,
        overflow=overflow,
        undeclared=texts(undeclared, 30, 140),
    )


def _output(batch: Batch, output: Output) -> events.OutputRecord:
    return events.OutputRecord(
        sha256=output.sha256,
        seen=output.seen,
        truncated=output.truncated,
        redactions=output.redactions,
        payload=batch.seal(output.content, media="application/octet-stream") if output.content else None,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
