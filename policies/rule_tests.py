"""Runs the rule tests of a policy set against a gate that decides by it.

It must never judge by itself: every case goes through the gate as a real request would, and what comes back is compared, nothing else.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from .gate import Gate
from .policy_set import PolicySet
from .rule_cases import Case, CaseFile, ReadCases, read_cases
from .types import (
    Access,
    Allowed,
    Approval,
    CodeFacts,
    Denied,
    DependencyFacts,
    Grant,
    History,
    HostRequest,
    InputFile,
    Limits,
    MountRequest,
    NeedsApproval,
    PackageFacts,
    Permitted,
    RuleTestResult,
    RunRequest,
    RunSubject,
)

__all__ = ["played", "run_rule_tests"]

_WHEN = datetime(2026, 1, 1, 12, tzinfo=UTC)
_LOCK = hashlib.sha256(b"a lock").hexdigest()
_RESULTS = {Allowed: "allowed", Permitted: "allowed", NeedsApproval: "needs_approval", Denied: "denied"}
_RULE_OF = re.compile(r"\(([a-z0-9-]+)\)$")


def run_rule_tests(policies: PolicySet) -> tuple[RuleTestResult, ...]:
    """Every case of every test file with what came of it; files and cases that cannot be read are results with a problem.

    Raises:
        PolicyError: the set itself cannot be used.
    """
    gate = Gate(policies)
    read = read_cases(policies)
    unread = [
        RuleTestResult(file=problem.file, rule=problem.rule, name="", fires=False, problems=(problem.text,))
        for problem in read.problems
    ]
    return (*unread, *(played(gate, case, read) for case in read.cases))


def played(gate: Gate, case: Case, read: ReadCases) -> RuleTestResult:
    """One case, put to a gate."""
    given = case.given
    asked = gate if given.lists is None else gate.with_lists(given.lists.lists())
    came = _decided(asked, given, read)
    return RuleTestResult(
        file=case.file,
        rule=case.rule,
        name=given.name,
        fires=case.rule_fires,
        problems=tuple(_differences(given, came)),
    )


def _decided(gate: Gate, given: CaseFile, read: ReadCases) -> Allowed | Permitted | NeedsApproval | Denied:
    if given.stage == "act":
        who = read.principals[given.subject.requester] if given.subject else None
        subject = RunSubject(run="run-1", requester=who.id, requester_kind=who.kind, owner=who.owner) if who else None
        return gate.act(
            read.principals[given.by],
            given.action,
            subject=subject,
            role=given.role,
            layers=given.layers,
            history=_history(given),
            now=_WHEN,
            decision="test",
        )
    request, code = _request(gate, given, read), _code(given)
    if given.stage == "submit":
        packages = [(package.name, package.version) for package in given.packages]
        packages += [(f"package-{number}", "1.0") for number in range(given.package_count)]
        return gate.submit(request, packages=packages, code=code, history=_history(given), now=_WHEN, decision="test")

    def decide(*approvals: Approval) -> Allowed | NeedsApproval | Denied:
        return gate.run(
            request,
            dependencies=_dependencies(given),
            code=code,
            history=_history(given),
            approvals=approvals,
            lock_sha256=_LOCK,
            now=_WHEN,
            decision="test",
        )

    decision = decide()
    if not given.approved:
        return decision
    binding, expires = decision.basis.binding, _WHEN + timedelta(hours=1)
    return decide(
        *(
            Approval(role=role, approver=name, binding=binding, entry=0, expires=expires)
            for role, name in given.approved.items()
        )
    )


def _differences(given: CaseFile, came: Allowed | Permitted | NeedsApproval | Denied) -> Iterator[str]:
    """What came out otherwise than expected, one sentence each."""
    result = _RESULTS[type(came)]
    if result != given.expect:
        yield f"expected {given.expect}, got {result}"
    basis = came.basis
    if tuple(sorted(given.rules)) != basis.rules:
        yield f"expected the rules {', '.join(sorted(given.rules))}, got {', '.join(basis.rules)}"
    changed = sorted({match.group(1) for said in basis.obligations if (match := _RULE_OF.search(said))})
    if sorted(given.changed_by) != changed:
        yield f"expected changes by {', '.join(sorted(given.changed_by)) or 'no rule'}, got {', '.join(changed) or 'none'}"
    if basis.errors:
        yield f"the engine reported: {'; '.join(basis.errors)}"
    if isinstance(came, Allowed | NeedsApproval):
        yield from _differences_of_grant(given, came.grant)


def _differences_of_grant(given: CaseFile, grant: Grant) -> Iterator[str]:
    left = asdict(grant.limits)
    for limit, value in given.limits_left.items():
        if left.get(limit) != value:
            yield f"expected {limit} {value}, got {left.get(limit)}"
    if given.profile_left and grant.profile != given.profile_left:
        yield f"expected the profile {given.profile_left}, got {grant.profile}"


def _request(gate: Gate, given: CaseFile, read: ReadCases) -> RunRequest:
    profile = gate.profiles.get(given.profile)
    files = [InputFile(f"input-{number}", b"") for number in range(given.input.files)]
    if files and given.input.bytes:
        files[0] = InputFile("input-0", b" " * given.input.bytes)
    return RunRequest(
        principal=read.principals[given.by],
        code=_text(given),
        file_name="program.py",
        language=given.code.language,
        arguments=("x",) * given.input.arguments,
        files=tuple(files),
        hosts=tuple(HostRequest(name, int(port)) for name, _, port in (host.rpartition(":") for host in given.hosts)),
        mounts=tuple(MountRequest(mount.path, Access(mount.access), mount.target) for mount in given.mounts),
        limits=replace(profile.defaults if profile else Limits(), **given.limits),
        profile=given.profile,
        purpose=given.purpose,
        ticket=given.ticket,
    )


def _text(given: CaseFile) -> bytes:
    return b"#" * given.code.bytes


def _code(given: CaseFile) -> CodeFacts:
    return CodeFacts(sha256=hashlib.sha256(_text(given)).hexdigest(), **given.code.model_dump())


def _dependencies(given: CaseFile) -> DependencyFacts:
    return DependencyFacts(
        total=len(given.packages),
        covered=given.covered,
        data_class=given.data_class if given.packages else "none",
        packages=tuple(PackageFacts(**package.model_dump()) for package in given.packages),
    )


def _history(given: CaseFile) -> History:
    return given.history.history()
