"""Budgets are counted from the ledger, per principal, accountable human and team, and nobody uses up somebody else's alone."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from custody.flows.history import history_of
from custody.flows.house import House, new_id, now, open_house
from custody.flows.setup import initialise
from custody.ledger import Draft, events
from custody.policies import read_code
from custody.policies.types import Budgets, Usage
from custody.settings import load_settings
from tests.conftest import DIRECTORY

from .conftest import Ask, go, named

TEAMS = (
    DIRECTORY.replace(
        'roles = ["developer"]\n\n[agents.stray]', 'roles = ["developer"]\nteams = ["red"]\n\n[agents.stray]'
    )
    + '\n[agents.second]\nowner = "alice"\nroles = ["developer"]\nteams = ["blue", "red"]\n'
    + '\n[agents.other]\nowner = "carol"\nroles = ["developer"]\nteams = ["blue"]\n[teams.red]\n[teams.blue]\n'
)


@pytest.fixture
def team_house(tmp_path: Path) -> Iterator[House]:
    """A home that is forty days old: the ledger takes nothing that is older than its newest entry."""
    home = tmp_path / "teams"
    initialise(home, os_user="alice", directory=TEAMS, clock=lambda: now() - timedelta(days=40))
    with open_house(load_settings(home)) as house:
        yield house


def used(
    house: House, who: str, *, hours_ago: float, cpu_ms: int | None = 1500, out: int = 10, artefact: int = 7
) -> None:
    """Entries of a run that was executed so long ago."""
    time: datetime = house.clock() - timedelta(hours=hours_ago)
    run = new_id("run", time)
    output = events.OutputRecord(sha256="0" * 64, seen=out, truncated=False, redactions=0, payload=None)
    usage = events.UsageRecord(wall_ms=9000, cpu_ms=cpu_ms, peak_memory_bytes=None, peak_processes=None)
    collected = events.ArtefactCollected(
        name="a",
        sha256="0" * 64,
        bytes=artefact,
        redactions=0,
        content=(payload := house.ledger.seal(b"", media="x")).ref,
    )
    ended = events.RunFinished(
        end="executed",
        started=True,
        outcome="succeeded",
        explanation="",
        rules=(),
        usage=usage,
        stdout=output,
        stderr=output,
    )
    sent = events.EgressAttempted(
        host="h", port=1, allowed=True, reason="", source="", program_controlled=False, count=1, bytes_up=100
    )
    drafts = [
        Draft(id=f"{run}/{number}", event=event, actor=who, time=time, run=run)
        for number, event in enumerate((sent, collected, ended))
    ]
    house.ledger.append(drafts, [payload])


def spent(house: House, who: str) -> Budgets:
    return history_of(house.ledger, house.directory, named(house, who), now=house.clock()).spent


def test_nothing_was_used_in_a_new_home(house: House) -> None:
    assert spent(house, "scout") == Budgets()


def test_each_figure_is_counted_in_its_windows(team_house: House) -> None:
    for hours in (24 * 31, 24 * 20, 5, 0.5):
        used(team_house, "scout", hours_ago=hours)
    principal = spent(team_house, "scout").principal
    one = Usage(cpu_seconds=2, bytes_out=120, artefact_bytes=7)
    assert principal.hour == one
    assert principal.day == Usage(cpu_seconds=3, bytes_out=240, artefact_bytes=14)
    assert principal.month == Usage(cpu_seconds=5, bytes_out=360, artefact_bytes=21)


def test_unmeasured_cpu_time_counts_as_the_time_that_passed(team_house: House) -> None:
    used(team_house, "scout", hours_ago=0.1, cpu_ms=None)
    assert spent(team_house, "scout").principal.hour.cpu_seconds == 9


def test_an_owner_is_charged_for_agents_and_a_team_for_its_members(team_house: House) -> None:
    for who in ("scout", "second", "other", "alice"):
        used(team_house, who, hours_ago=0.1, cpu_ms=1000)
    second = spent(team_house, "second")
    assert second.principal.hour.cpu_seconds == 1
    assert second.owner.hour.cpu_seconds == 3
    assert second.team.hour.cpu_seconds == 2
    assert spent(team_house, "carol").owner.hour.cpu_seconds == 1
    assert spent(team_house, "bob") == Budgets()


@pytest.mark.jail
def test_runs_are_counted_as_they_are_submitted(house: House, ask: Ask) -> None:
    for _ in range(2):
        go(house, ask(who="scout"))
    budgets = spent(house, "scout")
    assert (budgets.principal.hour.runs, budgets.owner.day.runs, budgets.team.month.runs) == (2, 2, 0)
    assert spent(house, "alice").owner.hour.runs == 2
    assert spent(house, "alice").principal.hour.runs == 0
    assert budgets.principal.hour.bytes_out == 12


def test_a_used_up_budget_denies_its_principal_and_nobody_else(team_house: House, ask: Ask) -> None:
    used(team_house, "scout", hours_ago=2, cpu_ms=28_800_000)
    done = go(team_house, ask(who="scout", principal=named(team_house, "scout")))
    assert (done.end, done.rules) == ("denied", ("budget-agents-cpu",))
    for who in ("second", "other", "alice"):
        request = ask(principal=named(team_house, who))
        decision = team_house.gate.submit(
            request,
            packages=(),
            code=read_code(request.code, language="python", file_name=request.file_name),
            history=history_of(team_house.ledger, team_house.directory, request.principal, now=team_house.clock()),
            now=team_house.clock(),
            decision="d",
        )
        assert decision.basis.rules == ("submit-roles",), who


def test_a_common_budget_holds_the_run_for_a_person(team_house: House, ask: Ask) -> None:
    for who, cpu_ms in {"alice": 50_000_000, "scout": 20_000_000, "second": 20_000_000}.items():
        used(team_house, who, hours_ago=2, cpu_ms=cpu_ms)
    done = go(team_house, ask(principal=named(team_house, "scout")))
    assert (done.end, done.roles, done.rules) == ("held", ("security-reviewer",), ("budget-owner-cpu",))
