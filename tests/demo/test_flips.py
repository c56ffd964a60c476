"""One rule or one limit is changed, and exactly the expected entries of one program change with it."""

import difflib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from custody.policies import PolicySet, run_rule_tests
from custody.policies.loading import load

from .telling import observed, play, sequence
from .test_goldens import golden_of

pytestmark = [pytest.mark.jail, pytest.mark.online]


def _without(name: str) -> Callable[[str], str]:
    """Take a rule out."""
    return lambda text: re.sub(rf'@id\("{name}"\)\n.*?;\n', "", text, flags=re.DOTALL)


def _final(name: str) -> Callable[[str], str]:
    """Take away what an approval can do about a rule: it just forbids."""

    def change(text: str) -> str:
        rule = re.search(rf'@id\("{name}"\)\n.*?;\n', text, re.DOTALL)
        assert rule is not None
        plain = re.sub(r'@approval\("[^"]*"\)\n', "", rule[0])
        return text.replace(rule[0], re.sub(r"\nunless \{ [^}]* \};\n", ";\n", plain))

    return change


def _cap(profile: str, limit: str, value: int) -> Callable[[str], str]:
    """Change a cap of a profile."""
    pattern = rf"(\[{profile}\.caps\]\n(?:\w+ = \d+\n)*{limit} = )\d+\n"
    return lambda text: re.sub(pattern, rf"\g<1>{value}\n", text)


_CAME = {
    "expect": re.compile(r"expected \w+, got (?P<came>\w+)"),
    "rules": re.compile(r"expected the rules .*, got (?P<came>.*)"),
    "changed_by": re.compile(r"expected changes by .*, got (?P<came>.*)"),
    "limits_left": re.compile(r"expected (?P<limit>\w+) \d+, got (?P<came>\d+)"),
}


def expect_what_comes(folder: Path) -> None:
    """Give the rule tests of a changed folder the outcomes that it has now: no set without passing tests comes into force."""
    policies = PolicySet.from_folder(folder)
    results = iter(run_rule_tests(policies))
    there = {rule.id for rule in load(policies).rules}
    for file, text in policies.texts(".yaml").items():
        told = yaml.safe_load(text)
        for cases in told.get("rules", {}).values():
            for case in cases:
                for problem in next(results).problems:
                    _mend(case, problem)
        told["rules"] = {rule: cases for rule, cases in told.get("rules", {}).items() if rule in there}
        (folder / file).write_text(yaml.safe_dump(told), encoding="utf-8")


def _mend(case: dict[str, object], problem: str) -> None:
    name, found = next((name, found) for name, said in _CAME.items() if (found := said.fullmatch(problem)))
    came = found["came"]
    if name == "limits_left":
        case[name] = {**dict(case[name]), found["limit"]: int(came)}  # type: ignore[call-overload]  # a mapping, as the file has it
    else:
        case[name] = came if name == "expect" else [] if came == "none" else came.split(", ")


class Flip(NamedTuple):
    """A change of one file of the policy folder, and what comes of it."""

    program: str
    file: str
    change: Callable[[str], str]
    difference: list[str]


FLIPS = {
    "the rule that forbids all egress is gone: the profile's own still denies it": Flip(
        "fetch_rates.py",
        "network.cedar",
        _without("net-no-egress"),
        [
            "- policy:decided run denied by net-no-egress, net-profile",
            "- run:finished denied, by net-no-egress, net-profile",
            "+ policy:decided run denied by net-profile",
            "+ run:finished denied, by net-profile",
        ],
    ),
    "both rules about egress are gone: nothing permits it": Flip(
        "fetch_rates.py",
        "network.cedar",
        lambda text: _without("net-no-egress")(_without("net-profile")(text)),
        [
            "- policy:decided run denied by net-no-egress, net-profile",
            "- run:finished denied, by net-no-egress, net-profile",
            "+ policy:decided run denied by default-deny",
            "+ run:finished denied, by default-deny",
        ],
    ),
    "hiding what a program does is forbidden, whoever agrees": Flip(
        "obfuscated.py",
        "code.cedar",
        _final("code-obfuscated"),
        [
            "- policy:decided run needs_approval by code-obfuscated",
            "- run:held for security-reviewer",
            "- policy:decided approve allowed by approve-reviewers",
            "- approval:granted as security-reviewer",
            "- policy:decided run allowed by run-developers",
            "- run:claimed",
            "- approval:consumed",
            "- run:started",
            "- run:finished executed succeeded, by run-developers",
            "+ policy:decided run denied by code-obfuscated",
            "+ run:finished denied, by code-obfuscated",
        ],
    ),
    "packages with advisories of high severity are let in": Flip(
        "old_client.py",
        "packages.cedar",
        _without("deps-high"),
        [
            "- policy:decided run denied by deps-high",
            "- run:finished blocked, by deps-high",
            "+ policy:decided run allowed by install-roles, run-developers",
            "+ environment:built",
            "+ run:claimed",
            "+ run:started",
            "+ run:finished executed succeeded, by install-roles, run-developers",
        ],
    ),
    "only one artefact is taken": Flip(
        "make_chart.py",
        "profiles.toml",
        _cap("demo", "artefacts", 1),
        ["- artefact:collected figures.json"],
    ),
    "there is room for one file beside the program's own": Flip(
        "make_chart.py",
        "profiles.toml",
        _cap("demo", "files", 4),
        [
            "- artefact:collected chart.svg",
            "- run:finished executed succeeded, by run-developers",
            "+ run:finished executed failed, limits hit: inodes, by run-developers",
        ],
    ),
}


@pytest.mark.parametrize("name", FLIPS)
def test_a_flip_changes_exactly_the_expected_entries(name: str, tmp_path: Path, os_user: str) -> None:
    flip = FLIPS[name]
    folder = tmp_path / "policies"
    shutil.copytree(PolicySet.shipped_folder(), folder)
    text = (folder / flip.file).read_text()
    changed = flip.change(text)
    assert changed != text
    (folder / flip.file).write_text(changed)
    expect_what_comes(folder)
    told = play(tmp_path / "demo", os_user=os_user, only=[flip.program], policies=folder)
    golden = golden_of(told.layers, flip.program).read_text()
    new = told.programs[flip.program]
    difference = [line for line in difflib.ndiff(sequence(golden), sequence(new)) if line[0] in "+-"]
    assert sorted(difference) == sorted(flip.difference)
    assert observed(new) == observed(golden)
