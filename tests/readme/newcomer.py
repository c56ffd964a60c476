"""A newcomer at a terminal: reads the console blocks of a page, types each command, and looks whether what is printed is what the page shows.

A line that begins with a prompt (`$ `, or `bob$ ` for the login bob) is a command, lines that begin with `>` belong to it, `# exit 8` at its end
is the exit code that the page claims (0 without; `# exit 11 or 12` where it depends on the machine). Every other line is quoted output: it has to appear, in order; `...` stands for anything.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LOGINS", "Done", "Newcomer", "Step", "missing_line", "steps_of"]

LOGINS = {"bob": 64101, "coder": 64102}
"""Logins that pages speak of, by uids that no machine has: custody calls such a caller `uid-64101`."""

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(?P<login>[a-z]*)\$ (?P<command>.*)")
_EXIT = re.compile(r"\s+# exit (?P<codes>[0-9]+(?: or [0-9]+)*)$")
_RUN = re.compile(r"\brun-[0-9]{8}T[0-9]{6}-[0-9a-f]{10}\b")
_REVIEW = re.compile(r"\breview-[0-9]{8}T[0-9]{6}-[0-9a-f]{10}\b")
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page, and what the page says of it."""

    login: str
    command: str
    exit_codes: tuple[int, ...]
    quoted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a command; both streams together, as a terminal shows them."""

    exit_code: int
    output: str


def steps_of(page: Path) -> list[Step]:
    """Every command of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [step for block in _BLOCK.findall(text) for step in _steps(block.splitlines())]


def _steps(lines: list[str]) -> Iterator[Step]:
    waiting = list(reversed(lines))
    while waiting:
        found = _PROMPT.fullmatch(waiting.pop())
        assert found, "a console block begins with a command"
        command = found["command"]
        while waiting and waiting[-1].startswith(">"):
            command += "\n" + waiting.pop()[1:].removeprefix(" ")
        code = _EXIT.search(command)
        codes = tuple(map(int, code["codes"].split(" or "))) if code else (0,)
        quoted = []
        while waiting and not _PROMPT.fullmatch(waiting[-1]):
            quoted.append(waiting.pop())
        yield Step(found["login"], command[: code.start()] if code else command, codes, tuple(quoted))


def missing_line(quoted: tuple[str, ...], output: str) -> str:
    """The first quoted line that the output does not have, in order; empty if it has them all. Runs of blanks count as one."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in quoted:
        if line.strip() == "...":
            continue
        wanted = re.sub(r"\b(RUN|REVIEW)\b", "...", " ".join(line.split()))
        pattern = ".*".join(map(re.escape, wanted.split("...")))
        if not any(re.fullmatch(pattern, shown) for shown in lines):
            return line
    return ""


@dataclass(slots=True)
class Newcomer:
    """A shell that remembers directory and variables between commands, as a person's does."""

    folder: Path
    environment: Mapping[str, str]
    run: str = ""
    """The run that was submitted last: what RUN stands for."""
    review: str = ""
    """The review that was seen last: what REVIEW stands for."""
    _state: Path = field(init=False)

    def __post_init__(self) -> None:
        self._state = self.folder.parent / "shell-state"
        self._state.write_text(f"cd {self.folder}\n", encoding="utf-8")

    def do(self, step: Step) -> Done:
        """Type one command and wait for its end."""
        command = step.command.replace("RUN", self.run).replace("REVIEW", self.review)
        for login, uid in LOGINS.items():
            command = command.replace(f'os_user = "{login}"', f'os_user = "uid-{uid}"')
        done = self.type(command, uid=LOGINS.get(step.login))
        if "custody run " in command:
            self.run = (_RUN.findall(done.output) or [self.run])[-1]
        self.review = (_REVIEW.findall(done.output) or [self.review])[-1]
        return done

    def type(self, command: str, *, uid: int | None = None) -> Done:
        """A command as it stands."""
        caller = f"export CALLER={uid}" if uid is not None else "unset CALLER"
        kept = f'{{ printf "cd %q\\n" "$PWD"; export -p; }} > {self._state}'
        script = f". {self._state}\n{caller}\n{command}\nleft=$?\n{kept}\nexit $left\n"
        bash = shutil.which("bash") or "/bin/bash"
        ended = subprocess.run(
            [bash, "-c", script],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
        return Done(ended.returncode, ended.stdout.decode("utf-8", "replace"))
