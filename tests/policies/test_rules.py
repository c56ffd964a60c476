"""What a policy set is refused for, with file, line and rule."""

import re
from dataclasses import replace

import pytest

from custody.errors import PolicyError
from custody.policies import Gate, PolicySet

from .asking import ALICE, Asking, request, with_rules

PERMIT = 'permit (principal, action == Action::"execute", resource)'
FORBID = 'forbid (principal, action == Action::"execute", resource)'
LARGE = "when { context.limits.memory_mib > 10 }"
LIFTED = 'unless { context.common.approvals.contains("security-reviewer") }'

REFUSED = {
    "no id": (f'@reason("x") {FORBID};', "has no @id"),
    "empty id": (f'@id @reason("x") {FORBID};', "has no @id"),
    "capitals in the id": (f'@id("Rule") @reason("x") {FORBID};', "lower-case ASCII words"),
    "a lookalike letter in the id": (f'@id("rul\u0435") @reason("x") {FORBID};', "lower-case ASCII words"),
    "a long id": (f'@id("{"a" * 65}") @reason("x") {FORBID};', "lower-case ASCII words"),
    "a reserved id": (f'@id("default-deny") @reason("x") {FORBID};', "reserved"),
    "no reason": (f'@id("a") {FORBID};', "has no @reason"),
    "a blank reason": (f'@id("a") @reason(" ") {FORBID};', "has no @reason"),
    "a reason of two lines": (f'@id("a") @reason("x\\ny") {FORBID};', "one line"),
    "a detail with a control character": (f'@id("a") @reason("x") @detail("\\u{{1b}}[2J") {FORBID};', "printable"),
    "a misspelt annotation": (f'@id("a") @reason("x") @aproval("y") {FORBID};', "unknown annotation @aproval"),
    "a clamp without its first word": (
        f'@id("a") @reason("x") @wall_seconds("1") {PERMIT};',
        "unknown annotation @wall_seconds",
    ),
    "a clamp of no limit": (f'@id("a") @reason("x") @clamp_memory("1") {FORBID};', "unknown annotation @clamp_memory"),
    "a clamp of no number": (f'@id("a") @reason("x") @clamp_memory_mib("1.5") {FORBID} {LARGE};', "whole number"),
    "a clamp to nothing": (f'@id("a") @reason("x") @clamp_memory_mib("0") {FORBID} {LARGE};', "whole number"),
    "a clamp on a permit": (f'@id("a") @reason("x") @clamp_memory_mib("1") {PERMIT} {LARGE};', "belong on a forbid"),
    "a clamp that looks elsewhere": (
        f'@id("a") @reason("x") @clamp_wall_seconds("1") {FORBID} {LARGE};',
        "lowers wall_seconds without looking",
    ),
    "an approval on a permit": (
        f'@id("a") @reason("x") @approval("security-reviewer") {PERMIT} {LIFTED};',
        "belong on a forbid",
    ),
    "an approval that lifts nothing": (
        f'@id("a") @reason("x") @approval("security-reviewer") {FORBID};',
        "never be lifted",
    ),
    "an approval of another role": (
        f'@id("a") @reason("x") @approval("auditor") {FORBID} {LIFTED};',
        "never be lifted",
    ),
    "an approval by two roles at once": (f'@id("a") @reason("x") @approval("a b") {FORBID} {LIFTED};', "one role"),
    "an approval beside a clamp": (
        f'@id("a") @reason("x") @approval("security-reviewer") @clamp_memory_mib("1") {FORBID} {LARGE} {LIFTED};',
        "cannot stand beside",
    ),
    "a profile that is not there": (f'@id("a") @reason("x") @profile("stricter") {FORBID};', "not in profiles.toml"),
    "a redaction on a plain forbid": (f'@id("a") @reason("x") @redact("secrets") {FORBID};', "belong on a permit"),
    "a redaction of nothing known": (f'@id("a") @reason("x") @redact("faces") {PERMIT};', "takes these words: secrets"),
    "a record of nothing": (f'@id("a") @reason("x") @record {PERMIT};', "takes these words"),
    "a control that is none": (f'@id("a") @reason("x") @control("be nice!") {FORBID};', "control ids"),
    "code in a permit": (f'@id("a") @reason("x") {PERMIT} when {{ context.code.parsed }};', "context.code"),
    "code in a permit in brackets": (
        f'@id("a") @reason("x") {PERMIT} when {{ context["code"]["parsed"] }};',
        "context.code",
    ),
    "code in the unless of a permit": (
        f'@id("a") @reason("x") {PERMIT} unless {{ context.code.flags.contains("native") }};',
        "context.code",
    ),
    "the whole context in a permit": (
        f'@id("a") @reason("x") {PERMIT} when {{ [context].contains(context) }};',
        "context.code",
    ),
    "a permit of every action": ('@id("a") @reason("x") permit (principal, action, resource);', "permits every action"),
    "a template": ('@id("a") @reason("x") forbid (principal == ?principal, action, resource);', "template"),
    "an unknown action": ('@id("a") @reason("x") forbid (principal, action == Action::"execut", resource);', "execut"),
    "an unknown type": ('@id("a") @reason("x") forbid (principal is Robot, action, resource);', "Robot"),
    "an unknown attribute": (f'@id("a") @reason("x") {FORBID} when {{ principal.ownr == "x" }};', "`ownr`"),
    "an optional attribute that may be absent": (
        '@id("a") @reason("x") forbid (principal, action == Action::"install", resource is Package) when { resource.yanked };',
        "yanked",
    ),
    "an action that cannot meet the resource": (
        '@id("a") @reason("x") forbid (principal, action == Action::"execute", resource is Host);',
        "applicable action",
    ),
    "arithmetic with text": (f'@id("a") @reason("x") {FORBID} when {{ context.limits.files + "a" == 1 }};', ""),
    "an operator that Cedar lacks": (
        f'@id("a") @reason("x") {FORBID} when {{ context.limits.files = 1 }};',
        "cannot read",
    ),
    "no end": (f'@id("a") @reason("x") {FORBID}', "cannot read"),
    "a list that is not there": (
        '@id("a") @reason("x") forbid (principal, action == Action::"connect", resource in HostList::"bad");',
        'HostList::"bad", which is not in lists.toml',
    ),
    "a data set that is not there": (
        '@id("a") @reason("x") permit (principal, action == Action::"mountRead", resource in DataSet::"all");',
        "not in lists.toml",
    ),
    "a lookalike letter in an entity": (
        '@id("a") @reason("x") forbid (principal in Role::"d\u0435veloper", action, resource);',
        "not plain ASCII",
    ),
    "a hidden character": (f'@id("a") @reason("x") /\u202e/ {FORBID};', "U+202E"),
    "an id that is used already": (f'@id("code-secret") @reason("x") {FORBID};', "also used at"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, why: str) -> None:
    found = [problem for problem in Gate.lint(with_rules(f"\n{text}")) if problem.blocking]
    assert any(why in problem.text for problem in found), [str(problem) for problem in found]
    assert all(problem.line >= 1 for problem in found)
    with pytest.raises(PolicyError) as raised:
        Gate(with_rules(f"\n{text}"))
    assert "\n" not in raised.value.message
    assert ".cedar:" in raised.value.message


def test_the_line_of_the_second_rule_is_named() -> None:
    text = f'@id("fine")\n@reason("x")\n{FORBID};\n\n// about the next\n@id("odd")\n@reason("x")\n@oops\n{FORBID};\n'
    (problem,) = [problem for problem in Gate.lint(with_rules(text)) if problem.blocking]
    assert (problem.file, problem.line, problem.rule) == ("extra.cedar", 6, "odd")


def test_hidden_characters_are_found_in_every_file(shipped: PolicySet) -> None:
    files = {name: text for name, text in shipped.files.items() if not name.startswith("tests/")}
    files["lists.toml"] += "# \u2066\n"
    found = [str(problem) for problem in Gate.lint(PolicySet(files)) if problem.blocking]
    assert found == [f"lists.toml:{files['lists.toml'].count(chr(10))}: holds a hidden character, U+2066"]


@pytest.mark.parametrize("end", ["\r", "\x85", "\u2028", "\u2029"])
def test_a_line_end_that_only_some_see_is_refused(shipped: PolicySet, end: str) -> None:
    """Without that the rules of the file below are one long comment to one reader, and rules to another."""
    text = f'// no runs today{end}@id("a") @reason("x") {FORBID};{end}'
    found = [str(problem) for problem in Gate.lint(PolicySet({**shipped.files, "extra.cedar": text}))]
    wrong = f"extra.cedar:1: holds a line end that not everybody sees, U+{ord(end):04X}: end lines with a line feed"
    assert wrong in found
    with pytest.raises(PolicyError, match="not everybody sees"):
        Gate(PolicySet({**shipped.files, "extra.cedar": text}))


def test_lines_may_end_as_on_windows(shipped: PolicySet) -> None:
    files = {name: text.replace("\n", "\r\n") for name, text in shipped.files.items()}
    assert Gate(PolicySet(files)).rules == Gate(shipped).rules


@pytest.mark.parametrize("character", ["\u3164", "\ufe0f", "\U000e0041", "\u034f", "\x9b"])
def test_characters_that_nobody_sees_are_refused(shipped: PolicySet, character: str) -> None:
    files = {**shipped.files, "extra.cedar": f"// {character}\n"}
    wrong = f"extra.cedar:1: holds a hidden character, U+{ord(character):04X}"
    assert wrong in [str(problem) for problem in Gate.lint(PolicySet(files))]


def test_every_problem_is_told_at_once() -> None:
    text = f"{FORBID};\n{FORBID};\n"
    with pytest.raises(PolicyError, match=r"\(and 3 more\)"):
        Gate(with_rules(text))


def test_a_project_layer_may_tighten() -> None:
    gate = Gate(with_rules(f'@id("no-bigger") @reason("x") {FORBID} {LARGE};', file="project/team.cedar"))
    assert gate.rule("no-bigger") is not None


def test_a_project_layer_may_not_permit() -> None:
    with pytest.raises(PolicyError, match="may only tighten"):
        Gate(with_rules(f'@id("more") @reason("x") {PERMIT};', file="project/team.cedar"))


PROJECT_RULES = {
    "an administrative action": (
        "project/a.cedar",
        'forbid (principal, action == Action::"changePolicy", resource)',
        "belongs to the locked layer",
    ),
    "one administrative action among those of runs": (
        "project/a.cedar",
        'forbid (principal, action in [Action::"execute", Action::"approve"], resource)',
        "belongs to the locked layer",
    ),
    "every action": ("project/a.cedar", "forbid (principal, action, resource)", "belongs to the locked layer"),
    "another team than that of its folder": (
        "project/red/a.cedar",
        'forbid (principal in Team::"blue", action == Action::"execute", resource)',
        'add `principal in Team::"red"`',
    ),
    "everybody from the folder of one team": ("project/red/a.cedar", FORBID, 'add `principal in Team::"red"`'),
    "its team in a condition only": (
        "project/red/a.cedar",
        f'{FORBID} unless {{ principal in Team::"red" }}',
        'add `principal in Team::"red"`',
    ),
}


@pytest.mark.parametrize("case", PROJECT_RULES)
def test_a_project_layer_reaches_no_further_than_its_project(case: str) -> None:
    file, rule, said = PROJECT_RULES[case]
    with pytest.raises(PolicyError, match=re.escape(said)):
        Gate(with_rules(f'@id("own") @reason("x") {rule};', file=file))


@pytest.mark.parametrize(
    "rule",
    [
        'forbid (principal in Team::"red", action in [Action::"submit", Action::"use"], resource)',
        'forbid (principal is Agent in Team::"red", action == Action::"connect", resource)',
    ],
)
def test_the_layer_of_a_team_tightens_what_its_team_may_do(rule: str) -> None:
    gate = Gate(with_rules(f'@id("own") @reason("x") {rule};', file="project/red/a.cedar"))
    red = replace(ALICE, teams=("red",))
    for who, result in ((red, "own" if "submit" in rule else "run-developers"), (ALICE, "run-developers")):
        assert Asking(gate).run(request(who)).basis.rules == (result,)


def test_a_schema_in_a_project_layer_is_refused(shipped: PolicySet) -> None:
    files = dict(shipped.files)
    files["project/schema.cedarschema"] = files.pop("schema.cedarschema")
    with pytest.raises(PolicyError, match="the schema belongs to the locked layer"):
        Gate(PolicySet(files))


@pytest.mark.parametrize("name", ["schema.cedarschema", "profiles.toml"])
def test_a_set_without_its_schema_or_profiles_is_refused(shipped: PolicySet, name: str) -> None:
    files = dict(shipped.files)
    del files[name]
    with pytest.raises(PolicyError):
        Gate(PolicySet(files))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("schema.cedarschema", "entity A {"),
        ("lists.toml", "[hosts]\na = 1"),
        ("profiles.toml", "[p"),
        ("schema.cedarschema", ""),
    ],
)
def test_a_file_that_cannot_be_read_is_named(shipped: PolicySet, name: str, text: str) -> None:
    with pytest.raises(PolicyError) as raised:
        Gate(PolicySet(dict(shipped.files) | {name: text}))
    assert name.split(".", maxsplit=1)[0] in raised.value.message or ".cedar:" in raised.value.message


def test_two_schemas_are_refused(shipped: PolicySet) -> None:
    with pytest.raises(PolicyError, match="one schema file, this one has 2"):
        Gate(PolicySet(dict(shipped.files) | {"other.cedarschema": "entity A;"}))


def test_a_schema_that_lacks_an_attribute_is_refused() -> None:
    """Cedar would take it, and then answer every request with an error."""
    with pytest.raises(PolicyError, match="does not fit this release"):
        Gate(with_rules("", schema=("direct: Bool, ", "")))


def test_a_schema_that_lacks_an_action_is_refused() -> None:
    files = dict(with_rules("", schema=("action deploy appliesTo", "action spare appliesTo")).files)
    files["administration.cedar"] = files["administration.cedar"].replace(', Action::"deploy"', "")
    with pytest.raises(PolicyError, match="does not fit this release"):
        Gate(PolicySet(files))


def test_a_set_of_comments_is_refused(shipped: PolicySet) -> None:
    files = {name: text for name, text in shipped.files.items() if not name.endswith(".cedar")}
    with pytest.raises(PolicyError, match="no rule in the whole set"):
        Gate(PolicySet(files | {"a.cedar": "// nothing yet\n"}))
