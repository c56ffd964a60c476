"""What a decision says, what it grants, and what changes it."""

import json
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from custody.errors import PolicyError
from custody.policies import Gate, PolicySet
from custody.policies.types import (
    Access,
    Allowed,
    DecidedItem,
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
    Reason,
    RunSubject,
)

from .asking import (
    ALICE,
    BOB,
    CAROL,
    CODER,
    LOCK,
    NOW,
    Asking,
    approval,
    audited,
    changed,
    code_facts,
    request,
    with_rules,
)

HIDING = code_facts(flags=("obfuscated",))
BOBS_RUN = RunSubject(run="run-7", requester="bob", requester_kind=PrincipalKind.HUMAN)


def test_a_set_of_thousands_of_rules_decides_and_names_the_one_that_fired(shipped: PolicySet) -> None:
    """Cedar names rules by position; the answer has to be the id all the same."""
    rule = '@id("extra-{n}") @reason("x") forbid (principal, action == Action::"execute", resource) when {{ context.limits.memory_mib == {m} }};\n'
    many = {
        f"extra-{k}.cedar": "".join(rule.format(n=n, m=n + 1) for n in range(k, k + 500)) for k in range(0, 3000, 500)
    }
    gate = Gate(PolicySet(dict(shipped.files) | many))
    assert gate.rules > 3000
    for memory, rules in ((1, ("extra-0",)), (1778, ("extra-1777",)), (2048, ("extra-2047",))):
        assert Asking(gate).run(request(limits=replace(Limits(), memory_mib=memory))).basis.rules == rules


def test_an_allowance_carries_the_grant_and_what_decided(asking: Asking, shipped: PolicySet) -> None:
    decision = asking.run(request(limits=Limits(memory_mib=64)))
    assert isinstance(decision, Allowed)
    assert decision.basis.rules == ("run-developers",)
    assert decision.basis.items == (
        DecidedItem(action="execute", resource="default", result="allowed", rules=("run-developers",)),
    )
    assert (decision.basis.policy_digest, decision.basis.schema_digest) == (shipped.digest, shipped.schema_digest)
    assert decision.basis.engine.startswith("cedarpy 4.")
    grant = decision.grant
    assert (grant.decision, grant.principal, grant.profile) == ("decision-1", "alice", "default")
    assert grant.limits == Limits(memory_mib=64)
    assert (grant.hosts, grant.mounts, grant.secrets, grant.shell, grant.live_output) == ((), (), {}, False, False)
    assert grant.redactions == ("secrets",)
    assert {"seccomp", "rlimits", "network_namespace"} <= set(grant.layers)


def test_a_denial_carries_public_reasons_and_grants_nothing(asking: Asking) -> None:
    decision = asking.run(request(hosts=(HostRequest("api.example.org", 443),)))
    assert isinstance(decision, Denied)
    assert decision.reasons == (
        Reason("net-no-egress", "This release opens no network to programs"),
        Reason("net-profile", "The profile has no network"),
    )
    assert [item.result for item in decision.basis.items] == ["allowed", "denied"]
    assert decision.basis.exposure.hosts == ()
    assert decision.basis.binding == ""
    assert not decision.about_packages_only


def test_details_stay_out_of_reasons(asking: Asking) -> None:
    decision = asking.run(history=History(denied_10m=5))
    assert isinstance(decision, Denied)
    assert decision.reasons == (Reason("lockout", "Too many denied requests in the last ten minutes"),)


def test_a_run_that_only_packages_stop_is_blocked(asking: Asking) -> None:
    decision = asking.run(dependencies=audited(PackageFacts(name="a", version="1"), covered=False))
    assert isinstance(decision, Denied)
    assert decision.about_packages_only
    assert decision.basis.items[1] == DecidedItem(
        action="install", resource="a==1", result="denied", rules=("deps-must-be-covered",)
    )


def test_a_run_that_also_something_else_stops_is_denied(asking: Asking) -> None:
    decision = asking.run(request(CAROL), dependencies=audited(PackageFacts(name="a", version="1", critical=1)))
    assert isinstance(decision, Denied)
    assert not decision.about_packages_only


def test_an_approval_lifts_exactly_what_it_was_asked_for(asking: Asking) -> None:
    held = asking.run(request(CODER), code=HIDING)
    assert isinstance(held, NeedsApproval)
    assert (held.roles, held.basis.rules) == (("security-reviewer",), ("code-obfuscated",))
    decision = asking.run(request(CODER), code=HIDING, approvals=[approval(held)])
    assert isinstance(decision, Allowed)
    assert decision.basis.binding == held.basis.binding
    assert replace(decision.grant, decision="") == replace(held.grant, decision="")


@pytest.mark.parametrize(
    "what",
    [
        {"asked": request(CODER, code=b"print('other')\n")},
        {"asked": request(CODER, limits=Limits(memory_mib=513))},
        {"asked": request(CODER, profile="compliance")},
        {"asked": replace(request(CODER), arguments=("-v",))},
        {"asked": replace(request(CODER), requirements=b"a==1")},
        {"asked": request(changed(CODER, id="other-agent"))},
        {"lock": "2" * 64},
        {"lock": None},
        {"now": NOW + timedelta(hours=1)},
    ],
)
def test_an_approval_of_something_else_counts_for_nothing(asking: Asking, what: dict[str, object]) -> None:
    held = asking.run(request(CODER), code=HIDING)
    asked = what.get("asked", request(CODER))
    lock = what.get("lock", LOCK)
    now = what.get("now", NOW)
    decision = asking.run(
        asked,  # type: ignore[arg-type]  # one of the keys above
        code=code_facts(asked.code, flags=("obfuscated",)),  # type: ignore[attr-defined]  # the same
        approvals=[approval(held)],
        lock=lock,  # type: ignore[arg-type]  # the same
        now=now,  # type: ignore[arg-type]  # the same
    )
    assert isinstance(decision, NeedsApproval)


def test_an_approval_under_other_policies_counts_for_nothing(asking: Asking) -> None:
    held = asking.run(request(CODER), code=HIDING)
    other = Asking(Gate(with_rules("// one comment more\n")))
    assert isinstance(other.run(request(CODER), code=HIDING, approvals=[approval(held)]), NeedsApproval)


def test_purpose_and_ticket_do_not_unbind_an_approval(asking: Asking) -> None:
    held = asking.run(request(CODER), code=HIDING)
    asked = replace(request(CODER), purpose="another word", ticket="CHG-1")
    assert isinstance(asking.run(asked, code=HIDING, approvals=[approval(held)]), Allowed)


@pytest.mark.parametrize("approver", ["coder", "alice"])
def test_the_requester_and_its_owner_never_count_as_approvers(asking: Asking, approver: str) -> None:
    held = asking.run(request(CODER), code=HIDING)
    assert isinstance(
        asking.run(request(CODER), code=HIDING, approvals=[approval(held, approver=approver)]), NeedsApproval
    )


def test_an_approval_does_not_stop_a_fresh_denial(asking: Asking) -> None:
    held = asking.run(request(CODER), code=HIDING)
    decision = asking.run(request(CODER), code=HIDING, approvals=[approval(held)], history=History(denied_10m=9))
    assert isinstance(decision, Denied)


def test_what_could_never_be_allowed_is_not_put_before_a_person(asking: Asking) -> None:
    decision = asking.run(request(CODER, hosts=(HostRequest("a.example", 1),)), code=HIDING)
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("net-no-egress", "net-profile")
    assert [item.result for item in decision.basis.items] == ["needs_approval", "denied", "denied"]


def test_a_run_that_packages_stop_and_a_person_would_have_to_approve_is_blocked(asking: Asking) -> None:
    decision = asking.run(
        request(CODER), code=HIDING, dependencies=audited(PackageFacts(name="a", version="1", critical=1))
    )
    assert isinstance(decision, Denied)
    assert decision.about_packages_only


def test_two_roles_are_asked_for_where_two_rules_want_them() -> None:
    text = """@id("data-owner-says") @reason("The owner of the data agrees") @approval("data-owner")
    forbid (principal, action == Action::"execute", resource) unless { context.common.approvals.contains("data-owner") };"""
    both = Asking(Gate(with_rules(text)))
    held = both.run(request(CODER), code=HIDING)
    assert isinstance(held, NeedsApproval)
    assert held.roles == ("data-owner", "security-reviewer")
    half = both.run(request(CODER), code=HIDING, approvals=[approval(held)])
    assert isinstance(half, NeedsApproval)
    assert half.roles == ("data-owner",)
    whole = both.run(
        request(CODER), code=HIDING, approvals=[approval(held), approval(held, role="data-owner", approver="dan")]
    )
    assert isinstance(whole, Allowed)


def test_limits_are_lowered_and_decided_again(asking: Asking) -> None:
    decision = asking.run(request(CODER, limits=Limits(memory_mib=4096, wall_seconds=200)))
    assert isinstance(decision, Allowed)
    assert decision.grant.limits == Limits(memory_mib=1024, wall_seconds=200)
    assert decision.basis.exposure.limits == decision.grant.limits
    assert decision.basis.obligations == ("memory_mib 4096 to 1024 (limits-agents)",)
    asked = json.loads(decision.basis.inputs)["requests"][0]["context"]["limits"]
    assert asked == asdict(decision.grant.limits)


def test_a_clamp_that_its_rule_does_not_accept_denies() -> None:
    text = """@id("strange") @reason("x") @clamp_memory_mib("100")
    forbid (principal, action == Action::"execute", resource) when { context.limits.memory_mib > 50 };"""
    decision = Asking(Gate(with_rules(text))).run()
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("strange",)


def test_rules_that_do_not_settle_deny() -> None:
    """Each turn wakes another rule; the fifth would be one too many."""
    text = "".join(
        f"""@id("step-{limit}") @reason("x") @clamp_memory_mib("{limit - 1}")
        forbid (principal, action == Action::"execute", resource) when {{ context.limits.memory_mib == {limit} }};"""
        for limit in (20, 19, 18, 17, 16)
    )
    stepping = Asking(Gate(with_rules(text)))
    assert isinstance(stepping.run(request(limits=Limits(memory_mib=18))), Allowed)
    decision = stepping.run(request(limits=Limits(memory_mib=20)))
    assert isinstance(decision, Denied)
    assert decision.basis.errors == ("what the rules ask for did not settle within 4 turns",)


FORCED = """@id("forced") @reason("x") @profile("{to}") @record("commands")
forbid (principal, action == Action::"execute", resource) when {{ resource == Profile::"{of}" }};"""


def test_a_rule_may_force_a_stricter_profile() -> None:
    decision = Asking(Gate(with_rules(FORCED.format(of="default", to="strict")))).run()
    assert isinstance(decision, Allowed)
    assert (decision.grant.profile, decision.grant.limits.memory_mib) == ("strict", 512)
    assert "own_uid" in decision.grant.layers
    assert decision.grant.records == ("commands",)
    assert decision.basis.obligations[0] == "profile default to strict (forced)"


@pytest.mark.parametrize(("of", "to"), [("strict", "default"), ("default", "demo"), ("strict", "compliance")])
def test_a_rule_may_never_force_a_looser_profile(of: str, to: str) -> None:
    decision = Asking(Gate(with_rules(FORCED.format(of=of, to=to)))).run(request(profile=of))
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("forced",)


def test_an_unknown_profile_is_denied_with_that_reason(asking: Asking) -> None:
    for decision in (asking.run(request(profile="Default")), asking.submit(request(profile="Default"))):
        assert isinstance(decision, Denied)
        assert decision.basis.rules == ("evaluation-error",)
        assert decision.basis.errors == ("profile `Default` is not in the policy set in force",)


def test_facts_of_another_program_are_denied(asking: Asking) -> None:
    decision = asking.run(code=code_facts(b"something else"))
    assert isinstance(decision, Denied)
    assert decision.basis.errors == ("the facts of the code are those of another program",)
    decision = asking.run(code=code_facts(language="bash"))
    assert isinstance(decision, Denied)


def test_an_audit_that_hides_packages_is_denied(asking: Asking) -> None:
    decision = asking.run(
        dependencies=DependencyFacts(total=2, data_class="live", packages=(PackageFacts(name="a", version="1"),))
    )
    assert isinstance(decision, Denied)
    assert decision.basis.errors == ("the audit counts 2 packages and names 1",)


def test_two_different_facts_about_one_package_are_denied(asking: Asking) -> None:
    """Taking either for both would judge one by the facts of the other."""
    twice = (PackageFacts(name="A_b", version="1"), PackageFacts(name="a-b", version="1", malicious=True))
    decision = asking.run(dependencies=audited(*twice))
    assert isinstance(decision, Denied)
    assert decision.basis.errors == ("two different facts about Package `a-b==1`",)


def test_hostile_texts_deny_at_worst(asking: Asking) -> None:
    for text in ('"; permit(principal,action,resource); //', "\x1b[2J", "\u202e", "a" * 100_000, "\x00"):
        asked = replace(request(hosts=(HostRequest(text, 443),)), ticket=text, purpose=text)
        decision = asking.run(asked)
        assert isinstance(decision, Denied)
        assert all(reason.text.isprintable() for reason in decision.reasons)


def test_a_lone_surrogate_is_an_error_and_denied(asking: Asking) -> None:
    decision = asking.run(replace(request(), ticket="\ud800"))
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("evaluation-error",)
    assert decision.basis.errors != ()


def test_an_overflow_in_a_rule_denies() -> None:
    text = """@id("sum") @reason("x") forbid (principal, action == Action::"execute", resource)
    when { context.limits.memory_mib > 600 && context.limits.memory_mib * 9223372036854775807 < 0 };"""
    with_sum = Gate(with_rules(text))
    assert isinstance(Asking(with_sum).run(), Allowed)
    decision = Asking(with_sum).run(request(limits=Limits(memory_mib=700)))
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("evaluation-error",)
    assert "`sum`" in decision.basis.errors[0]


def test_exposure_is_what_the_grant_opens_and_what_is_new(asking: Asking) -> None:
    packages = (PackageFacts(name="old", version="1"), PackageFacts(name="new", version="2", medium=1))
    decision = asking.run(dependencies=audited(*packages), history=History(known_packages=("old==1",)))
    assert isinstance(decision, Allowed)
    exposure = decision.basis.exposure
    assert exposure.packages_with_findings == ("new==2",)
    assert exposure.new == ("package new==2",)
    assert exposure.limits == decision.grant.limits
    assert (exposure.hosts, exposure.readable, exposure.writable) == ((), (), ())


def test_exposure_names_data_by_class(shipped: PolicySet) -> None:
    files = dict(shipped.files)
    files["lists.toml"] = files["lists.toml"].replace("paths = []", 'paths = ["/data/shared"]')
    asked = request(mounts=(MountRequest("/data/shared/a.csv", Access.READ, "a.csv"),))
    decision = Asking(Gate(PolicySet(files))).run(asked)
    assert isinstance(decision, Allowed)
    assert decision.basis.exposure.readable == ("/data/shared/a.csv (internal)",)
    assert decision.grant.mounts == asked.mounts
    assert decision.grant.records == ("files",)


def test_a_rule_may_cap_exposure() -> None:
    text = """@id("few-new") @reason("Too much is new at once")
    forbid (principal is Agent, action == Action::"execute", resource) when { context.exposure.new > 1 };"""
    careful = Asking(Gate(with_rules(text)))
    packages = audited(PackageFacts(name="a", version="1"), PackageFacts(name="b", version="1"))
    assert isinstance(careful.run(request(CODER), dependencies=packages), Denied)
    known = History(known_packages=("a==1",))
    assert isinstance(careful.run(request(CODER), dependencies=packages, history=known), Allowed)


def test_a_decision_can_be_made_again_from_what_is_kept(asking: Asking, gate: Gate, shipped: PolicySet) -> None:
    held = asking.run(request(CODER), code=HIDING)
    decisions = [
        (asking.run(dependencies=audited(PackageFacts(name="a", version="1"))), "allowed"),
        (asking.run(request(CODER, limits=Limits(memory_mib=9999))), "allowed"),
        (held, "needs_approval"),
        (asking.run(request(CODER), code=HIDING, approvals=[approval(held)]), "allowed"),
        (asking.run(request(hosts=(HostRequest("127.0.0.1", 80),))), "denied"),
        (asking.submit(packages=[("a", "1")]), "allowed"),
        (gate.act(BOB, "approve", subject=BOBS_RUN, role="security-reviewer", now=NOW, decision="d"), "denied"),
    ]
    again = Gate(PolicySet.from_bytes(shipped.to_bytes()))
    for decision, result in decisions:
        verdict = again.replay(decision.basis.inputs)
        assert (verdict.result, verdict.rules, verdict.items) == (result, decision.basis.rules, decision.basis.items)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"requests": [{}], "entities": []}', b"\xff"])
def test_other_bytes_are_no_inputs(gate: Gate, data: bytes) -> None:
    with pytest.raises(PolicyError):
        gate.replay(data)


def test_an_empty_bundle_is_no_allowance(gate: Gate) -> None:
    assert gate.replay(b'{"entities":[],"requests":[]}').result == "denied"


def test_inputs_are_canonical(asking: Asking) -> None:
    packages = [PackageFacts(name=name, version="1") for name in "cab"]
    one = asking.run(dependencies=audited(*packages)).basis.inputs
    assert json.dumps(json.loads(one), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() == one
    assert one == asking.run(dependencies=audited(*packages)).basis.inputs


def test_submission_grants_nothing(asking: Asking) -> None:
    decision = asking.submit(packages=[("Requests", "2.0")])
    assert isinstance(decision, Permitted)
    assert [item.resource for item in decision.basis.items] == ["default", "requests==2.0"]
    assert not hasattr(decision, "grant")


def test_a_rule_that_asks_for_approval_does_not_end_a_submission() -> None:
    text = """@id("ask-first") @reason("x") @approval("security-reviewer")
    forbid (principal, action == Action::"install", resource)
    unless { context.common.approvals.contains("security-reviewer") };"""
    asking = Asking(Gate(with_rules(text)))
    decision = asking.submit(packages=[("a", "1")])
    assert isinstance(decision, Permitted)
    assert decision.basis.items[1].result == "needs_approval"
    assert isinstance(asking.run(dependencies=audited(PackageFacts(name="a", version="1"))), NeedsApproval)


@pytest.mark.parametrize("action", ["execute", "submit", "connect", "install", "use", "", "Approve", 'a"b'])
def test_what_is_no_action_of_its_own_is_refused(gate: Gate, action: str) -> None:
    decision = gate.act(ALICE, action, now=NOW, decision="d")
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("evaluation-error",)


def test_an_action_about_a_run_needs_the_run_and_others_have_none(gate: Gate) -> None:
    assert isinstance(gate.act(BOB, "approve", role="security-reviewer", now=NOW, decision="d"), Denied)
    assert isinstance(gate.act(CAROL, "readAudit", now=NOW, decision="d"), Permitted)
    assert isinstance(gate.act(CAROL, "readAudit", subject=BOBS_RUN, now=NOW, decision="d"), Denied)


def test_a_run_without_an_accountable_human_is_approved_by_nobody_without_one(gate: Gate) -> None:
    stray = RunSubject(run="run-8", requester="stray", requester_kind=PrincipalKind.AGENT)
    ownerless = Principal(id="x", kind=PrincipalKind.SERVICE, roles=("security-reviewer",))
    decision = gate.act(ownerless, "approve", subject=stray, role="security-reviewer", now=NOW, decision="d")
    assert isinstance(decision, Denied)
    assert decision.basis.rules == ("approve-four-eyes", "approve-humans-only", "owner-enabled")


def test_other_times_are_other_answers_where_a_rule_says_so() -> None:
    text = """@id("freeze") @reason("Nothing runs during the freeze") forbid (principal, action == Action::"execute", resource)
    when { context.common.now >= datetime("2026-12-24T00:00:00Z") && context.common.now < datetime("2026-12-27T00:00:00Z") };"""
    freezing = Asking(Gate(with_rules(text)))
    assert isinstance(freezing.run(), Allowed)
    assert isinstance(freezing.run(now=NOW.replace(month=12, day=25)), Denied)


SHARED = '[data_sets.shared]\nclassification = "internal"\npaths = ["/data/shared"]\n[packages]\nforbidden = []\n'


def test_what_reaches_out_of_the_jail_is_asked_for_the_owner_too(shipped: PolicySet) -> None:
    """An agent is no way to what its owner may not see."""
    careful = Asking(Gate(PolicySet({**without_tests(shipped), "lists.toml": SHARED})))
    mounts = (MountRequest("/data/shared/a.csv", Access.READ, "a.csv"),)
    of_developer = changed(CODER, owner_roles=("developer",))
    allowed = careful.run(request(of_developer, mounts=mounts))
    assert isinstance(allowed, Allowed)
    assert [item.resource for item in allowed.basis.items if item.action == "mountRead"] == [
        "/data/shared/a.csv",
        "/data/shared/a.csv (for the owner alice)",
    ]
    assert len(allowed.grant.mounts) == 1
    denied = careful.run(request(changed(CODER, owner_roles=("auditor",)), mounts=mounts))
    assert isinstance(denied, Denied)
    assert [(item.resource, item.result) for item in denied.basis.items if item.action == "mountRead"] == [
        ("/data/shared/a.csv", "allowed"),
        ("/data/shared/a.csv (for the owner alice)", "denied"),
    ]
    for nobody in (changed(of_developer, owner_enabled=False), changed(of_developer, owner=None)):
        without = careful.run(request(nobody, mounts=mounts))
        assert [item.result for item in without.basis.items if item.action == "mountRead"][1] == "denied"


def without_tests(policies: PolicySet) -> dict[str, str]:
    """The files of a set without its tests, which are slow to read."""
    return {name: text for name, text in policies.files.items() if not name.startswith("tests/")}


def test_what_is_held_shows_what_it_would_be_granted_once_approved() -> None:
    """A permit that an approval brings into play adds its records to what the approver agrees to."""
    text = """@id("watched") @reason("Approved runs are watched") @record("commands")
    permit (principal in Role::"developer", action == Action::"execute", resource)
    when { context.common.approvals.contains("security-reviewer") };"""
    watching = Asking(Gate(with_rules(text)))
    held = watching.run(request(CODER), code=HIDING)
    assert isinstance(held, NeedsApproval)
    assert held.grant.records == ("commands",)
    decision = watching.run(request(CODER), code=HIDING, approvals=[approval(held)])
    assert isinstance(decision, Allowed)
    assert replace(decision.grant, decision="") == replace(held.grant, decision="")
