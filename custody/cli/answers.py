"""Commands of the people who answer for others: approve, refuse."""

import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit, UsageError
from .exposure import exposure_lines
from .output import Json, door, print_json, say, shown, table, timestamp

if TYPE_CHECKING:
    from ..flows.approvals import Held

__all__ = ["register"]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for use without a terminal.")]


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    app.command("approve")(approve)
    app.command("refuse")(refuse)


def approve(
    run: Annotated[
        str | None, typer.Argument(help="The held run; without it all held runs are listed.", metavar="[RUN]")
    ] = None,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; goes into the ledger.")] = "",
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Show exactly what waits for approval, and approve it: by another person than the one who asked."""
    if run is None and (yes or comment):
        raise UsageError(
            "nothing was named to approve",
            hint="`custody approve` lists what waits, `custody approve RUN --yes` approves",
        )
    with door() as (house, caller):
        from ..flows.approvals import approve as grant
        from ..flows.approvals import held_for, held_for_all

        if run is None:
            return _list_held(held_for_all(house, caller), json=json)
        held = held_for(house, run, caller)
        if not json and held is not None:
            _show_held(held)
        if not yes and held is not None:
            if not sys.stdin.isatty():
                raise UsageError("an approval needs a yes", hint="read what is shown above, then give --yes")
            typer.confirm("approve exactly this?", abort=True, err=True)
        entry = grant(house, run, caller, comment=comment)
    if json:
        print_json({"run": run, "approved": True, "entry": entry, "next": f"custody runs continue {run}"})
    else:
        say(f"approved, entry {entry}; the requester continues it with: custody runs continue {run}")
    return Exit.DONE


def refuse(
    run: Annotated[str, typer.Argument(help="The held run.", metavar="RUN")],
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; the requester reads it.")] = "",
    json: Json = False,
) -> int:
    """Say no to a held run, which is its end."""
    with door() as (house, caller):
        from ..flows.approvals import refuse as say_no

        entry = say_no(house, run, caller, comment=comment)
    if json:
        print_json({"run": run, "end": "refused", "entry": entry})
    else:
        say(f"refused, entry {entry}; run {run} has ended")
    return Exit.DONE


def _list_held(held: "list[Held]", *, json: bool) -> int:
    if json:
        print_json(
            {
                "held": [
                    {
                        "run": h.run,
                        "principal": h.submission.principal,
                        "roles": list(h.held.roles),
                        "expires": timestamp(datetime.fromisoformat(h.held.expires)),
                    }
                    for h in held
                ]
            }
        )
    elif not held:
        say("nothing waits for approval")
    else:
        rows = [
            (h.run, h.submission.principal, h.submission.file_name, " or ".join(h.held.roles), h.held.expires)
            for h in held
        ]
        table(("run", "principal", "program", "needs", "expires"), rows)
    return Exit.DONE


def _show_held(held: "Held") -> None:
    """Exactly what an approval would be bound to."""
    submission, decision = held.submission, held.decision
    for name, value in (
        ("run", held.run),
        ("asked for by", f"{submission.principal} ({submission.principal_kind}), earlier runs: {held.earlier_runs}"),
        ("owner", submission.owner or "none"),
        ("purpose", submission.purpose or "not said"),
        ("ticket", submission.ticket or "none"),
        ("program", f"{submission.file_name}, {submission.code_bytes} bytes, sha256 {submission.code_sha256}"),
        ("arguments", str(submission.argument_count)),
        ("input files", ", ".join(f"{f.name} ({f.sha256[:12]})" for f in submission.files) or "none"),
        ("profile", decision.profile),
        ("facts", ", ".join(submission.facts.flags) or "none seen"),
        ("imports", ", ".join(submission.facts.imports) or "none"),
        ("hosts", ", ".join(f"{h.name}:{h.port}" for h in submission.hosts) or "none"),
        ("mounts", ", ".join(f"{m.path} ({m.access})" for m in submission.mounts) or "none"),
        ("packages with findings", ", ".join(decision.exposure.packages_with_findings) or "none"),
        ("new for the requester", ", ".join(decision.exposure.new) or "nothing"),
        ("expires", held.held.expires),
    ):
        say(f"{name + ':':<24}{shown(value)}")
    if decision.limits is not None:
        say(f"{'limits:':<24}{', '.join(f'{name}={value}' for name, value in asdict(decision.limits).items())}")
    if held.audit is not None:
        say(
            f"{'audit:':<24}{'' if held.audit.real else 'not a real audit; '}{held.audit.clean} clean, {held.audit.vulnerable} vulnerable"
        )
    for line in exposure_lines(decision.exposure, decision.limits):
        say(f"{'at worst it could:':<24}{line}")
    for reason in decision.reasons:
        say(f"{'held by:':<24}{reason.rule}: {shown(reason.text)}")
    say("code:")
    for number, line in enumerate(held.code.decode("utf-8", "replace").splitlines(), 1):
        say(f"{number:>5}  {shown(line)}")
