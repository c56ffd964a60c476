"""What a run or a dry run gives: its own output first, then its end; nothing of it is lost because something else fails."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..caller_files import CallerFiles
from ..errors import CustodyError, Exit
from .exposure import exposure_told
from .output import pass_through, print_json, result, say, shown
from .streams import UndeliveredError, one_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..flows.checking import Checked
    from ..flows.house import House
    from ..flows.passage import Result

__all__ = ["Keep", "LiveOutput", "hand_out", "place_for", "show_checked"]


_REFUSED_SHOWN = 20
_COMMANDS_SHOWN = 200
"""All of them are in the ledger: `custody runs show RUN --commands`."""


class LiveOutput:
    """Passes a program's output through while it runs; it hears something only where the grant allows live output."""

    def __init__(self) -> None:
        self.heard = False
        self.lost: UndeliveredError | None = None
        self._open_lines: set[str] = set()

    def write(self, stream: str, content: bytes) -> None:
        """What the jail hands on, redacted already; that nobody takes it any more does not stop the run."""
        self.heard = True
        if content:
            (self._open_lines.discard if content.endswith(b"\n") else self._open_lines.add)(stream)
        try:
            pass_through(content, sys.stdout if stream == "stdout" else sys.stderr)
        except UndeliveredError as error:
            self.lost = error

    def end_line(self) -> None:
        """Talk begins on a line of its own: a program must not write the beginning of ours, nor hide ours in a line of its own."""
        if self._open_lines & ({"stdout", "stderr"} if one_place(sys.stdout, sys.stderr) else {"stderr"}):
            say("")


@dataclass(frozen=True, slots=True)
class Keep:
    """Where the artefacts of a run are to go, tried before the run."""

    files: CallerFiles
    folder: Path | None

    def write(self, run: str, artefacts: "Mapping[str, bytes]") -> CustodyError | None:
        """Write them; why not, if they could not be: what was executed stays executed, and the ledger has them."""
        if self.folder is None:
            return None
        try:
            self.files.fill_folder(self.folder, artefacts)
        except CustodyError as error:
            return CustodyError(
                f"the artefacts could not all be written: {error.message}",
                hint=f"they are in the ledger: `custody runs show {run} --out DIR` writes them",
            )
        return None


def place_for(house: "House", out: Path | None) -> Keep:
    """Refuse a place for artefacts before anything runs, not after.

    Raises:
        UsageError: it is taken, or this caller cannot write there.
    """
    files = house.settings.caller_files
    if out is not None:
        files.require_new_folder(out)
    return Keep(files, out)


def hand_out(done: "Result", keep: Keep, live: LiveOutput, *, json: bool) -> int:
    """The result, which is durable in the ledger by now: what can still fail comes after the program's output, and takes nothing back.

    Raises:
        UndeliveredError: standard output did not take the program's output; all the rest was done.
    """
    outcome = done.outcome
    if outcome is not None and not json and not live.heard:
        live.write("stdout", outcome.stdout.content)
        live.write("stderr", outcome.stderr.content)
    lost = keep.write(done.run, {a.name: a.content for a in outcome.artefacts}) if outcome is not None else None
    code = done.exit_code or (lost.exit_code if lost is not None else Exit.DONE)
    if json:
        notes = done.notes if lost is None else (*done.notes, f"{lost.message}; {lost.hint}")
        print_json({**_result_json(done), "exit_code": int(code), "notes": list(notes)})
    else:
        live.end_line()
        _say_end(done, keep.folder)
    if lost is not None:
        say(f"error: {shown(lost.message)}")
        say(f"hint: {shown(lost.hint)}")
    if live.lost is not None:
        raise live.lost
    return code


def _say_end(done: "Result", out: Path | None) -> None:
    outcome = done.outcome
    if outcome is not None:
        for refused in outcome.refused_artefacts[:_REFUSED_SHOWN]:
            say(f"artefact not taken: {shown(refused.name)}: {shown(refused.reason)}")
        if (more := len(outcome.refused_artefacts) - _REFUSED_SHOWN) > 0:
            say(f"artefacts not taken: {more} more; --json lists them")
        for artefact in outcome.artefacts:
            say(
                f"artefact: {shown(artefact.name)} ({artefact.bytes} bytes){'' if out else ', kept in the ledger; --out DIR writes it'}"
            )
        say(f"run {done.run}: {outcome.outcome} (entry {done.entry}): {shown(done.explanation)}")
    elif done.end == "held":
        say(f"run {done.run} waits for approval by {' or '.join(done.roles)} (entry {done.entry})")
        _say_reasons(done)
        say(f"hint: another person runs `custody approve {done.run}`, then you run `custody runs continue {done.run}`")
    else:
        say(f"error: run {done.run} is {done.end.replace('_', ' ')} (entry {done.entry}): {shown(done.explanation)}")
        _say_reasons(done)
        say(f"hint: {_hint(done)}")
    if not done.real_audit:
        say("warning: the packages were checked against demo data: not a real audit")
    for note in done.notes:
        say(f"warning: {shown(note)}")


def _say_reasons(done: "Result") -> None:
    for reason in done.reasons:
        say(f"  {reason.rule}: {shown(reason.text)}")


def _hint(done: "Result") -> str:
    if done.hint:
        return shown(done.hint)
    match done.end:
        case "blocked":
            return "`custody audit FILE` shows the findings; `custody advisories import FILE` brings advisory data"
        case "denied":
            return "`custody check` says what would make it pass"
        case "unavailable":
            return "`custody doctor` names each missing layer with its cure"
        case _:
            return f"`custody runs show {done.run}` shows every entry"


def _result_json(done: "Result") -> dict[str, object]:
    outcome = done.outcome
    value: dict[str, object] = {
        "run": done.run,
        "end": done.end,
        "entry": done.entry,
        "exit_code": int(done.exit_code),
        "explanation": done.explanation,
        "rules": list(done.rules),
        "reasons": [asdict(reason) for reason in done.reasons],
        "roles": list(done.roles),
        "real_audit": done.real_audit,
        "notes": list(done.notes),
        "outcome": None,
    }
    if outcome is not None:
        value |= {
            "outcome": outcome.outcome.value,
            "program_exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "limits_hit": list(outcome.limits_hit),
            "usage": asdict(outcome.usage),
            "stdout": outcome.stdout.content.decode("utf-8", "replace"),
            "stderr": outcome.stderr.content.decode("utf-8", "replace"),
            "stdout_truncated": outcome.stdout.truncated,
            "stderr_truncated": outcome.stderr.truncated,
            "artefacts": [{"name": a.name, "sha256": a.sha256, "bytes": a.bytes} for a in outcome.artefacts],
            "refused_artefacts": [asdict(a) for a in outcome.refused_artefacts],
            "egress": [asdict(e) for e in outcome.egress],
            "commands": [asdict(c) for c in outcome.commands[:_COMMANDS_SHOWN]],
            "commands_total": outcome.observed_total.get("commands", len(outcome.commands)),
            "files": [asdict(f) for f in outcome.files],
            "syscalls": [asdict(s) for s in outcome.syscalls],
            "unobserved": list(outcome.unobserved),
        }
    return value


def show_checked(checked: "Checked", *, json: bool, sentences: "Sequence[str]" = ()) -> None:
    """A dry run: what would be decided, why, what it could do at worst, and what would make it pass."""
    if json:
        print_json(
            {
                "result": checked.result,
                "rules": list(checked.basis.rules),
                "reasons": [asdict(reason) for reason in checked.reasons],
                "roles": list(checked.roles),
                "exposure": asdict(checked.basis.exposure),
                "remedies": list(checked.remedies),
                "notes": list(checked.notes),
                "real_audit": checked.real_audit,
                "entry": checked.entry,
                "exit_code": int(checked.exit_code),
                **({"sentences": list(sentences)} if sentences else {}),
            }
        )
        return
    result(f"{checked.result.replace('_', ' ')}, by {', '.join(checked.basis.rules) or 'no rule'}")
    if sentences:
        for sentence in sentences:
            result(f"  {shown(sentence)}")
    else:
        for reason in checked.reasons:
            result(f"  {reason.rule}: {shown(reason.text)}")
    for line in exposure_told(checked.result, checked.basis.exposure, checked.basis.exposure.limits):
        result(line)
    for remedy in checked.remedies:
        result(f"to make it pass: {shown(remedy)}")
    for note in checked.notes:
        say(f"warning: {shown(note)}")
    if not checked.real_audit:
        say("warning: the packages were checked against demo data: not a real audit")
