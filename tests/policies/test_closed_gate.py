"""A set in force that does not fit this release: nothing runs, and whoever may change policies still can."""

import re
from dataclasses import replace

import pytest

from custody.errors import PolicyError
from custody.policies import Gate, PolicySet
from custody.policies.bundle import ACTIONS
from custody.policies.types import (
    Denied,
    DependencyFacts,
    History,
    Permitted,
    Principal,
    PrincipalKind,
    RunSubject,
)

from .asking import ALICE, CODER, NOW, Asking, code_facts, request

PAULA = Principal(id="paula", kind=PrincipalKind.HUMAN, roles=("policy-admin",))
PETER = replace(PAULA, id="peter")
EVERYTHING = replace(
    PAULA, roles=("developer", "auditor", "operator", "policy-admin", "security-reviewer", "runner", "project-lead")
)
NO_PETER = '@id("not-peter") @reason("Not Peter") forbid (principal == Human::"peter", action == Action::"changePolicy", resource);\n'


def older(shipped: PolicySet, *, extra: str = "") -> PolicySet:
    """A set of a release that told `changePolicy` nothing about layers; its rules can be read with the schema of today."""
    files = dict(shipped.files)
    files["schema.cedarschema"] = files["schema.cedarschema"].replace(
        "context: { common: Common, layers: Set<String> }", "context: { common: Common }"
    )
    lead = r'@id\("policy-project-leads"\)\n.*?;\n'
    files["administration.cedar"] = re.sub(lead, "", files["administration.cedar"], flags=re.DOTALL)
    assert files["schema.cedarschema"] != shipped.files["schema.cedarschema"]
    return PolicySet(files | ({"extra.cedar": extra} if extra else {}))


def foreign(shipped: PolicySet) -> PolicySet:
    """A set whose rules speak of something that this release does not know any more, and that let everybody do everything."""
    files = dict(shipped.files)
    files["schema.cedarschema"] = files["schema.cedarschema"].replace(
        "type Common = {", "type Common = {\n  moon: String,"
    )
    every = ", ".join(f'Action::"{action}"' for action in (*ACTIONS, "submit", "execute", "install", "connect"))
    files["moon.cedar"] = (
        f'@id("moon") @reason("x") permit (principal, action in [{every}], resource) when {{ context.common.moon != "full" }};'
    )
    return PolicySet(files)


@pytest.fixture(params=[older, foreign])
def closed(request: pytest.FixtureRequest, shipped: PolicySet) -> Gate:
    policies: PolicySet = request.param(shipped)
    with pytest.raises(PolicyError):
        Gate(policies)
    return Gate.in_force(policies)


def test_a_set_that_fits_opens_its_gate(shipped: PolicySet) -> None:
    gate = Gate.in_force(shipped)
    assert gate.closed == ""
    assert Asking(gate).run(request()).basis.rules == ("run-developers",)


@pytest.mark.parametrize("who", [ALICE, CODER, EVERYTHING])
def test_nothing_runs_through_a_closed_gate_and_it_says_why(closed: Gate, who: Principal) -> None:
    asked, code = request(who), code_facts()
    taken = closed.submit(asked, packages=[], code=code, history=History(), now=NOW, decision="d")
    ran = closed.run(
        asked,
        dependencies=DependencyFacts(),
        code=code,
        history=History(),
        approvals=(),
        lock_sha256=None,
        now=NOW,
        decision="d",
    )
    for decision in (taken, ran):
        assert isinstance(decision, Denied)
        assert decision.basis.rules == ("evaluation-error",)
        (reason,) = decision.reasons
        assert reason.text.startswith("The policy set in force does not fit this release of custody, so nothing runs")
        assert not decision.about_packages_only
        assert decision.basis.binding == "", "nothing of it can be approved"


def test_a_refusal_names_the_set_in_force(shipped: PolicySet) -> None:
    policies = older(shipped)
    taken = Gate.in_force(policies).submit(
        request(), packages=[], code=code_facts(), history=History(), now=NOW, decision="d"
    )
    assert (taken.basis.policy_digest, taken.basis.schema_digest) == (policies.digest, policies.schema_digest)


@pytest.mark.parametrize(
    ("who", "kind"),
    [
        (PAULA, Permitted),
        (ALICE, Denied),
        (replace(PAULA, known=False), Denied),
        (replace(PAULA, enabled=False), Denied),
        (Principal(id="bot", kind=PrincipalKind.AGENT, owner="paula", roles=("policy-admin",)), Denied),
    ],
)
def test_policies_are_changed_by_those_who_may_and_by_nobody_else(closed: Gate, who: Principal, kind: type) -> None:
    assert isinstance(closed.act(who, "changePolicy", layers=["locked"], now=NOW, decision="d"), kind)


def test_rules_that_can_still_be_read_go_on_deciding_who(shipped: PolicySet) -> None:
    """Otherwise an organisation's own forbids would fall with the first new release."""
    gate = Gate.in_force(older(shipped, extra=NO_PETER))
    refused = gate.act(PETER, "changePolicy", layers=["locked"], now=NOW, decision="d")
    assert (type(refused), refused.basis.rules) == (Denied, ("not-peter",))
    assert isinstance(gate.act(PAULA, "changePolicy", layers=["locked"], now=NOW, decision="d"), Permitted)


def test_a_decision_of_a_closed_gate_names_the_rules_and_the_schema_that_made_it(shipped: PolicySet) -> None:
    gate = Gate.in_force(older(shipped))
    permitted = gate.act(PAULA, "changePolicy", layers=["locked"], now=NOW, decision="d")
    assert permitted.basis.policy_digest == gate.policies.digest
    assert permitted.basis.schema_digest == shipped.schema_digest
    assert gate.replay(permitted.basis.inputs).rules == permitted.basis.rules


def test_where_the_rules_cannot_be_read_only_changing_policies_and_verifying_is_answered(shipped: PolicySet) -> None:
    gate = Gate.in_force(foreign(shipped))
    run = RunSubject(run="run-1", requester="someone", requester_kind=PrincipalKind.HUMAN)
    for action, kind in ACTIONS.items():
        decision = gate.act(
            EVERYTHING, action, subject=run if kind == "Run" else None, role="security-reviewer", now=NOW, decision="d"
        )
        expected = Permitted if action in {"changePolicy", "verifyLedger"} else Denied
        assert isinstance(decision, expected), action


def test_an_unknown_action_is_refused_at_a_closed_gate_too(closed: Gate) -> None:
    assert isinstance(closed.act(EVERYTHING, "execute", now=NOW, decision="d"), Denied)
    assert isinstance(closed.act(EVERYTHING, "moonwalk", now=NOW, decision="d"), Denied)
