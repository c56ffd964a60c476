"""Plays the demo and tells what came of each program, line by line; run as a program it does so for another user.

It must not import anything of the tests: the other user may see nothing of them but this file.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from custody.flows.demo import Demonstration, run_demo
from custody.flows.house import open_house
from custody.flows.pipeline import sandbox_of
from custody.ledger import Entry, events
from custody.sandbox.types import LayerState
from custody.settings import load_settings

__all__ = ["Told", "observed", "play", "sequence"]

_OBSERVATIONS = ("command:", "file:", "syscall:", "egress:")
_SEPARATOR = "-- observed, in any order --"


class Told(NamedTuple):
    """What was played, by which layers, and what came of each program."""

    demonstration: Demonstration
    layers: str
    """`root` with control groups, `user` with rlimits; on other machines what they have of the two."""
    programs: dict[str, str]
    """Program -> its golden text."""


class _Silent:
    """An observer that nobody listens to."""

    def begin(self, number: int, total: int, title: str) -> None:
        """Nothing."""

    def step(self, name: str) -> None:
        """Nothing."""

    def end(self, text: str) -> None:
        """Nothing."""


def play(into: Path, *, os_user: str, only: Sequence[str] = (), policies: Path | None = None) -> Told:
    """Play the demo, or some programs of it, and tell."""
    done = run_demo(into, os_user=os_user, with_prefect=False, observer=_Silent(), only=only, policies=policies)
    with open_house(load_settings(done.home)) as house:
        present = {layer.name for layer in sandbox_of(house).layers() if layer.state is LayerState.PRESENT}
        programs = {scene.program.file: _tell(list(house.ledger.entries(run=scene.run))) for scene in done.scenes}
    return Told(done, _set_of(present), programs)


def _set_of(present: set[str]) -> str:
    found = sorted({"cgroup_memory", "cgroup_pids"} & present)
    return {0: "user", 2: "root"}.get(len(found), " and ".join(found))


def sequence(golden: str) -> list[str]:
    """The lines of a golden text that come in this order."""
    return golden.partition(f"{_SEPARATOR}\n")[0].splitlines()


def observed(golden: str) -> set[str]:
    """The lines of a golden text that come in any order."""
    return set(golden.partition(f"{_SEPARATOR}\n")[2].splitlines())


def _tell(entries: Sequence[Entry]) -> str:
    ordered = [_line(entry) for entry in entries if not entry.kind.startswith(_OBSERVATIONS)]
    seen = sorted({_line(entry) for entry in entries if entry.kind.startswith(_OBSERVATIONS)})
    return "".join(f"{line}\n" for line in [*ordered, *([_SEPARATOR, *seen] if seen else [])])


def _line(entry: Entry) -> str:
    return f"{entry.kind} {_what(entry.event)}".rstrip()


def _what(event: events.Event | None) -> str:  # noqa: PLR0911 - one return for each kind that has something to tell
    match event:
        case events.PolicyDecided(stage=stage, result=result, rules=rules):
            return f"{stage} {result} by {', '.join(rules) or 'no rule'}"
        case events.RunHeld(roles=roles):
            return f"for {', '.join(roles)}"
        case events.RunFinished(end=end, outcome=outcome, limits_hit=limits, rules=rules):
            hit = f", limits hit: {', '.join(limits)}" if limits else ""
            return f"{end}{f' {outcome}' if outcome else ''}{hit}, by {', '.join(rules) or 'no rule'}"
        case events.ApprovalGranted(role=role):
            return f"as {role}"
        case events.ArtefactCollected(name=name):
            return name
        case events.EgressAttempted(host=host, port=port, allowed=allowed):
            return f"{host}:{port} {'allowed' if allowed else 'refused'}"
        case events.CommandObserved(path=path) | events.FileObserved(path=path):
            return path
        case events.SyscallDenied(name=name, action=action):
            return f"{name} {action}"
        case _:
            return ""


if __name__ == "__main__":
    told = play(Path(sys.argv[1]), os_user=sys.argv[2])
    json.dump({"layers": told.layers, "programs": told.programs}, sys.stdout)
