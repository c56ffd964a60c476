"""Commands about runs: run, check, runs list, runs show, runs continue."""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit, SandboxError, UsageError
from .exposure import exposure_told
from .output import Json, door, pass_through, print_json, result, say, shown, table, working
from .request import Asked, make_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..flows.checking import Checked
    from ..flows.house import House
    from ..flows.passage import Result
    from ..ledger.types import Entry
    from ..policies.types import Principal
    from ..sandbox.types import Artefact

Program = Annotated[str, typer.Argument(help="The program, or - for standard input.", metavar="FILE")]
Arguments = Annotated[list[str] | None, typer.Argument(help="Arguments of the program.", metavar="[ARGUMENTS]...")]
Requirements = Annotated[
    Path | None,
    typer.Option("--requirements", "-r", help="Pinned and hashed requirements: NAME==VERSION --hash=sha256:..."),
]
Inputs = Annotated[
    list[Path] | None, typer.Option("--input", "-i", help="A file to put into the workspace, by content.")
]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="A host the program wants to reach, as NAME:PORT.")]
Mounts = Annotated[
    list[str] | None, typer.Option("--mount", help="A path the program wants to see, as PATH or PATH:write.")
]
ProfileName = Annotated[str | None, typer.Option("--profile", "-p", help="The profile to run under.")]
Purpose = Annotated[str, typer.Option("--purpose", help="Why, in a sentence; shown to approvers and in reviews.")]
Ticket = Annotated[str, typer.Option("--ticket", help="The ticket this belongs to.")]
LimitOptions = Annotated[
    list[str] | None, typer.Option("--limit", "-l", help="A limit, as NAME=NUMBER, for example wall_seconds=30.")
]
Receipt = Annotated[
    Path | None, typer.Option("--receipt", help="A new file for a proof that the end of the run is in the ledger.")
]
PASS_THROUGH = {"allow_interspersed_args": False}


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    app.command("run", context_settings=PASS_THROUGH)(run)
    app.command("check", context_settings=PASS_THROUGH)(check)
    group = typer.Typer(help="Runs: list, show, continue.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_runs)
    group.command("show")(show_run)
    group.command("continue")(continue_run)
    app.add_typer(group, name="runs")


def run(
    program: Program,
    arguments: Arguments = None,
    requirements: Requirements = None,
    inputs: Inputs = None,
    hosts: Hosts = None,
    mounts: Mounts = None,
    profile: ProfileName = None,
    limits: LimitOptions = None,
    purpose: Purpose = "",
    ticket: Ticket = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A directory that gets the program's artefacts.")
    ] = None,
    receipt: Receipt = None,
    json: Json = False,
) -> int:
    """Run a program through policy check, dependency audit and jail, into the ledger; its own output is passed through."""
    asked = Asked(
        program=program,
        arguments=arguments,
        requirements=requirements,
        inputs=inputs,
        hosts=hosts,
        mounts=mounts,
        profile=profile,
        limits=limits,
        purpose=purpose,
        ticket=ticket,
    )
    _check_places(out, receipt)
    with door() as (house, caller):
        from ..flows.conduct import run_directly

        with working("running"):
            live = LiveOutput()
            done = run_directly(house, make_request(house, caller, asked), live=None if json else live.write)
            done = _with_receipt(house, caller, done, receipt)
    return _hand_out(done, out, json=json, heard=live.heard)


def check(
    program: Program,
    arguments: Arguments = None,
    requirements: Requirements = None,
    inputs: Inputs = None,
    hosts: Hosts = None,
    mounts: Mounts = None,
    profile: ProfileName = None,
    limits: LimitOptions = None,
    purpose: Purpose = "",
    ticket: Ticket = "",
    json: Json = False,
) -> int:
    """Say what would be decided about a program, what it could do at worst, and what would make it pass; nothing is run."""
    asked = Asked(
        program=program,
        arguments=arguments,
        requirements=requirements,
        inputs=inputs,
        hosts=hosts,
        mounts=mounts,
        profile=profile,
        limits=limits,
        purpose=purpose,
        ticket=ticket,
    )
    with door() as (house, caller):
        from ..flows.checking import check as check_request

        with working("checking"):
            checked = check_request(house, make_request(house, caller, asked))
    show_checked(checked, json=json)
    return checked.exit_code


def continue_run(
    run: Annotated[str, typer.Argument(help="The held run.", metavar="RUN")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A directory that gets the program's artefacts.")
    ] = None,
    receipt: Receipt = None,
    json: Json = False,
) -> int:
    """Take a held run on after its approval: from the audit again, with fresh data."""
    _check_places(out, receipt)
    with door() as (house, caller):
        from ..flows.conduct import continue_run as take_on

        with working("running"):
            live = LiveOutput()
            done = take_on(house, run, caller, live=None if json else live.write)
            done = _with_receipt(house, caller, done, receipt)
    return _hand_out(done, out, json=json, heard=live.heard)


def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    json: Json = False,
) -> int:
    """List the newest runs that you may see."""
    with door() as (house, caller):
        from ..flows.access import list_runs as summaries

        found = summaries(house, caller, limit=limit)
    if json:
        print_json({"runs": [asdict(summary) for summary in found]})
    elif not found:
        say("there are no runs yet")
    else:
        rows = [
            (s.run, f"{s.time:%Y-%m-%d %H:%M:%S}Z", s.principal, s.program, s.profile, s.end or s.state) for s in found
        ]
        table(("run", "submitted", "principal", "program", "profile", "state"), rows)
    return Exit.DONE


def show_run(run: Annotated[str, typer.Argument(help="The run.", metavar="RUN")], json: Json = False) -> int:
    """Show every entry of one run."""
    with door() as (house, caller):
        from ..flows.access import show_run as entries_of

        found = entries_of(house, caller, run)
    from .evidence import entry_json, entry_rows

    if json:
        print_json({"run": run, "entries": [entry_json(entry) for entry in found]})
    else:
        table(("entry", "time", "kind", "what"), entry_rows(found))
        _say_exposure(found)
    return Exit.DONE


def _say_exposure(found: "Sequence[Entry]") -> None:
    """What the run could have done at worst, by its last decision."""
    from ..ledger.events import PolicyDecided

    decided = [e.event for e in found if isinstance(e.event, PolicyDecided) and e.event.stage == "run"]
    if decided:
        for line in exposure_told(decided[-1].result, decided[-1].exposure, decided[-1].limits):
            say(line)


def _check_places(out: Path | None, receipt: Path | None) -> None:
    """Refuse a place for artefacts or for the receipt before anything runs, not after."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"`{out}` exists and is not an empty directory", hint="give a new directory for the artefacts")
    if receipt is not None and os.path.lexists(receipt):
        raise UsageError(f"`{receipt}` exists already", hint="give a new file for the receipt")


def _with_receipt(house: "House", caller: "Principal", done: "Result", receipt: Path | None) -> "Result":
    """The result, with what is to be said if no receipt could be written."""
    from ..flows.verification import write_receipt

    remark = write_receipt(house, caller, done.entry, receipt) if receipt is not None else ""
    return replace(done, notes=(*done.notes, remark)) if remark else done


class LiveOutput:
    """Passes a program's output through while it runs; it hears something only where the grant allows live output."""

    def __init__(self) -> None:
        self.heard = False

    def write(self, stream: str, content: bytes) -> None:
        """What the jail hands on, redacted already."""
        self.heard = True
        pass_through(content, sys.stdout if stream == "stdout" else sys.stderr)


def _hand_out(done: "Result", out: Path | None, *, json: bool, heard: bool = False) -> int:
    """The result, which is durable in the ledger by now."""
    outcome = done.outcome
    if outcome is not None and out is not None:
        _write_artefacts(outcome.artefacts, out)
    if json:
        print_json(_result_json(done))
        return done.exit_code
    if outcome is not None and not heard:
        pass_through(outcome.stdout.content, sys.stdout)
        pass_through(outcome.stderr.content, sys.stderr)
    _say_end(done, out)
    return done.exit_code


def _write_artefacts(artefacts: "Sequence[Artefact]", out: Path) -> None:
    """Artefacts as new files; their names are clean, and this does not rely on it."""
    out.mkdir(parents=True, exist_ok=True)
    root = out.resolve()
    for artefact in artefacts:
        target = (root / artefact.name).resolve()
        if not target.is_relative_to(root):
            raise SandboxError(
                f"artefact `{artefact.name}` would leave `{out}`",
                hint="it is kept in the ledger; nothing was written for it",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(artefact.content)


def _say_end(done: "Result", out: Path | None) -> None:
    outcome = done.outcome
    if outcome is not None:
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
            "commands": [asdict(c) for c in outcome.commands],
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
