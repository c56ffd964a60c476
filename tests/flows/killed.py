"""A run whose process is killed before or after each thing that it does to the ledger or with the jail; run as a program.

python killed.py HOME FOLDER PROGRAM [HOST]    for every step of the run a copy of the home in the folder, killed there
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from custody.flows.conduct import run_directly
from custody.flows.house import open_house
from custody.flows.ownership import Ownership
from custody.flows.passage import Result
from custody.ledger import Ledger
from custody.policies.types import HostRequest, Limits, RunRequest
from custody.sandbox import Sandbox
from custody.settings import load_settings

WATCHED: tuple[tuple[Any, str], ...] = (
    (Ledger, "append"),
    (Ledger, "_commit"),
    (Ledger, "keep_derived"),
    (Sandbox, "run"),
    (Ownership, "release"),
)


class Killed:
    """Dies at the so-manieth step."""

    def __init__(self, number: int) -> None:
        self._left = number
        for owner, name in WATCHED:
            self._watch(owner, name)

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


def run(home: Path, program: str, hosts: list[str]) -> Result:
    with open_house(load_settings(home)) as house:
        alice = house.directory.principal("alice")
        assert alice is not None
        request = RunRequest(
            principal=alice,
            code=program.encode(),
            file_name="p.py",
            limits=Limits(wall_seconds=20),
            hosts=tuple(HostRequest(host, 443) for host in hosts),
        )
        return run_directly(house, request)


def main() -> None:
    home, folder, program, *hosts = sys.argv[1:]
    said: list[str] = []
    killed = True
    while killed:
        copy = Path(folder) / str(len(said))
        shutil.copytree(home, copy)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            Killed(len(said))
            os.write(writing, run(copy, program, hosts).end.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            said.append(answer.read().decode())
        _pid, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL if killed else os.WEXITSTATUS(status) == 0
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
