"""Processes for tests of concurrency and of crashes; run as a program, so that one import serves all the forks.

python workers.py claim DATABASE KEYS COUNT            COUNT processes claim one run at the same moment
python workers.py write DATABASE KEYS COUNT ENTRIES SECONDS    COUNT processes append one by one, so many and so long at least
python workers.py crash DATABASE KEYS POINT            one process appends until it is killed at the point
python workers.py steps DATABASE KEYS WORK FOLDER      for every step of the work a copy of the ledger in the folder, killed there
"""

import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.errors import ConflictError
from custody.ledger import Draft, Ledger, LedgerFiles, derived, ledger, memory, writing
from custody.ledger.events import ArtefactCollected, Event, LedgerHeartbeat, RunClaimed
from custody.ledger.types import Derived

POINTS: dict[str, tuple[str, Any, str]] = {
    "before-insert": ("before", writing.Batch, "_insert"),
    "after-insert": ("after", writing.Batch, "_insert"),
    "before-sign": ("before", ledger, "store_checkpoint"),
    "after-sign": ("after", ledger, "store_checkpoint"),
    "before-remember": ("before", memory.SignerMemory, "remember"),
    "memory-written": ("after", memory.SignerMemory, "_put"),
    "memory-synced": ("after settling", memory.SignerMemory, "_sync"),
    "memory-settled": ("after settling", memory.SignerMemory, "_settle"),
    "after-remember": ("after", memory.SignerMemory, "remember"),
}
"""In the order in which an append passes them; from the fifth on its batch is in the database."""


def draft(name: str, event: Event, run: str | None = None) -> Draft:
    return Draft(id=name, event=event, actor="worker", time=datetime.now(UTC), run=run)


def tell(answer: object) -> None:
    """One line to the test."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def claim(files: LedgerFiles, number: int) -> str:
    nonce = RunClaimed(nonce=f"nonce-{number}", conductor="direct", pid=os.getpid(), boot_id="b", process_started="1")
    with Ledger.open(files) as opened:
        yield_until_go()
        try:
            (acknowledgement,) = opened.append([draft("run-1/claimed", nonce, "run-1")])
        except ConflictError:
            return "conflict"
        return "repeated" if acknowledgement.repeated else "new"


def write(files: LedgerFiles, number: int, entries: int, seconds: float) -> str:
    done, run = 0, f"worker-{number}"
    with Ledger.open(files) as opened:
        yield_until_go()
        finish = time.monotonic() + seconds
        while done < entries or time.monotonic() < finish:
            opened.append([draft(f"{run}-{done}", LedgerHeartbeat(interval_seconds=done), run)])
            done += 1
    return str(done)


def crash(files: LedgerFiles, point: str) -> None:
    """Append batches of three, say each acknowledgement, and be killed in the fourth batch (or whenever the parent likes)."""
    with Ledger.open(files) as opened:
        for number in itertools.count():
            if number == 3 and point in POINTS:
                arm(point)
            batch = [draft(f"{point}-{opened.size + i}", LedgerHeartbeat(interval_seconds=i)) for i in range(3)]
            tell({"trying": [d.id for d in batch]})
            done = opened.append(batch)
            tell({"done": [a.index for a in done]})


def arm(point: str) -> None:
    """Die there."""
    die: Callable[..., Any] = lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731 - because it is handed around

    def before(owner: Any, name: str) -> None:
        setattr(owner, name, die)

    def after(owner: Any, name: str) -> None:
        real = getattr(owner, name)
        setattr(owner, name, lambda *a, **k: (real(*a, **k), die()))

    where, owner, name = POINTS[point]
    if where == "after settling":
        memory._SETTLED_EVERY = 0
    (before if where == "before" else after)(owner, name)


def steps(files: LedgerFiles, work: str, folder: Path) -> list[bool]:
    """Do the work again and again, each time on a copy, each time killed a step later; whether it was said to be done."""
    said: list[bool] = []
    killed = True
    while killed:
        place = folder / str(len(said))
        place.mkdir()
        copy = LedgerFiles(place / "ledger.db", place / "keys")
        shutil.copyfile(files.database, copy.database)
        shutil.copytree(files.keys, copy.keys)
        reading, writing_end = os.pipe()
        child = os.fork()
        if child == 0:
            Killed(len(said))
            with Ledger.open(copy) as opened:
                WORK[work](opened)
                os.write(writing_end, b"done")
            os._exit(0)
        os.close(writing_end)
        with os.fdopen(reading, "rb") as answer:
            said.append(answer.read() == b"done")
        _pid, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL if killed else os.WEXITSTATUS(status) == 0
    return said


class Killed:
    """Dies before or after the so-manieth thing that this process does to its files, by whatever way it does it."""

    def __init__(self, number: int) -> None:
        self._left = number
        for name in ("open", "write", "pwrite", "fsync", "fdatasync", "replace", "unlink", "link"):
            self._watch(os, name)
        for module in (writing, ledger, derived):
            for name in ("write", "store_checkpoint", "store_derived"):
                if hasattr(module, name):
                    self._watch(module, name)

    def _watch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self._step()
            done = real(*arguments, **named)
            self._step()
            return done

        setattr(owner, name, watched)

    def _step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def rotate(opened: Ledger) -> None:
    opened.rotate_key(event_id="rotation", actor="root", time=datetime.now(UTC))


def append(opened: Ledger) -> None:
    """A batch with a payload that fills a tile."""
    payload = opened.seal(b"content", media="text/plain")
    batch = [draft(f"step-{number}", LedgerHeartbeat(interval_seconds=number), "run-1") for number in range(10)]
    content = ArtefactCollected(name="a", sha256="", bytes=7, redactions=0, content=payload.ref)
    opened.append([*batch, draft("step-payload", content, "run-1")], [payload])


def keep(opened: Ledger) -> None:
    opened.record_anchor(opened.checkpoint())
    opened.keep_derived("baseline", version=1, state=Derived(opened.size, b"new"))


WORK: dict[str, Callable[[Ledger], None]] = {"rotate": rotate, "append": append, "keep": keep}

_GO = os.pipe()


def yield_until_go() -> None:
    """Wait until the parent lets all go at once."""
    os.close(_GO[1])
    os.read(_GO[0], 1)


def together(count: int, work: Callable[[int], str]) -> list[str]:
    """What each of the processes says."""
    pipes, children = [], []
    for number in range(count):
        reading, writing_end = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.write(writing_end, work(number).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writing_end)
        pipes.append(reading)
        children.append(child)
    os.close(_GO[1])
    said = []
    for reading in pipes:
        with os.fdopen(reading, "rb") as stream:
            said.append(stream.read().decode())
    for child in children:
        os.waitpid(child, 0)
    return said


def main() -> None:
    action, database, directory, *rest = sys.argv[1:]
    files = LedgerFiles(Path(database), Path(directory))
    match action:
        case "claim":
            tell(together(int(rest[0]), lambda number: claim(files, number)))
        case "write":
            said = together(int(rest[0]), lambda number: write(files, number, int(rest[1]), float(rest[2])))
            tell([int(done) for done in said])
        case "crash":
            crash(files, rest[0])
        case "steps":
            tell(steps(files, rest[0], Path(rest[1])))


if __name__ == "__main__":
    main()
