"""Drafts of small events, with a clock of their own."""

from datetime import UTC, datetime, timedelta

from custody.ledger import Draft, PayloadRef
from custody.ledger.events import ArtefactCollected, EgressAttempted, Event, RunClaimed, RunFinished, RunStarted
from custody.ledger.events import LimitsRecord as Limits

ORIGIN = "test.example/audit"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Drafts:
    """Each draft is one second younger than the one before, and has an id of its own."""

    def __init__(self, prefix: str = "event") -> None:
        self._prefix = prefix
        self._count = 0

    def make(self, event: Event | None = None, *, name: str | None = None, run: str | None = "run-1") -> Draft:
        """A draft of the event, or of some event."""
        number = self._count
        self._count += 1
        return Draft(
            id=name or f"{self._prefix}-{number}",
            event=event or egress(count=number),
            actor="agent",
            time=START + timedelta(seconds=number),
            run=run,
        )

    def several(self, count: int, *, run: str | None = "run-1") -> list[Draft]:
        """Some drafts."""
        return [self.make(run=run) for _ in range(count)]


def egress(host: str = "api.example.org", count: int = 1) -> EgressAttempted:
    """A small event."""
    return EgressAttempted(
        host=host, port=443, allowed=False, reason="no rule", source="proxy", program_controlled=True, count=count
    )


def artefact(ref: PayloadRef) -> ArtefactCollected:
    """An event with a payload."""
    return ArtefactCollected(name="result.txt", sha256="00", bytes=ref.bytes, redactions=ref.redactions, content=ref)


def claim(nonce: str = "n") -> RunClaimed:
    """A claim."""
    return RunClaimed(nonce=nonce, conductor="direct", pid=1, boot_id="b", process_started="1")


def start() -> RunStarted:
    """A start."""
    limits = Limits(
        wall_seconds=1,
        cpu_seconds=1,
        memory_mib=1,
        processes=1,
        output_kib=1,
        disk_mib=1,
        files=1,
        open_files=1,
        artefact_mib=1,
        artefacts=1,
    )
    return RunStarted(
        decision="d",
        grant_sha256="",
        profile="strict",
        limits=limits,
        hosts=(),
        mounts=(),
        layers=(),
        lock_sha256=None,
        environment=None,
        environment_sha256=None,
    )


def end(how: str = "denied", outcome: str | None = None) -> RunFinished:
    """An end of a run."""
    return RunFinished(end=how, started=how == "executed", outcome=outcome, explanation="", rules=())
