"""What the demo prints: progress to standard error, and at the end what happened and what can be checked."""

import shlex
import shutil
import sys

from ..flows.demo import Demonstration, outcome_text
from .output import print_json, result, say, shown, table

__all__ = ["Progress", "print_demo"]


class Progress:
    """One line for each part; steps are shown on a terminal only."""

    def __init__(self) -> None:
        self._line = ""
        self._terminal = sys.stderr.isatty()

    def begin(self, number: int, total: int, title: str) -> None:
        """A part begins."""
        self._line = f"[{number:>2}/{total}] {title}" if number else f"[ - ] {title}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{self._line} ...")
            sys.stderr.flush()

    def step(self, name: str) -> None:
        """A step of it begins."""
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{self._line} ... {name}")
            sys.stderr.flush()

    def end(self, text: str) -> None:
        """It ended."""
        sys.stderr.write(f"{chr(13) + chr(27) + '[K' if self._terminal else ''}{self._line}: {shown(text)}\n")
        sys.stderr.flush()


def print_demo(done: Demonstration, *, json: bool) -> None:
    """The table, the report, and the command that verifies, with what that proves."""
    pin = done.pins / "latest.note"
    # after `make demo` there is no custody on the path: what is printed must work as it stands
    program = "custody" if shutil.which("custody") else shlex.quote(sys.argv[0])
    command = f"CUSTODY_HOME={shlex.quote(str(done.home))} {program} verify --pin {shlex.quote(str(pin))}"
    if json:
        runs = [
            {
                "program": scene.program.file,
                "principal": scene.program.principal,
                "conductor": scene.conductor,
                "run": scene.run,
                "end": scene.finished.end,
                "outcome": scene.finished.outcome,
                "rules": list(scene.rules),
            }
            for scene in done.scenes
        ]
        print_json(
            {
                "runs": runs,
                "report": str(done.report),
                "verdict": done.verdict,
                "home": str(done.home),
                "pin": str(pin),
                "verify": command,
                "real_audit": done.real_audit,
            }
        )
        return
    rows = [
        (
            scene.program.principal,
            scene.program.file,
            scene.program.title,
            outcome_text(scene.finished),
            ", ".join(scene.rules[:2]),
            scene.conductor,
        )
        for scene in done.scenes
    ]
    table(("who", "program", "what it does", "what happened", "decided by", "conductor"), rows)
    result("")
    result(f"report:  {done.report}")
    result(f"verify:  {command}")
    say("")
    say(
        f"The pin lies in a second directory, outside the home. With it the command proves that none of the {done.size} entries up to the pin was"
    )
    say(
        "changed, removed or reordered since. It does not prove that nothing was left out before it was written, nor anything against somebody"
    )
    say("who controls both directories: keep real pins where another person has the key.")
    say("The packages were checked against demo data: not a real audit.")
