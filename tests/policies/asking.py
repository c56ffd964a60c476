"""Requests and facts that are harmless unless a test says otherwise."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from custody.policies import Gate, PolicySet
from custody.policies.types import (
    Allowed,
    Approval,
    CodeFacts,
    Denied,
    DependencyFacts,
    History,
    HostRequest,
    Limits,
    MountRequest,
    NeedsApproval,
    PackageFacts,
    Permitted,
    Principal,
    PrincipalKind,
    RunRequest,
)

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
CODE = b"print('hello')\n"
LOCK = "1" * 64

ALICE = Principal(id="alice", kind=PrincipalKind.HUMAN, roles=("developer",))
BOB = Principal(id="bob", kind=PrincipalKind.HUMAN, roles=("security-reviewer",))
CAROL = Principal(id="carol", kind=PrincipalKind.HUMAN, roles=("auditor",))
CODER = Principal(id="coder", kind=PrincipalKind.AGENT, owner="alice", roles=("developer",))


def code_facts(
    code: bytes = CODE, *, language: str = "python", parsed: bool = True, flags: tuple[str, ...] = ()
) -> CodeFacts:
    """Facts of a program that does nothing much."""
    return CodeFacts(
        language=language, sha256=hashlib.sha256(code).hexdigest(), bytes=len(code), parsed=parsed, flags=flags
    )


def request(
    principal: Principal = ALICE,
    *,
    code: bytes = CODE,
    profile: str = "default",
    limits: Limits | None = None,
    hosts: tuple[HostRequest, ...] = (),
    mounts: tuple[MountRequest, ...] = (),
) -> RunRequest:
    """A request for a small program."""
    return RunRequest(
        principal=principal,
        code=code,
        file_name="program.py",
        profile=profile,
        limits=limits or Limits(),
        hosts=hosts,
        mounts=mounts,
    )


def audited(*packages: PackageFacts, covered: bool = True, data_class: str = "imported") -> DependencyFacts:
    """A complete audit of these packages."""
    return DependencyFacts(
        total=len(packages), covered=covered, data_class=data_class if packages else "none", packages=packages
    )


def approval(
    decision: Allowed | NeedsApproval | Denied, *, approver: str = "bob", role: str = "security-reviewer"
) -> Approval:
    """An approval of exactly what a decision would grant."""
    return Approval(
        role=role, approver=approver, binding=decision.basis.binding, entry=7, expires=NOW + timedelta(hours=1)
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """Puts requests to one gate."""

    gate: Gate

    def run(
        self,
        asked: RunRequest | None = None,
        *,
        code: CodeFacts | None = None,
        dependencies: DependencyFacts | None = None,
        history: History | None = None,
        approvals: Sequence[Approval] = (),
        lock: str | None = LOCK,
        now: datetime = NOW,
    ) -> Allowed | NeedsApproval | Denied:
        """The decision about a run."""
        asked = asked or request()
        return self.gate.run(
            asked,
            dependencies=dependencies or DependencyFacts(),
            code=code or code_facts(asked.code),
            history=history or History(),
            approvals=approvals,
            lock_sha256=lock,
            now=now,
            decision="decision-1",
        )

    def submit(
        self, asked: RunRequest | None = None, *, packages: Sequence[tuple[str, str]] = ()
    ) -> Permitted | Denied:
        """The decision about a submission."""
        asked = asked or request()
        return self.gate.submit(
            asked, packages=packages, code=code_facts(asked.code), history=History(), now=NOW, decision="decision-0"
        )


def with_rules(text: str, *, file: str = "extra.cedar", schema: tuple[str, str] | None = None) -> PolicySet:
    """The shipped set with more rules, and perhaps with a piece of its schema replaced; without its tests, which are slow to read."""
    files = {name: content for name, content in PolicySet.shipped().files.items() if not name.startswith("tests/")}
    files[file] = text
    if schema is not None:
        before, after = schema
        assert before in files["schema.cedarschema"]
        files["schema.cedarschema"] = files["schema.cedarschema"].replace(before, after)
    return PolicySet(files)


def without(name: str) -> PolicySet:
    """The shipped set without one rule."""
    shipped = PolicySet.shipped()
    rule = Gate(shipped).rule(name)
    assert rule is not None
    files = {file: text for file, text in shipped.files.items() if not file.startswith("tests/")}
    return PolicySet(files | {rule.file: files[rule.file].replace(rule.text, "")})


def changed(principal: Principal, **facts: object) -> Principal:
    """A principal with other facts."""
    return replace(principal, **facts)  # type: ignore[arg-type]  # a shorthand for tests; a wrong field fails at once
