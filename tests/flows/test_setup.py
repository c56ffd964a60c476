"""`custody init` makes a whole home or none."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.errors import ConfigurationError, PolicyError, UsageError
from custody.flows.house import Places, open_house, open_ledger, policies_in_force
from custody.flows.setup import initialise
from custody.ledger import events
from custody.policies import PolicySet
from custody.settings import load_settings
from tests.conftest import MakeHome


def test_a_new_home_opens_and_its_ledger_begins_in_order(make_home: MakeHome) -> None:
    with open_house(make_home()) as house:
        kinds = [entry.kind for entry in house.ledger.entries()]
        assert kinds[:2] == ["ledger:opened", "policy:changed"]
        assert set(kinds[2:]) == {"principal:added"}
        assert house.policies == PolicySet.shipped()


def test_home_and_keys_belong_to_their_owner_alone(make_home: MakeHome) -> None:
    settings = make_home()
    places = Places(settings.home)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    for path in (*places.ledger.keys.iterdir(), *places.ledger.database.parent.iterdir()):
        if path.name != "verifier.key":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


def test_a_home_is_never_made_twice(make_home: MakeHome) -> None:
    settings = make_home()
    before = open_ledger(settings).size
    with pytest.raises(UsageError, match="exists already"):
        initialise(settings.home, os_user="alice")
    assert open_ledger(settings).size == before


def test_an_unusable_policy_folder_leaves_no_home(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "broken.cedar").write_text(
        '@id("x") @reason("y") permit (principal, action, resource) when { context.nothing == };'
    )
    with pytest.raises(PolicyError):
        initialise(tmp_path / "home", os_user="alice", policies=folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policies"]


UNTESTED = """
@id("no-tickets")
@reason("A run needs a ticket")
@control("CM-3")
forbid (principal, action == Action::"execute", resource) when { context.common.ticket == "none" };
"""
FROZEN = """
@id("frozen")
@reason("Nothing changes any more")
@control("CM-3")
forbid (principal == Human::"alice", action == Action::"changePolicy", resource);
"""
FROZEN_CASES = """
rules:
  frozen:
    - {name: alice changes nothing, stage: act, action: changePolicy, expect: denied, rules: [frozen]}
    - {name: others do, stage: act, action: changePolicy, by: paula, expect: allowed, rules: [policy-admins]}
"""


def without_a_test(folder: Path) -> None:
    (folder / "extra.cedar").write_text(UNTESTED)


def with_a_failing_case(folder: Path) -> None:
    with (folder / "tests" / "mounts.yaml").open("a") as file:
        file.write("    - {name: wrong, expect: denied, rules: [run-developers]}\n")


def with_an_unknown_control(folder: Path) -> None:
    text = (folder / "network.cedar").read_text()
    (folder / "network.cedar").write_text(text.replace('@control("', '@control("ZZ-99 ', 1))


def with_a_secret(folder: Path) -> None:
    with (folder / "lists.toml").open("a") as file:
        file.write(f"# ghp_{'A' * 36}\n")


def with_a_known_secret(folder: Path) -> None:
    with (folder / "lists.toml").open("a") as file:
        file.write("# the-password-of-this-machine\n")


def that_nobody_can_change(folder: Path) -> None:
    (folder / "extra.cedar").write_text(FROZEN)
    (folder / "tests" / "extra.yaml").write_text(FROZEN_CASES)
    tests = folder / "tests" / "administration.yaml"
    told = tests.read_text()
    wanted = "{name: a developer does not, stage: act, action: changePolicy, expect: denied, rules: [default-deny]}"
    assert wanted in told
    told = told.replace(wanted, wanted.replace("default-deny", "frozen"))
    tests.write_text(
        told.replace(
            "layers: [project], expect: denied, rules: [default-deny]",
            "layers: [project], expect: denied, rules: [frozen]",
        )
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_a_test, "has no test in which it fires"),
        (with_a_failing_case, "expected denied, got allowed"),
        (with_an_unknown_control, "ZZ-99"),
        (with_a_secret, "looks like a secret"),
        (with_a_known_secret, "looks like a secret"),
        (that_nobody_can_change, "nobody in the directory could change policies again"),
    ],
)
def test_a_folder_is_held_to_the_same_as_by_policy_apply(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "policies"
    PolicySet.shipped().write_to(folder)
    spoil(folder)
    with pytest.raises(PolicyError, match=said):
        initialise(tmp_path / "home", os_user="alice", policies=folder, secret_values=("the-password-of-this-machine",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policies"]


def test_a_folder_that_is_whole_is_put_in_force(make_home: MakeHome, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    PolicySet.shipped().write_to(folder)
    (folder / "lists.toml").write_text((folder / "lists.toml").read_text() + "# ours\n")
    with open_house(make_home(policies=folder)) as house:
        assert house.policies == PolicySet.from_folder(folder)


def test_a_folder_of_many_files_fits_into_its_entry(make_home: MakeHome, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    PolicySet.shipped().write_to(folder)
    for number in range(400):
        (folder / f"{number:03}-{'x' * 80}.cedar").write_text("// nothing yet\n")
    with open_house(make_home(policies=folder)) as house:
        assert len(house.policies.files) > 400
        changed = next(e.event for e in house.ledger.entries(kinds=("policy:changed",)))
        assert isinstance(changed, events.PolicyChanged)
        assert 20 < len(changed.files) < 100


def test_an_unusable_directory_leaves_no_home(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        initialise(tmp_path / "home", os_user="alice", directory="[agents.a]\nowner = 'nobody-there'\n")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        initialise(tmp_path / "file" / "home", os_user="alice")


def test_edited_policy_files_change_nothing_until_they_are_applied(make_home: MakeHome) -> None:
    settings = make_home()
    for path in Places(settings.home).policies.rglob("*.cedar"):
        path.write_text('@id("all") @reason("everything") permit (principal, action, resource);')
    with open_ledger(settings) as ledger:
        assert policies_in_force(ledger) == PolicySet.shipped()


def test_no_home_is_said_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_ledger(load_settings(tmp_path / "nowhere"))
    assert "custody init" in caught.value.hint
