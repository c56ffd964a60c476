"""Test files that cannot be read are said to be so; a case that comes out otherwise says how."""

import pytest

from custody.policies import Gate, PolicySet, run_rule_tests


def with_test(shipped: PolicySet, text: str) -> PolicySet:
    """The shipped rules with their principals and one test file of our own; the others would only take time."""
    files = {name: content for name, content in shipped.files.items() if not name.startswith("tests/")}
    return PolicySet(
        files | {"tests/principals.yaml": shipped.files["tests/principals.yaml"], "tests/extra.yaml": text}
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rules: [", "is not a test file"),
        ("rules:\n  a: &x []\n  b: *x\n", "aliases"),
        ("rules: {}\nrules: {}\n", "stands twice"),
        ("rules: {code-secret: [{name: x}]}", "expect"),
        ("rules: {code-secret: [{name: x, expect: perhaps, rules: [a]}]}", "expect"),
        ("rules: {code-secret: [{name: x, expect: denied, rules: [a], histroy: {}}]}", "histroy"),
        ("rules: {code-secret: [{name: x, expect: denied, rules: []}]}", "rules"),
        ("rules: {code-secret: [{name: x, by: mallory, expect: denied, rules: [a]}]}", "names `mallory`"),
        ("- just a list", "extra"),
        ("!!python/object/apply:os.system ['true']", "is not a test file"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(shipped: PolicySet, text: str, why: str) -> None:
    changed = with_test(shipped, text)
    found = [problem for problem in Gate.lint(changed) if problem.file == "tests/extra.yaml"]
    assert len(found) == 1
    assert why == "extra" or why in found[0].text
    assert not found[0].blocking
    (result,) = [result for result in run_rule_tests(changed) if result.file == "tests/extra.yaml"]
    assert result.problems == (found[0].text,)


def test_a_test_of_no_rule_is_found(shipped: PolicySet) -> None:
    changed = with_test(shipped, "rules: {no-such-rule: [{name: x, expect: allowed, rules: [run-developers]}]}")
    found = [problem.text for problem in Gate.lint(changed) if problem.file == "tests/extra.yaml"]
    assert found == ["is tested, but there is no such rule"]


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("expect: denied, rules: [run-developers]", "expected denied, got allowed"),
        ("expect: allowed, rules: [code-secret]", "expected the rules code-secret, got run-developers"),
        (
            "expect: allowed, rules: [run-developers], changed_by: [limits-agents]",
            "expected changes by limits-agents, got none",
        ),
        ("expect: allowed, rules: [run-developers], limits_left: {memory_mib: 1}", "expected memory_mib 1, got 512"),
        ("expect: allowed, rules: [run-developers], profile_left: strict", "expected the profile strict, got default"),
        ("expect: denied, rules: [evaluation-error], profile: none", "the engine reported"),
    ],
)
def test_a_difference_is_a_sentence(shipped: PolicySet, case: str, problem: str) -> None:
    changed = with_test(shipped, f"rules: {{code-secret: [{{name: x, {case}}}]}}")
    (result,) = [result for result in run_rule_tests(changed) if result.file == "tests/extra.yaml"]
    assert any(problem in text for text in result.problems)
