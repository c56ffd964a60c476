"""Commands about runs: run, check, runs list, runs show, runs continue."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit
from .exposure import exposure_told
from .output import Json, door, print_json, say, steps, table, working
from .request import Asked, make_request
from .results import LiveOutput, hand_out, place_for, show_checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..flows.house import House
    from ..flows.passage import Result
    from ..ledger.events import CommandObserved
    from ..ledger.types import Entry
    from ..policies.types import Principal

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
    with door() as (house, caller):
        from ..flows.conduct import run_directly

        request, keep = make_request(house, caller, asked), place_for(house, out)
        _require_new(house, receipt)
        live = LiveOutput()
        with steps() as progress:
            done = run_directly(house, request, progress=progress, live=None if json else live.write)
        done = _with_receipt(house, caller, done, receipt)
    return hand_out(done, keep, live, json=json)


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

        request = make_request(house, caller, asked)
        with working("checking"):
            checked = check_request(house, request)
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
    with door() as (house, caller):
        from ..flows.conduct import continue_run as take_on

        keep = place_for(house, out)
        _require_new(house, receipt)
        live = LiveOutput()
        with steps() as progress:
            done = take_on(house, run, caller, progress=progress, live=None if json else live.write)
        done = _with_receipt(house, caller, done, receipt)
    return hand_out(done, keep, live, json=json)


def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    json: Json = False,
) -> int:
    """List the newest runs that you may see."""
    with door() as (house, caller):
        from ..flows.access import list_runs as summaries
        from ..flows.machine import recover

        recover(house)  # a run whose process died has its end before it is shown
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


def show_run(
    run: Annotated[str, typer.Argument(help="The run.", metavar="RUN")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A new directory that gets the run's artefacts from the ledger.")
    ] = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Show every program that the run started, also beyond the entries.")
    ] = False,
    json: Json = False,
) -> int:
    """Show every entry of one run; with --commands every program that it started, with --out its artefacts are written too."""
    with door() as (house, caller):
        from ..flows.access import artefacts_of
        from ..flows.access import show_run as entries_of
        from ..flows.machine import recover
        from ..flows.observations import commands_of

        recover(house)
        keep = place_for(house, out)
        found = entries_of(house, caller, run)
        artefacts = artefacts_of(house, found) if out is not None else {}
        started = commands_of(house, found) if commands else None
    from .evidence import entry_json, entry_rows

    if json:
        listed = None if started is None else [asdict(command) for command in started]
        print_json({"run": run, "entries": [entry_json(entry) for entry in found], "commands": listed})
    elif started is not None:
        _show_commands(started)
    else:
        table(("entry", "time", "kind", "what"), entry_rows(found))
        _say_exposure(found)
    if out is not None:
        keep.files.fill_folder(out, artefacts)
        say(f"artefacts written: {len(artefacts)}, in {out}")
    return Exit.DONE


def _show_commands(started: "Sequence[CommandObserved]") -> None:
    rows = [
        (
            command.number,
            "unknown" if command.parent is None else command.parent or "the program",
            command.path,
            "unknown" if command.arguments is None else " ".join(command.arguments),
            "" if command.exit_status is None else command.exit_status,
            "" if command.wall_ms is None else command.wall_ms,
            f"{command.source} (the program's word)" if command.program_controlled else command.source,
        )
        for command in started
    ]
    if rows:
        table(("number", "started by", "path", "arguments", "status", "ms", "source"), rows)
    else:
        say("no program was seen to be started")


def _say_exposure(found: "Sequence[Entry]") -> None:
    """What the run could have done at worst, by its last decision."""
    from ..ledger.events import PolicyDecided

    decided = [e.event for e in found if isinstance(e.event, PolicyDecided) and e.event.stage == "run"]
    if decided:
        for line in exposure_told(decided[-1].result, decided[-1].exposure, decided[-1].limits):
            say(line)


def _require_new(house: "House", receipt: Path | None) -> None:
    """Refuse a place for the receipt before anything runs, not after."""
    if receipt is not None:
        house.settings.caller_files.require_new_file(receipt)


def _with_receipt(house: "House", caller: "Principal", done: "Result", receipt: Path | None) -> "Result":
    """The result, with what is to be said if no receipt could be written."""
    from ..flows.verification import write_receipt

    remark = write_receipt(house, caller, done.entry, receipt) if receipt is not None else ""
    return replace(done, notes=(*done.notes, remark)) if remark else done
