"""Decisions in sentences, for those who may read all of it and for those who may not."""

from dataclasses import replace

from custody.policies import Gate
from custody.policies.types import History, HostRequest, Limits, PackageFacts

from .asking import CODER, Asking, audited, code_facts, request, without


def test_a_denial_says_what_and_why_the_strictest_first(gate: Gate, asking: Asking) -> None:
    decision = asking.run(request(CODER, hosts=(HostRequest("a.example", 443),)), code=code_facts(flags=("native",)))
    assert gate.why(decision.basis) == (
        (
            "connect `a.example:443`: denied; rule `net-no-egress`: This release opens no network to programs; "
            "rule `net-profile`: The profile has no network"
        ),
        (
            "connect `a.example:443 (for the owner alice)`: denied; rule `net-no-egress`: This release opens no network to programs; "
            "rule `net-profile`: The profile has no network"
        ),
        "execute `default`: held for approval; rule `code-native`: A program of an agent or service that calls native code needs a review",
    )


def test_an_allowance_says_what_was_changed(gate: Gate, asking: Asking) -> None:
    decision = asking.run(
        request(limits=Limits(memory_mib=9999)), dependencies=audited(PackageFacts(name="a", version="1"))
    )
    assert gate.why(decision.basis) == (
        "execute `default`: allowed; rule `run-developers`: Developers, and agents that were given the role, may run code",
        "install `a==1`: allowed; rule `install-roles`: Developers and runners may use packages",
        "changed: memory_mib 9999 to 2048 (limits-profile-caps)",
    )


def test_details_and_places_are_for_authorised_readers(gate: Gate, asking: Asking) -> None:
    basis = asking.run(history=History(denied_10m=5)).basis
    (public,) = gate.why(basis)
    (private,) = gate.why(basis, details=True)
    assert "5 denials" not in public
    assert "5 denials in 10 minutes" in private
    assert "[submit.cedar:" in private


def test_errors_are_for_authorised_readers(gate: Gate, asking: Asking) -> None:
    basis = asking.run(replace(request(), ticket="\ud800")).basis
    assert gate.why(basis) == ("execute `default`: denied; it could not be judged, which denies",)
    assert any(sentence.startswith("error: ") for sentence in gate.why(basis, details=True))


def test_a_decision_under_another_policy_set_is_explained_as_far_as_can_be(asking: Asking) -> None:
    basis = asking.run(code=replace(code_facts(), secrets=("aws_access_key",))).basis
    (sentence,) = Gate(without("code-secret")).why(basis)
    assert sentence == "execute `default`: denied; rule `code-secret`, which is not in this policy set"


def test_hostile_names_stay_in_one_line(gate: Gate, asking: Asking) -> None:
    basis = asking.run(request(hosts=(HostRequest("a\n\x1b[2J`\u202e", 1),))).basis
    assert all(sentence.isprintable() for sentence in gate.why(basis))
