"""What a crash leaves open is closed by the next command, and nothing else is."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from custody.flows import ending
from custody.flows.conduct import run_directly
from custody.flows.house import House, open_house
from custody.flows.intake import receive
from custody.flows.machine import recover
from custody.flows.ownership import Ownership
from custody.flows.passage import Conductor
from custody.flows.pipeline import audit, build, decide, execute, resolve
from custody.ledger import events
from custody.settings import Settings
from tests.conftest import MakeHome

from .conftest import Ask, go, kinds

pytestmark = pytest.mark.jail

RUNNER = """
import sys
from pathlib import Path
from dataclasses import replace
from custody.flows.conduct import run_directly
from custody.flows.house import open_house
from custody.policies.types import Limits, RunRequest
from custody.settings import load_settings
with open_house(load_settings(Path(sys.argv[1]))) as house:
    request = RunRequest(principal=house.directory.principal("alice"), code=sys.argv[2].encode(), file_name="p.py", limits=Limits(wall_seconds=20))
    print(run_directly(house, request).end, flush=True)
"""


@pytest.fixture
def settings(make_home: MakeHome) -> Settings:
    return make_home()


def _start(settings: Settings, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(settings.home), code],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for(settings: Settings, kind: str, count: int) -> list[str]:
    """Runs that have an entry of that kind, as soon as there are so many."""
    with open_house(settings) as house:
        for _ in range(12_000):
            found = [entry.run or "" for entry in house.ledger.entries(kinds=(kind,))]
            if len(found) >= count:
                return found
            _pause()
    raise AssertionError(f"{count} entries of kind {kind} never came")


def _pause() -> None:
    """Give way to the other processes: there is nothing to wait on but the ledger itself."""
    select.select([], [], [], 0.01)


def test_three_commands_at_once_do_not_close_each_other(settings: Settings) -> None:
    slow = "import time\ntime.sleep(12)\nprint('done')\n"
    first, second = _start(settings, slow), _start(settings, slow)
    _wait_for(settings, "run:started", 2)
    third = _start(settings, "print('quick')\n")
    ends = [process.communicate(timeout=300)[0].strip() for process in (first, second, third)]
    assert ends == ["executed"] * 3
    with open_house(settings) as house:
        starts = [entry.index for entry in house.ledger.entries(kinds=("run:submitted",))]
        finishes = [entry.index for entry in house.ledger.entries(kinds=("run:finished",))]
        assert starts[2] < finishes[0], "the third was not there while the others ran"
        finished = [entry.event for entry in house.ledger.entries(kinds=("run:finished",))]
        assert [f.outcome for f in finished if isinstance(f, events.RunFinished)] == ["succeeded"] * 3
        assert house.ledger.count(kinds=("reconciliation:completed",)) == 0


def test_a_killed_runner_leaves_a_run_that_the_next_command_closes_as_unknown(settings: Settings) -> None:
    killed = _start(settings, "import time\ntime.sleep(15)\n")
    (run,) = _wait_for(settings, "run:started", 1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    with open_house(settings) as house:
        assert recover(house) == (run,)
        last = list(house.ledger.entries(run=run))[-1].event
        assert isinstance(last, events.RunFinished)
        assert (last.end, last.outcome, last.started) == ("unknown", "unknown", True)
        assert recover(house) == ()
        assert kinds(house, run).count("run:finished") == 1
        assert list(house.places.owners.iterdir()) == []
    for process in _jailed_processes(settings):
        assert select.select([process], [], [], 30)[0], "a process of the jail lives on"
        os.close(process)


def _jailed_processes(settings: Settings) -> list[int]:
    """Descriptors of the processes whose command line names the jails of this home."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(settings.home) in text and "nsjail" in text:
                found.append(os.pidfd_open(int(path.parent.name)))
        except OSError:
            continue
    return found


def test_a_run_that_died_before_its_start_was_not_executed_and_says_so(house: House, ask: Ask) -> None:
    passage = receive(house, ask(), conductor=Conductor.DIRECT)
    os.close(passage.ownership._descriptor or -1)  # what the kernel does when the process dies
    assert recover(house) == (passage.run,)
    last = list(house.ledger.entries(run=passage.run))[-1].event
    assert isinstance(last, events.RunFinished)
    assert (last.end, last.started, last.outcome) == ("unknown", False, None)


def test_a_held_run_survives_the_end_of_its_process(house: House, ask: Ask) -> None:
    from .conftest import HIDDEN

    done = go(house, ask(HIDDEN, who="scout"))
    assert done.end == "held"
    assert recover(house) == ()
    assert "run:finished" not in kinds(house, done.run)


def test_a_run_that_waits_for_prefect_is_not_closed(house: House, ask: Ask) -> None:
    passage = receive(house, ask(), conductor=Conductor.PREFECT)
    passage.ownership.release()
    assert recover(house) == ()
    assert "run:finished" not in kinds(house, passage.run)


def test_a_late_end_is_kept_beside_the_end_that_recovery_gave(house: House, ask: Ask) -> None:
    passage = receive(house, ask(), conductor=Conductor.DIRECT)
    for step in (resolve, audit, decide, build):
        step(house, passage)
    assert ending.close(house, passage.run, started=True, explanation="taken for dead") is not None
    execute(house, passage)
    recorded = kinds(house, passage.run)
    assert recorded.count("run:finished") == 1
    assert recorded[-1] == "run:late_result"
    assert passage.result is not None
    assert passage.result.end == "unknown"


def test_only_one_process_owns_a_run(tmp_path: Path) -> None:
    first = Ownership.take(tmp_path, "run-1")
    assert first is not None
    assert Ownership.take(tmp_path, "run-1") is None
    first.release()
    again = Ownership.take(tmp_path, "run-1")
    assert again is not None
    again.release()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_is_cancelled(house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    from custody.flows import pipeline

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "STEPS", (interrupt,))
    done = run_directly(house, ask())
    assert (done.end, int(done.exit_code)) == ("cancelled", 130)
    assert kinds(house, done.run)[-2:] == ["run:cancelled", "run:finished"]


def test_our_own_failure_before_the_start_is_an_end_and_names_no_content(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from custody.flows import pipeline

    def fail(*_: object) -> None:
        raise RuntimeError("with content")

    fail.__name__ = "audit"
    monkeypatch.setattr(pipeline, "STEPS", (fail,))
    done = run_directly(house, ask())
    assert (done.end, int(done.exit_code)) == ("unavailable", 1)
    assert done.explanation == "internal error: RuntimeError"
