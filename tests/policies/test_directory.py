"""Who is who, and what a directory file is refused for."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import PolicyError
from custody.policies import Directory, Gate
from custody.policies.types import Denied, Permitted, PrincipalKind

from .asking import NOW

SMALL = """
[teams.data]
[teams.analytics]
in = ["data"]

[humans.alice]
os_user = "al"
roles = ["developer"]
teams = ["analytics"]

[humans.gone]
enabled = false

[agents.coder]
owner = "alice"
roles = ["runner"]

[services.nightly]
owner = "gone"
"""


def test_principals_are_as_the_file_says() -> None:
    directory = Directory.from_text(SMALL)
    alice, coder, nightly = (directory.principal(name) for name in ("alice", "coder", "nightly"))
    assert alice is not None
    assert coder is not None
    assert nightly is not None
    assert (alice.kind, alice.roles, alice.teams, alice.owner) == (
        PrincipalKind.HUMAN,
        ("developer",),
        ("analytics", "data"),
        None,
    )
    assert (coder.kind, coder.owner, coder.owner_enabled) == (PrincipalKind.AGENT, "alice", True)
    assert (nightly.kind, nightly.owner, nightly.owner_enabled) == (PrincipalKind.SERVICE, "gone", False)


def test_an_agent_has_its_own_roles_only() -> None:
    coder = Directory.from_text(SMALL).principal("coder")
    assert coder is not None
    assert (coder.roles, coder.teams) == (("runner",), ())


def test_an_os_user_is_found_by_login_and_not_by_name() -> None:
    directory = Directory.from_text(SMALL)
    found = directory.by_os_user("al", authentication="sudo-user")
    assert (found.id, found.known, found.authentication) == ("alice", True, "sudo-user")
    stranger = directory.by_os_user("alice")
    assert (stranger.id, stranger.known, stranger.roles) == ("os-user:alice", False, ())


@pytest.mark.parametrize("user", ["", "a b", "\x1b[2J", "\N{SNOWMAN}", "x" * 1000, "alice"])
def test_an_unknown_os_user_can_never_have_the_name_of_a_principal(user: str) -> None:
    stranger = Directory.from_text(SMALL).by_os_user(user)
    assert not stranger.known
    assert stranger.id.startswith("os-user:")
    assert stranger.id.isascii()
    assert stranger.id.isprintable()
    assert len(stranger.id) < 80


REFUSED = {
    "not TOML": ("[humans", ""),
    "an unknown kind": ("[robots.r2]", "robots"),
    "an unknown field": ('[humans.a]\nrole = ["developer"]', "humans.a.role"),
    "an agent without an owner": ("[agents.a]", "owner"),
    "an unknown owner": ('[agents.a]\nowner = "b"', "`a` is owned by `b`"),
    "an agent as owner": ('[humans.h]\n[agents.b]\nowner = "h"\n[agents.a]\nowner = "b"', "not among the humans"),
    "a name used by two kinds": ('[humans.a]\n[agents.a]\nowner = "a"', "are one name"),
    "names that differ in case only": ("[humans.alice]\n[humans.Alice]", "are one name"),
    "a name used twice": ("[humans.a]\n[humans.a]", ""),
    "a lookalike letter": ('[humans."\u0430lice"]', "pattern"),
    "a colon in a name": ('[humans."os-user:a"]', "pattern"),
    "an empty name": ('[humans.""]', "pattern"),
    "a long name": (f"[humans.{'a' * 65}]", "pattern"),
    "a role that is no word": ('[humans.a]\nroles = ["De veloper"]', "pattern"),
    "a login of two people": ('[humans.a]\nos_user = "x"\n[humans.b]\nos_user = "x"', "same OS user"),
    "a team that is not there": ('[humans.a]\nteams = ["t"]', "not among the teams"),
    "a team in a team that is not there": ('[teams.a]\nin = ["b"]', "not among the teams"),
    "a team in itself": ('[teams.a]\nin = ["a"]', "lies in itself"),
    "a circle of teams": ('[teams.a]\nin = ["b"]\n[teams.b]\nin = ["c"]\n[teams.c]\nin = ["a"]', "lies in itself"),
    "a chain of teams": (
        "".join(f'[teams.t{n}]\nin = ["t{n + 1}"]\n' for n in range(150)) + "[teams.t150]",
        "more than 100 teams",
    ),
    "a number without end": (f"x = {'9' * 5000}", "4300 digits"),
    "a text for a truth value": ('[humans.a]\nenabled = "false"', "enabled"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, why: str) -> None:
    with pytest.raises(PolicyError) as raised:
        Directory.from_text(text)
    assert why in raised.value.message
    assert raised.value.message.isprintable()


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "directory.toml").write_text(SMALL)
    assert Directory.from_file(tmp_path / "directory.toml").principal("alice") is not None


@pytest.mark.parametrize("content", [b"\xff", b"#" * (1024 * 1024 + 1), b"[humans"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "directory.toml"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=r"directory\.toml"):
        Directory.from_file(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "directory.toml")
    with pytest.raises(PolicyError, match="not a plain file"):
        Directory.from_file(tmp_path / "directory.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read the directory"):
        Directory.from_file(tmp_path / "directory.toml")


def test_the_starter_lets_one_person_do_everything_but_approve(gate: Gate) -> None:
    somebody = Directory.from_text(Directory.starter("somebody")).by_os_user("somebody")
    assert (somebody.id, somebody.known) == ("somebody", True)
    for action in (
        "readAudit",
        "verifyLedger",
        "runReview",
        "importAdvisories",
        "changePolicy",
        "managePrincipals",
        "deploy",
    ):
        assert isinstance(gate.act(somebody, action, now=NOW, decision="d"), Permitted)
    assert "security-reviewer" not in somebody.roles


def test_the_comments_of_the_starter_are_an_example_that_works(gate: Gate) -> None:
    text = Directory.starter("somebody")
    example = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.startswith(("# [", "# os_user", "# roles", "# owner"))
    )
    head = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    directory = Directory.from_text(f"{head}\n{example}")
    second, coder = directory.by_os_user("their-login"), directory.principal("coder")
    assert second.roles == ("security-reviewer",)
    assert coder is not None
    assert coder.owner == "somebody"


@given(st.text(min_size=1, max_size=40))
def test_the_starter_is_a_directory_for_any_os_user(user: str) -> None:
    text = Directory.starter(user)
    tomllib.loads(text)
    assert len(Directory.from_text(text).principals) == 1


def test_nobody_else_can_do_anything(gate: Gate) -> None:
    stranger = Directory.from_text(Directory.starter("somebody")).by_os_user("other")
    for action in ("readAudit", "verifyLedger", "changePolicy"):
        decision = gate.act(stranger, action, now=NOW, decision="d")
        assert isinstance(decision, Denied)
        assert decision.basis.rules == ("principal-known",)
