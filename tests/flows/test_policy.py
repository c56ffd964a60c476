"""Changing policies: whole, tested, decided and on record, or nothing changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import CustodyError, Exit, PolicyError, UsageError
from custody.flows.approvals import approve
from custody.flows.checking import check
from custody.flows.conduct import continue_run
from custody.flows.explanation import why_decided, why_would
from custody.flows.house import House, open_house, policies_by_digest, policies_in_force
from custody.flows.machine import doctor
from custody.flows.policy import apply_policies, edits_of
from custody.ledger import events
from custody.policies import Gate, PolicySet
from custody.policies.types import HostRequest, Limits

from .conftest import HIDDEN, Ask, go, kinds, named

EXTRA = """
@id("no-tickets")
@reason("A run needs a ticket")
@control("CM-3")
forbid (principal, action == Action::"execute", resource) when { context.common.ticket == "" };
"""
EXTRA_TESTS = """
rules:
  no-tickets:
    - {name: without a ticket nothing runs, expect: denied, rules: [no-tickets]}
    - {name: with one it does, ticket: CHG-1, expect: allowed, rules: [run-developers]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policies, to change."""
    place = tmp_path / "policies"
    PolicySet.shipped().write_to(place)
    return place


def newest(house: House, kind: str) -> events.Event:
    event = next(house.ledger.entries(kinds=(kind,), newest_first=True)).event
    assert event is not None
    return event


def add_rule(folder: Path) -> Path:
    """A folder with one more rule that concerns agents only, and its tests."""
    (folder / "extra.cedar").write_text(EXTRA.replace("(principal, action", "(principal is Agent, action"))
    tests = EXTRA_TESTS.replace("runs, expect", "runs, by: ticketless, expect").replace(
        "it does,", "it does, by: ticketless,"
    )
    (folder / "tests" / "extra.yaml").write_text(
        "principals: {ticketless: {kind: agent, owner: alice, roles: [developer]}}\n" + tests
    )
    # agents in the shipped cases carry no ticket: here they all do
    for path in (folder / "tests").glob("*.yaml"):
        if path.name != "extra.yaml":
            text = path.read_text(encoding="utf-8")
            for name in ("coder", "heavy-coder", "bobs-agent", "helper", "orphan", "stray", "judge-bot"):
                text = text.replace(f"by: {name},", f"by: {name}, ticket: T-1,").replace(
                    f"by: {name}\n", f"by: {name}\n      ticket: T-1\n"
                )
            path.write_text(text, encoding="utf-8")
    return folder


def test_an_applied_set_is_in_force_with_author_digest_and_diff(house: House, folder: Path) -> None:
    before = house.policies
    applied = apply_policies(house, named(house, "alice"), add_rule(folder), comment="tickets for agents")
    stored = PolicySet.from_folder(folder)
    assert (applied.changed, applied.policy_sha256, applied.previous_sha256) == (True, stored.digest, before.digest)
    changed = newest(house, "policy:changed")
    assert isinstance(changed, events.PolicyReplaced)
    assert (changed.author, changed.previous_sha256, changed.comment) == ("alice", before.digest, "tickets for agents")
    assert house.ledger.read_payload(changed.policy_set) == stored.to_bytes()
    assert b'+@id("no-tickets")' in house.ledger.read_payload(changed.difference)
    decided = newest(house, "policy:decided")
    assert isinstance(decided, events.PolicyDecided)
    assert (decided.stage, decided.decision) == ("changePolicy", changed.decision)
    with open_house(house.settings) as again:
        assert again.policies == stored
        assert again.gate.rule("no-tickets") is not None
    assert policies_by_digest(house.ledger, before.digest) == before


def test_the_working_copy_follows_unless_it_was_edited(house: House, folder: Path) -> None:
    assert apply_policies(house, named(house, "alice"), add_rule(folder)).working_copy == "written"
    assert PolicySet.from_folder(house.places.policies) == PolicySet.from_folder(folder)
    (house.places.policies / "lists.toml").write_text("# edited\n")
    (folder / "lists.toml").write_text((folder / "lists.toml").read_text() + "# another\n")
    assert apply_policies(house, named(house, "alice"), folder).working_copy == "edited"
    assert (house.places.policies / "lists.toml").read_text() == "# edited\n"


def test_applying_what_is_in_force_changes_nothing(house: House, folder: Path) -> None:
    size = house.ledger.count(kinds=("policy:changed",))
    assert not apply_policies(house, named(house, "alice"), folder).changed
    assert house.ledger.count(kinds=("policy:changed",)) == size


def test_a_dry_run_shows_the_difference_and_changes_nothing(house: House, folder: Path) -> None:
    applied = apply_policies(house, named(house, "alice"), add_rule(folder), dry_run=True)
    assert not applied.changed
    assert '+@id("no-tickets")' in applied.difference
    assert policies_in_force(house.ledger) == PolicySet.shipped()


@pytest.mark.parametrize("who", ["bob", "scout", "gone"])
def test_who_may_not_change_policies_is_refused_on_record(house: House, folder: Path, who: str) -> None:
    with pytest.raises(CustodyError) as caught:
        apply_policies(house, named(house, who), add_rule(folder))
    assert caught.value.exit_code == Exit.DENIED
    denied = newest(house, "access:denied")
    assert isinstance(denied, events.AccessDenied)
    assert (denied.action, denied.source) == ("changePolicy", who)
    assert policies_in_force(house.ledger) == PolicySet.shipped()


RULE = '@id("{id}") @reason("x") forbid (principal, action == Action::"execute", resource) when {{ {when} }};\n'


def append(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(
        ((folder / name).read_text() if (folder / name).exists() else "") + text
    )


def project_permit(folder: Path) -> None:
    (folder / "project").mkdir()
    permit = RULE.format(id="x", when="true").replace("forbid", "permit")
    (folder / "project" / "x.cedar").write_text(permit)


def remove_rules(folder: Path) -> None:
    for path in folder.glob("*.cedar"):
        path.unlink()


BAD = {
    "a broken rule": (append("x.cedar", RULE.format(id="x", when="context.limits.memory_mib >")), "x.cedar:1"),
    "a condition that does not parse": (append("x.cedar", RULE.format(id="x", when="1 = 2")), "x.cedar:1"),
    "an unknown attribute": (append("x.cedar", RULE.format(id="x", when="context.nothing")), "x.cedar:1"),
    "a misspelt attribute": (append("x.cedar", RULE.format(id="x", when="context.code.parsd")), "x.cedar:1"),
    "an optional attribute that may be absent": (
        append("x.cedar", RULE.format(id="x", when="resource.age_days < 7").replace("execute", "install")),
        "x.cedar:1",
    ),
    "a duplicate id": (append("x.cedar", RULE.format(id="lockout", when="context.code.parsed")), "also used at"),
    "a rule without a test": (append("x.cedar", RULE.format(id="x", when="context.code.parsed")), "has no test"),
    "no rules at all": (remove_rules, "holds no rules"),
    "a case that fails": (
        append("tests/mounts.yaml", "    - {name: wrong, expect: denied, rules: [run-developers]}\n"),
        "expected denied",
    ),
    "a permit in a project layer": (project_permit, "project layer"),
    "an unknown field in the settings": (append("profiles.toml", "[default2]\nunknown = 1\n"), "profiles.toml"),
    "a secret in a comment": (append("lists.toml", f"# ghp_{'A' * 36}\n"), "looks like a secret"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_set_is_refused_with_a_sentence_and_the_old_one_stays(house: House, folder: Path, case: str) -> None:
    spoil, said = BAD[case]
    spoil(folder)
    with pytest.raises(PolicyError, match=said.replace(".", r"\.")) as caught:
        apply_policies(house, named(house, "alice"), folder)
    assert caught.value.hint
    rejected = newest(house, "policy:rejected")
    assert isinstance(rejected, events.PolicyRejected)
    assert rejected.author == "alice"
    assert said in " ".join(rejected.problems)
    assert policies_in_force(house.ledger) == PolicySet.shipped()
    assert "ghp_A" not in " ".join(rejected.problems)
    with open_house(house.settings) as again:
        assert again.policies == PolicySet.shipped()


def test_a_set_that_nobody_could_change_again_is_refused(house: House, folder: Path) -> None:
    """Its own tests speak of people that are not in the directory: they may, and nobody who is there may."""
    (folder / "x.cedar").write_text(
        '@id("frozen") @reason("x") @control("CM-5")\n'
        'forbid (principal, action == Action::"changePolicy", resource)\n'
        'unless { ["paula", "lena"].contains(principal.name) };\n'
    )
    tests = folder / "tests" / "administration.yaml"
    lines = []
    for line in tests.read_text().splitlines(keepends=True):
        if "changePolicy" in line and "by: paula" not in line and "by: lena" not in line:
            line = line.replace("[default-deny]", "[frozen]").replace(  # noqa: PLW2901 - a line, changed
                "[policy-people-only]", "[frozen, policy-people-only]"
            )
        lines.append(line)
    tests.write_text("".join(lines))
    (folder / "tests" / "x.yaml").write_text(
        "rules:\n  frozen:\n"
        "    - {name: others do not, stage: act, action: changePolicy, by: carol, expect: denied, rules: [frozen]}\n"
        "    - {name: some do, stage: act, action: changePolicy, by: paula, expect: allowed, rules: [policy-admins]}\n"
    )
    with pytest.raises(PolicyError, match="nobody in the directory could change policies again"):
        apply_policies(house, named(house, "alice"), folder)


def test_of_two_changes_at_the_same_moment_one_is_written(
    house: House, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    PolicySet.shipped().write_to(other)
    (other / "lists.toml").write_text((other / "lists.toml").read_text() + "# another\n")
    real = Gate.lint

    def meanwhile(policies: PolicySet) -> object:
        monkeypatch.setattr(Gate, "lint", staticmethod(real))
        apply_policies(house, named(house, "alice"), other)
        return real(policies)

    monkeypatch.setattr(Gate, "lint", staticmethod(meanwhile))
    with pytest.raises(PolicyError, match="at the same moment"):
        apply_policies(house, named(house, "alice"), add_rule(folder))
    assert policies_in_force(house.ledger) == PolicySet.from_folder(other)


def test_edited_files_count_for_nothing_and_check_and_doctor_say_so(house: House, ask: Ask) -> None:
    assert not edits_of(house)
    everything = '@id("all") @reason("x") permit (principal, action == Action::"connect", resource);\n'
    (house.places.policies / "network.cedar").write_text(everything)
    assert edits_of(house).names == ("network.cedar",)
    checked = check(house, ask(hosts=(HostRequest("api.example.org", 443),)))
    assert checked.result == "denied"
    assert any("network.cedar" in note for note in checked.notes)
    (found,) = [c for c in doctor(house) if c.name == "policy folder"]
    assert (found.state, bool(found.cure)) == ("warning", True)


def test_a_folder_that_cannot_be_read_is_said(house: House) -> None:
    (house.places.policies / "broken.cedar").write_bytes(b"\xff")
    assert "not UTF-8" in str(edits_of(house))


@pytest.mark.jail
def test_every_decision_of_a_session_can_be_made_again_across_a_change(house: House, ask: Ask, folder: Path) -> None:
    runs = [
        go(house, ask()),
        go(house, ask(hosts=(HostRequest("api.example.org", 443),))),
        go(house, ask(HIDDEN, who="scout")),
        go(house, ask(who="gone")),
        go(house, ask(limits=Limits(memory_mib=256))),
    ]
    held = runs[2].run
    with pytest.raises(CustodyError):
        approve(house, held, named(house, "alice"), comment="")
    check(house, ask())
    apply_policies(house, named(house, "alice"), add_rule(folder))
    with open_house(house.settings) as later:
        go(later, ask(who="scout"))
        assert continue_run(later, held, named(later, "scout")).end == "denied"
        decisions = [e.event for e in later.ledger.entries(kinds=("policy:decided",))]
        sets = {e.policy_sha256 for e in decisions if isinstance(e, events.PolicyDecided)}
        assert len(sets) == 2
        assert len(decisions) > 14
        for decided in decisions:
            assert isinstance(decided, events.PolicyDecided)
            (explained,) = why_decided(later, named(later, "alice"), decided.decision)
            assert (explained.again, explained.result) == ("same", decided.result), explained
            assert explained.in_force == (decided.policy_sha256 == later.policies.digest)
            assert explained.sentences


def test_a_decision_is_explained_to_whoever_may_read_it(house: House, ask: Ask) -> None:
    done = go(house, ask(who="scout", hosts=(HostRequest("10.0.0.1", 443),)))
    (submitted, decided) = why_decided(house, named(house, "scout"), done.run)
    assert (submitted.stage, submitted.result) == ("submit", "allowed")
    assert (decided.stage, decided.result) == ("run", "denied")
    assert any("rule `net-no-private-addresses`" in sentence for sentence in decided.sentences)
    assert not any(".cedar:" in sentence for sentence in decided.sentences), "places are for auditors"
    assert any(".cedar:" in s for s in why_decided(house, named(house, "alice"), done.run)[1].sentences)
    read = newest(house, "ledger:read")
    assert isinstance(read, events.LedgerRead)
    assert read.what == f"why {done.run}"
    with pytest.raises(CustodyError) as caught:
        why_decided(house, replace(named(house, "scout"), id="other"), done.run)
    assert caught.value.exit_code == Exit.DENIED


@pytest.mark.parametrize("name", ["run-20260101T000000-0000000000", "dec-20260101T000000-0000000000", "\x1b[2J"])
def test_what_was_never_decided_is_said(house: House, name: str) -> None:
    with pytest.raises(UsageError, match="no run or decision"):
        why_decided(house, named(house, "alice"), name)


def test_other_policies_answer_before_they_are_in_force(house: House, ask: Ask, folder: Path) -> None:
    add_rule(folder)
    would = why_would(house, ask(who="scout"), candidate=folder)
    assert (would.checked.result, would.checked.basis.rules) == ("denied", ("no-tickets",))
    assert any("A run needs a ticket" in sentence for sentence in would.sentences)
    assert why_would(house, ask(who="scout")).checked.result == "allowed"
    assert policies_in_force(house.ledger) == PolicySet.shipped()


@pytest.mark.jail
def test_a_past_run_is_judged_by_other_policies(house: House, ask: Ask, folder: Path) -> None:
    done = go(house, ask(who="scout"))
    (_, decided) = why_decided(house, named(house, "alice"), done.run, candidate=add_rule(folder))
    assert (decided.result, decided.under, decided.under_rules) == ("allowed", "denied", ("no-tickets",))


@pytest.mark.jail
def test_an_approval_given_before_the_policies_changed_counts_for_nothing(house: House, ask: Ask, folder: Path) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    approve(house, held.run, named(house, "bob"), comment="")
    (folder / "lists.toml").write_text((folder / "lists.toml").read_text() + "# one comment more\n")
    apply_policies(house, named(house, "alice"), folder)
    with open_house(house.settings) as later:
        again = continue_run(later, held.run, named(later, "scout"))
        assert again.end == "held"
        assert "approval-binding" in {reason.rule for reason in again.reasons}
        denied = [e.event for e in later.ledger.entries(run=held.run, kinds=("access:denied",))]
        assert [(d.action, d.rules) for d in denied if isinstance(d, events.AccessDenied)] == [
            ("execute", ("approval-binding",))
        ]
        approve(later, held.run, named(later, "bob"), comment="as it is now")
        assert continue_run(later, held.run, named(later, "scout")).end == "executed"


@pytest.mark.jail
def test_what_was_held_under_other_policies_cannot_be_approved(house: House, ask: Ask, folder: Path) -> None:
    held = go(house, ask(HIDDEN, who="scout"))
    (folder / "lists.toml").write_text((folder / "lists.toml").read_text() + "# one comment more\n")
    apply_policies(house, named(house, "alice"), folder)
    with open_house(house.settings) as later:
        with pytest.raises(CustodyError, match="policies were changed"):
            approve(later, held.run, named(later, "bob"), comment="")
        assert kinds(later, held.run)[-2:] == ["policy:decided", "access:denied"]
