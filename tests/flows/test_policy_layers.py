"""Who may change which layer of the policies: decided by Cedar, by what would change, and never by what the caller says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.errors import CustodyError, Exit, PolicyError
from custody.flows.house import House, open_house, policies_in_force
from custody.flows.policy import apply_policies
from custody.ledger import events
from custody.policies import PolicySet

from ..conftest import DIRECTORY, MakeHome
from .conftest import named

LEADS = (
    DIRECTORY
    + '\n[humans.lena]\nos_user = "lena"\nroles = ["project-lead"]\n\n[agents.bot]\nowner = "lena"\nroles = ["project-lead"]\n'
)


@pytest.fixture
def led(make_home: MakeHome) -> Iterator[House]:
    """A home with a project lead."""
    with open_house(make_home(directory=LEADS)) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped policies with a project layer, whose rule holds every program to 64 MiB."""
    place = tmp_path / "policies"
    PolicySet.shipped().write_to(place)
    (place / "project" / "tests").mkdir(parents=True)
    (place / "project" / "small.cedar").write_text(
        '@id("project-small")\n@reason("Programs of this project stay small")\n'
        'forbid (principal in Team::"small", action == Action::"execute", resource)\n'
        "when { context.limits.memory_mib > 64 };\n"
    )
    (place / "project" / "tests" / "small.yaml").write_text(
        "principals: {sam: {roles: [developer], teams: [small]}}\n"
        "rules:\n  project-small:\n"
        "    - {name: a big one does not run, by: sam, limits: {memory_mib: 65}, expect: denied, rules: [project-small]}\n"
        "    - {name: a small one does, by: sam, limits: {memory_mib: 64}, expect: allowed, rules: [run-developers]}\n"
    )
    return place


def newest(house: House) -> events.PolicyDecided:
    event = next(house.ledger.entries(kinds=("policy:decided",), newest_first=True)).event
    assert isinstance(event, events.PolicyDecided)
    return event


def denied(house: House, who: str, folder: Path, *, dry_run: bool = False) -> str:
    before = policies_in_force(house.ledger)
    with pytest.raises(CustodyError) as caught:
        apply_policies(house, named(house, who), folder, dry_run=dry_run)
    assert caught.value.exit_code == Exit.DENIED
    assert policies_in_force(house.ledger) == before
    return caught.value.message


def test_a_project_lead_puts_a_project_layer_in_force(led: House, folder: Path) -> None:
    applied = apply_policies(led, named(led, "lena"), folder)
    assert (applied.changed, applied.layers) == (True, ("project",))
    decided = newest(led)
    assert (decided.rules, decided.subject.endswith("(project)")) == (("policy-project-leads",), True)
    assert policies_in_force(led.ledger) == PolicySet.from_folder(folder)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("name", ["runs.cedar", "lists.toml", "profiles.toml", "schema.cedarschema", "tests/runs.yaml"])
def test_a_project_lead_changes_no_byte_of_the_locked_layer(led: House, folder: Path, name: str, dry_run: bool) -> None:  # noqa: FBT001 - because a parameter of a test
    text = (folder / name).read_text()
    (folder / name).write_text(text + ("// a comment\n" if name.endswith(("cedar", "schema")) else "# a comment\n"))
    assert "(locked, project)" in denied(led, "lena", folder, dry_run=dry_run)


def test_a_project_lead_removes_no_file_of_the_locked_layer(led: House, folder: Path) -> None:
    (folder / "tests" / "network.yaml").unlink()
    assert "(locked, project)" in denied(led, "lena", folder)


def test_a_folder_that_was_copied_before_the_locked_layer_changed_is_a_change_of_it(
    led: House, folder: Path, tmp_path: Path
) -> None:
    newer = tmp_path / "newer"
    PolicySet.shipped().write_to(newer)
    (newer / "lists.toml").write_text((newer / "lists.toml").read_text() + "# newer\n")
    apply_policies(led, named(led, "alice"), newer)
    assert "(locked, project)" in denied(led, "lena", folder)


def test_a_right_that_was_taken_away_a_moment_ago_counts_for_nothing(led: House, folder: Path, tmp_path: Path) -> None:
    """The house was opened before: what decides is the set in force now."""
    without = tmp_path / "without"
    PolicySet.shipped().write_to(without)
    text = (without / "administration.cedar").read_text()
    rule = text[text.index('@id("policy-project-leads")') : text.index('@id("principals-read")')]
    (without / "administration.cedar").write_text(text.replace(rule, ""))
    cases = (without / "tests" / "administration.yaml").read_text()
    start, end = cases.index("  policy-project-leads:"), cases.index("  policy-admins:")
    (without / "tests" / "administration.yaml").write_text(cases[:start] + cases[end:])
    with open_house(led.settings) as other:
        apply_policies(other, named(other, "alice"), without)
    (folder / "administration.cedar").write_text((without / "administration.cedar").read_text())
    (folder / "tests" / "administration.yaml").write_text((without / "tests" / "administration.yaml").read_text())
    assert "(project)" in denied(led, "lena", folder)


@pytest.mark.parametrize("who", ["bot", "bob", "gone", "scout"])
def test_nobody_else_changes_a_project_layer(led: House, folder: Path, who: str) -> None:
    denied(led, who, folder)


def test_a_project_layer_that_reaches_for_more_is_refused_on_record(led: House, folder: Path) -> None:
    (folder / "project" / "small.cedar").write_text(
        '@id("project-small") @reason("Mine")\n'
        'forbid (principal in Role::"policy-admin", action == Action::"changePolicy", resource);\n'
    )
    with pytest.raises(PolicyError, match="belongs to the locked layer"):
        apply_policies(led, named(led, "lena"), folder)
    event = next(led.ledger.entries(kinds=("policy:rejected",), newest_first=True)).event
    assert isinstance(event, events.PolicyRejected)
    assert event.author == "lena"
    assert policies_in_force(led.ledger) == PolicySet.shipped()


def test_what_is_wrong_with_a_folder_is_told_only_to_those_who_may_change_something(led: House, folder: Path) -> None:
    (folder / "project" / "small.cedar").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="not UTF-8"):
        apply_policies(led, named(led, "lena"), folder)
    assert "UTF-8" not in denied(led, "bob", folder)
