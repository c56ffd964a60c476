"""Several processes on one ledger, and processes that are killed."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from custody.ledger import Draft, Ledger, LedgerFiles, Pin, verify_ledger
from custody.ledger.events import LedgerHeartbeat

from .drafts import ORIGIN
from .workers import POINTS, draft

WORKERS = Path(__file__).with_name("workers.py")
DEEP = os.environ.get("CUSTODY_TEST_DEPTH") == "deep"
WRITE_SECONDS = 60 if DEEP else 0
WRITE_ENTRIES = 40
"""What each of the processes appends, and goes on with for the seconds."""
RANDOM_KILLS = 200 if DEEP else 3


def start(action: str, files: LedgerFiles, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, *map(str, (WORKERS, action, files.database, files.keys, *arguments))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> str:
    out, _err = process.communicate(timeout=240)
    assert process.returncode == 0
    return out


def test_of_fifty_processes_that_claim_one_run_exactly_one_wins(files: LedgerFiles) -> None:
    with Ledger.create(files, origin=ORIGIN) as ledger:
        answers = json.loads(finish(start("claim", files, 50)))
        assert sorted(answers) == ["conflict"] * 49 + ["new"]
        assert [e.kind for e in ledger.entries()] == ["run:claimed"]
        verification = verify_ledger(files, verifier_key=ledger.verifier_key)
        assert [p.code for p in verification.problems] == ["claimed-unstarted"]


def test_eight_processes_append_without_gap_and_none_starves(files: LedgerFiles) -> None:
    """Until the first of them is done nobody has had less than half of what another had; who waits too long gets an error."""
    with Ledger.create(files, origin=ORIGIN) as ledger:
        done = json.loads(finish(start("write", files, 8, WRITE_ENTRIES, WRITE_SECONDS)))
        assert min(done) >= WRITE_ENTRIES
        assert ledger.size == sum(done)
        order = [entry.run for entry in ledger.entries()]
        for number, count in enumerate(done):
            own = [e.id for e in ledger.entries(run=f"worker-{number}")]
            assert own == [f"worker-{number}-{i}" for i in range(count)]
        last = {run: place for place, run in enumerate(order)}
        had = Counter(order[: min(last.values()) + 1])
        assert len(had) == 8
        assert min(had.values()) > max(had.values()) / 2
        assert verify_ledger(files, verifier_key=ledger.verifier_key).consistent


@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_at_a_point_loses_nothing_that_was_acknowledged(files: LedgerFiles, point: str) -> None:
    Ledger.create(files, origin=ORIGIN).close()
    process = start("crash", files, point)
    out, _err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    committed = [*POINTS].index(point) >= [*POINTS].index("before-remember")
    _check_after_kill(files, out, present=12 if committed else 9)


def test_a_process_killed_at_any_moment_loses_nothing_that_was_acknowledged(files: LedgerFiles) -> None:
    Ledger.create(files, origin=ORIGIN).close()
    dice = random.Random(5)  # noqa: S311 - because the same rounds shall come again
    for _ in range(RANDOM_KILLS):
        process = start("crash", files, "random")
        lines = []
        assert process.stdout is not None
        for line, _count in zip(process.stdout, range(dice.randrange(2, 40)), strict=False):
            lines.append(line)
        process.kill()
        rest, _err = process.communicate(timeout=60)
        _check_after_kill(files, "".join(lines) + rest, present=None)


def _check_after_kill(files: LedgerFiles, out: str, *, present: int | None) -> None:
    """Acknowledged means present; the ledger verifies; the batch that was under way can be sent again, and stands once."""
    said = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    acknowledged = [index for answer in said for index in answer.get("done", ())]
    tried = [name for answer in said for name in answer.get("trying", ())]
    with Ledger.open(files) as ledger:
        pin = Pin("what was there", ledger.checkpoint().note)
        assert verify_ledger(files, verifier_key=ledger.verifier_key, pins=[pin]).consistent
        assert ledger.size > max(acknowledged, default=-1)
        assert present in {None, ledger.size}
        assert ledger.size % 3 == 0
        known = ledger.entry(tried[-1])
        assert known is not None or acknowledged == [] or len(tried) > len(acknowledged)
        again = [_again(ledger, name, number) for number, name in enumerate(tried[-3:])]
        answers = ledger.append(again)
        assert [a.repeated for a in answers] == [known is not None] * 3
        assert len({e.id for e in ledger.entries()}) == ledger.size
        assert verify_ledger(files, verifier_key=ledger.verifier_key, pins=[pin]).consistent


def _again(ledger: Ledger, name: str, number: int) -> Draft:
    """The draft that the killed process had made; its time is known only from the entry."""
    fresh = draft(name, LedgerHeartbeat(interval_seconds=number))
    stored = ledger.entry(name)
    return fresh if stored is None else Draft(id=name, event=fresh.event, actor="worker", time=stored.time)
