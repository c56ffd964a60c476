"""Ledgers to write to and to attack."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from custody.ledger import Draft, Ledger, LedgerFiles
from custody.ledger.events import EgressAttempted, Event, RunClaimed, RunFinished

ORIGIN = "test.example/audit"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> LedgerFiles:
    """Where the test's ledger lies."""
    return LedgerFiles(tmp_path / "home" / "ledger.db", tmp_path / "home" / "keys")


@pytest.fixture
def ledger(files: LedgerFiles) -> Iterator[Ledger]:
    """An empty, open ledger."""
    with Ledger.create(files, origin=ORIGIN) as made:
        yield made


Make = Callable[..., Draft]


@pytest.fixture
def make() -> Make:
    """Makes drafts, one second after the other."""
    clock = itertools.count()

    def draft(
        event: Event | None = None, *, id: str | None = None, run: str | None = "run-1", actor: str = "agent"
    ) -> Draft:  # noqa: A002 - because it is the field's name
        number = next(clock)
        return Draft(
            id=id or f"event-{number}",
            event=event or egress(count=number),
            actor=actor,
            time=START + timedelta(seconds=number),
            run=run,
        )

    return draft


def egress(host: str = "api.example.org", count: int = 1) -> EgressAttempted:
    """A small event."""
    return EgressAttempted(
        host=host, port=443, allowed=False, reason="no rule", source="proxy", program_controlled=True, count=count
    )


def claim(nonce: str) -> RunClaimed:
    """A claim."""
    return RunClaimed(nonce=nonce, conductor="direct", pid=1, boot_id="b", process_started="1")


def end(how: str = "denied", outcome: str | None = None) -> RunFinished:
    """An end of a run."""
    return RunFinished(end=how, started=how == "executed", outcome=outcome, explanation="", rules=())
