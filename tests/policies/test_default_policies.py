"""The rules that are shipped: each has tests beside it, and all of these pass."""

import re

import pytest

from custody.policies import Gate, PolicySet, run_rule_tests
from custody.policies.rule_cases import read_cases
from custody.policies.rule_tests import played
from custody.policies.types import PolicyProblem, RuleTestResult

from .asking import without

RESULTS = run_rule_tests(PolicySet.shipped())


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: f"{result.rule}: {result.name}")
def test_rule_case(result: RuleTestResult) -> None:
    assert result.problems == ()


def test_at_least_sixty_decisions_are_tested() -> None:
    assert len(RESULTS) >= 60


def test_lint_finds_nothing(shipped: PolicySet) -> None:
    """Among other things: every rule has a case in which it fires and one in which it does not."""
    assert [str(problem) for problem in Gate.lint(shipped)] == []


def test_every_rule_supports_a_control(gate: Gate) -> None:
    ids = re.findall(r'@id\("([^"]+)"\)', "".join(gate.policies.texts(".cedar").values()))
    assert len(ids) == gate.rules
    assert [name for name in ids if not (rule := gate.rule(name)) or not rule.controls] == []


def test_a_rule_without_its_tests_is_found(shipped: PolicySet) -> None:
    files = dict(shipped.files)
    del files["tests/mounts.yaml"]
    found = Gate.lint(PolicySet(files))
    assert {problem.rule for problem in found} == {"mount-shared-read", "mount-well-formed", "mount-not-system"}
    assert {problem.text for problem in found} == {
        "has no test in which it fires",
        "has no test in which it does not fire",
    }
    assert all(problem.file == "mounts.cedar" and problem.line > 0 and not problem.blocking for problem in found)


def test_a_removed_rule_fails_its_tests(shipped: PolicySet) -> None:
    files = dict(shipped.files)
    start = files["code.cedar"].index('@id("code-secret")')
    files["code.cedar"] = files["code.cedar"][:start]
    broken = {result.name for result in run_rule_tests(PolicySet(files)) if result.problems}
    assert "a program with a secret in it is not run" in broken
    assert [problem.rule for problem in Gate.lint(PolicySet(files))] == ["code-secret"] * 3


def test_each_rule_is_missed_by_its_own_tests(shipped: PolicySet, gate: Gate) -> None:
    """A rule whose removal no test of its own notices is not tested, whatever its cases say."""
    read = read_cases(shipped)
    unnoticed = []
    for name in sorted({case.rule for case in read.cases}):
        fewer = Gate(without(name))
        assert fewer.rules == gate.rules - 1
        if all(played(fewer, case, read).problems == () for case in read.cases if case.rule == name):
            unnoticed.append(name)
    assert unnoticed == []


def test_profiles_are_the_four_that_are_documented(gate: Gate) -> None:
    assert sorted(gate.profiles) == ["compliance", "default", "demo", "strict"]
    assert [name for name, profile in gate.profiles.items() if profile.demo] == ["demo"]
    assert [
        name for name, profile in gate.profiles.items() if profile.network or profile.shell or profile.live_output
    ] == []
    assert {name for name, profile in gate.profiles.items() if "cgroup_memory" in profile.layers} == {
        "strict",
        "compliance",
    }
    assert all({"seccomp", "rlimits", "network_namespace"} <= set(profile.layers) for profile in gate.profiles.values())


def test_a_problem_reads_with_file_line_and_rule() -> None:
    problem = PolicyProblem(file="a.cedar", line=3, rule="some-rule", text="is odd")
    assert str(problem) == "a.cedar:3: rule `some-rule`: is odd"
