"""What all tests share: homes of their own, and the rule that nothing important may be skipped in CI."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custody.flows.house import House, open_house
from custody.flows.setup import initialise
from custody.settings import Settings, load_settings

NEVER_SKIPPED = ("jail", "browser", "mounts", "prefect")
"""Markers whose tests may be skipped on a bare machine, but not where the project judges itself."""

DIRECTORY = """\
[humans.alice]
os_user = "alice"
roles = ["developer", "auditor", "operator", "policy-admin"]

[humans.bob]
os_user = "bob"
roles = ["security-reviewer"]

[humans.carol]
os_user = "carol"
roles = ["developer", "security-reviewer"]

[humans.gone]
os_user = "gone"
roles = ["developer"]
enabled = false

[agents.scout]
owner = "alice"
roles = ["developer"]

[agents.stray]
owner = "gone"
roles = ["developer"]
"""

MakeHome = Callable[..., Settings]

_skipped: list[str] = []


def pytest_configure() -> None:
    """What nohup or a shell's background made these tests ignore is not ignored by the commands that they start and interrupt.

    A signal that is taken is back at its default in a new program; one that is ignored stays so.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped though it must not be; what doctor says of a machine is accepted of an attack, never of all of a group."""
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and "Skipped: the doctor says: " not in str(report.longrepr)
        and any(marker in report.keywords for marker in NEVER_SKIPPED)
    ):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test of the jail, the browser, a full disk or Prefect is a failure."""
    if os.environ.get("CI") and _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which ones."""
    if os.environ.get("CI") and _skipped:
        terminalreporter.section("skipped, which CI does not accept")
        for name in _skipped:
            terminalreporter.line(name)


@pytest.fixture
def make_home(tmp_path: Path) -> MakeHome:
    """Makes a home, with the directory of these tests unless another is given."""

    def make(
        name: str = "home", *, directory: str = DIRECTORY, policies: Path | None = None, configuration: str = ""
    ) -> Settings:
        home = tmp_path / name
        initialise(home, os_user="alice", directory=directory, policies=policies, configuration=configuration)
        return load_settings(home)

    return make


@pytest.fixture
def house(make_home: MakeHome) -> Iterator[House]:
    """A fresh home, opened."""
    with open_house(make_home()) as opened:
        yield opened
