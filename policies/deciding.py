"""From a verdict to a decision: what it carries so that it can be explained and made again, and what it grants.

It must never grant what a verdict does not allow, and a denial carries no grant, no exposure and nothing that could be approved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from .bundle import Bundle
from .engine import ENGINE
from .policy_set import PolicySet
from .rules import EVALUATION_ERROR, Effect, Rule
from .tightening import State
from .types import (
    Allowed,
    Approval,
    Basis,
    CodeFacts,
    DecidedItem,
    Decision,
    Denied,
    DependencyFacts,
    Exposure,
    Grant,
    History,
    NeedsApproval,
    Permitted,
    PrincipalKind,
    Reason,
    RunRequest,
    digest_of,
)
from .verdict import DENIED, NEEDS_APPROVAL, Verdict, inputs_of, reasons_of

__all__ = ["Decisions", "Facts", "Judged"]

_NO_EXPOSURE = Exposure()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one run is judged by."""

    request: RunRequest
    dependencies: DependencyFacts
    code: CodeFacts
    history: History
    approvals: Sequence[Approval]
    lock_sha256: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """One run after its last turn."""

    facts: Facts
    state: State
    verdict: Verdict
    bundle: Bundle
    exposure: Exposure


class Decisions:
    """Makes the decisions of one policy set.

    Args:
        policies: the set that every decision names.
        rules: its rules by id, for the reasons.
    """

    def __init__(self, policies: PolicySet, rules: Mapping[str, Rule]) -> None:
        self._policy_digest, self._schema_digest = policies.digest, policies.schema_digest
        self._rules = rules

    def of_run(self, judged: Judged, decision: str) -> Decision:
        """Allowed or held with exactly the grant that was judged, or denied."""
        state, verdict, facts = judged.state, judged.verdict, judged.facts
        if verdict.result == DENIED:
            # INVARIANT: a denial grants nothing, so there is nothing that it exposes and nothing to approve
            basis = self._basis(verdict, judged.bundle, decision, obligations=state.obligations)
            return Denied(basis, reasons_of(verdict, self._rules))
        granted = _with_duties(state, verdict)
        basis = self._basis(
            verdict,
            judged.bundle,
            decision,
            exposure=judged.exposure,
            obligations=granted.obligations,
            binding=self.binding(facts, state),
        )
        grant = _grant(facts.request, granted, decision)
        if verdict.result == NEEDS_APPROVAL:
            return NeedsApproval(basis, verdict.roles, reasons_of(verdict, self._rules), grant)
        return Allowed(basis, grant)

    def of_action(self, verdict: Verdict, bundle: Bundle, decision: str) -> Permitted | Denied:
        """Whether something other than a run may go on; what a person could still approve later does not end it here."""
        basis = self._basis(verdict, bundle, decision)
        return Denied(basis, reasons_of(verdict, self._rules)) if verdict.result == DENIED else Permitted(basis)

    def refused(self, action: str, resource: str, errors: tuple[str, ...], decision: str) -> Denied:
        """A denial of what could not even be put to the engine."""
        items = (DecidedItem(action=action, resource=resource[:64], result=DENIED, rules=(EVALUATION_ERROR,)),)
        basis = self._basis(Verdict(DENIED, items, (), errors=errors), Bundle((), ()), decision)
        return Denied(basis, tuple(Reason(EVALUATION_ERROR, f"{error[0].upper()}{error[1:]}") for error in errors))

    def binding(self, facts: Facts, state: State) -> str:
        """What an approval is bound to: the request, the lock, what would be granted, and the rules that it was judged by."""
        return digest_of(
            {
                "limits": asdict(state.limits),
                "lock": facts.lock_sha256,
                "policies": self._policy_digest,
                "principal": facts.request.principal.id,
                "profile": asdict(state.profile),
                "request": facts.request.digest(),
                "secrets": {},
            }
        )

    def approved_roles(self, facts: Facts, state: State) -> frozenset[str]:
        """Roles whose approval counts for exactly this."""
        # without approvals there is nothing that could be bound
        if not facts.approvals:
            return frozenset()
        who, binding = facts.request.principal, self.binding(facts, state)
        accountable = who.id if who.kind is PrincipalKind.HUMAN else who.owner
        return frozenset(
            approval.role
            for approval in facts.approvals
            # INVARIANT: four eyes hold here too, whatever the rules about approving say
            if approval.binding == binding
            and approval.expires > facts.now
            and approval.approver not in {who.id, accountable}
        )

    def _basis(
        self,
        verdict: Verdict,
        bundle: Bundle,
        decision: str,
        *,
        exposure: Exposure = _NO_EXPOSURE,
        obligations: tuple[str, ...] = (),
        binding: str = "",
    ) -> Basis:
        return Basis(
            decision=decision,
            rules=verdict.rules or (EVALUATION_ERROR,),
            items=verdict.items,
            exposure=exposure,
            policy_digest=self._policy_digest,
            schema_digest=self._schema_digest,
            inputs=inputs_of(bundle),
            engine=ENGINE,
            obligations=obligations,
            errors=verdict.errors,
            binding=binding,
        )


def _with_duties(state: State, verdict: Verdict) -> State:
    """The state with what the permits that decided oblige to."""
    said, redact, record = list(state.obligations), set(state.redact), set(state.record)
    for rule in verdict.fired:
        if rule.effect is Effect.PERMIT:
            said += [f"redact {word} ({rule.id})" for word in rule.redact if word not in state.redact]
            said += [f"record {word} ({rule.id})" for word in rule.record if word not in state.record]
            redact.update(rule.redact)
            record.update(rule.record)
    return State(state.profile, state.limits, tuple(said), frozenset(redact), frozenset(record))


def _grant(request: RunRequest, state: State, decision: str) -> Grant:
    return Grant(
        decision=decision,
        principal=request.principal.id,
        profile=state.profile.name,
        limits=state.limits,
        hosts=tuple(dict.fromkeys(request.hosts)),
        mounts=tuple(dict.fromkeys(request.mounts)),
        layers=state.profile.layers,
        seccomp=state.profile.seccomp,
        shell=state.profile.shell,
        redactions=tuple(sorted(state.redact)),
        records=tuple(sorted(state.record)),
        live_output=state.profile.live_output,
    )
