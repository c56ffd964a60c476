"""Every control that rules and event kinds name has a name in a dated file."""

from custody.ledger.events import CATALOGUE
from custody.policies import Gate
from custody.policies.control_names import frameworks

from .asking import with_rules


def test_four_frameworks_are_shipped_each_with_its_date() -> None:
    assert sorted(framework.name.split()[0] for framework in frameworks()) == ["ISO/IEC", "NIST", "OWASP", "SOC"]
    assert all(framework.version and framework.written.year >= 2026 for framework in frameworks())


def test_no_id_stands_in_two_frameworks() -> None:
    ids = [control for framework in frameworks() for control in framework.controls]
    assert len(ids) == len(set(ids))


def test_controls_of_event_kinds_are_known() -> None:
    known = {control for framework in frameworks() for control in framework.controls}
    named = {control for event in CATALOGUE.values() for control in event.KIND.controls}
    assert named - known == set()


def test_a_misspelt_control_is_found() -> None:
    text = '@id("a") @reason("x") @control("AC-3 AC-300") forbid (principal, action == Action::"execute", resource);'
    found = [problem for problem in Gate.lint(with_rules(text)) if "control" in problem.text]
    assert [(problem.rule, problem.blocking) for problem in found] == [("a", False)]
    assert "AC-300" in found[0].text
