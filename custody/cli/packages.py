"""Commands about packages: audit, advisories import, advisories status."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit
from .output import Json, door, print_json, result, say, shown, table, working

if TYPE_CHECKING:
    from ..dependencies.types import Findings, PinFinding


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    app.command("audit")(audit)
    group = typer.Typer(help="Advisory data: import, status.", no_args_is_help=True, rich_markup_mode=None)
    group.command("import")(import_advisories)
    group.command("status")(show_status)
    app.add_typer(group, name="advisories")


def audit(
    requirements: Annotated[Path, typer.Argument(help="Pinned and hashed requirements.", metavar="FILE")],
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="The profile whose rules on advisory data apply.")
    ] = None,
    json: Json = False,
) -> int:
    """Audit pinned and hashed requirements by the advisory data; exits 0 only for complete coverage without findings."""
    from ..settings import load_settings

    text = load_settings().caller_files.read(requirements)
    with door() as (house, caller):
        from ..flows.advisories import audit_file

        with working("auditing"):
            audited = audit_file(house, caller, text, name=str(requirements), profile=profile or house.settings.profile)
    if json:
        print_json({**_findings_json(audited.findings), "exit_code": int(audited.exit_code), "entry": audited.entry})
    else:
        _print_findings(audited.findings)
        if audited.refused:
            say(f"error: {audited.refused}")
            say("hint: `custody advisories import FILE` brings real advisory data")
    return audited.exit_code


def _print_findings(findings: "Findings") -> None:
    from ..flows.entries import worst
    from ..flows.fixes import fixing_versions

    if findings.pins:
        table(
            ("package", "version", "state", "severity", "advisories", "fixed in"),
            [
                (
                    f.pin.name,
                    f.pin.version,
                    f.state,
                    worst(f) or "",
                    ", ".join(a.id for a in f.advisories) or f.reason,
                    ", ".join(fixing_versions(f)),
                )
                for f in findings.pins
            ],
        )
    if findings.data is not None:
        data = findings.data
        say(f"data: {data.data_class}, {data.records} records from {shown(data.source)}, as of {data.as_of:%Y-%m-%d}")
    if not findings.real:
        result("not a real audit: demo data")
    if not findings.complete:
        result(f"coverage error: {shown(findings.coverage_error)}")


def _findings_json(findings: "Findings") -> dict[str, object]:
    return {
        "real_audit": findings.real,
        "complete": findings.complete,
        "coverage_error": findings.coverage_error,
        "lock_sha256": findings.lock_sha256,
        "data": None if findings.data is None else asdict(findings.data),
        "second_opinion": None if findings.second_opinion is None else asdict(findings.second_opinion),
        "pins": [_pin_json(finding) for finding in findings.pins],
    }


def _pin_json(finding: "PinFinding") -> dict[str, object]:
    return {
        "name": finding.pin.name,
        "version": finding.pin.version,
        "state": finding.state.value,
        "reason": finding.reason,
        "advisories": [asdict(advisory) for advisory in finding.advisories],
    }


def import_advisories(
    source: Annotated[
        Path, typer.Argument(help="OSV records: .json, .jsonl, .jsonl.gz, or a .zip of .json files.", metavar="FILE")
    ],
    json: Json = False,
) -> int:
    """Import advisory data from a file; bad records are counted and left out, and the data before stays until the new is proved."""
    with door() as (house, caller):
        from ..flows.advisories import import_file

        with working("importing"):
            data = import_file(house, caller, source)
    if json:
        print_json(asdict(data))
    else:
        result(f"imported {data.records} records as of {data.as_of:%Y-%m-%d}; {data.quarantined} were not usable")
    return Exit.DONE


def show_status(json: Json = False) -> int:
    """Say which advisory data is in use, and whether it is fit for an audit."""
    with door() as (house, _):
        from ..flows.advisories import status

        found = status(house)
    if json:
        print_json(
            {"data": None if found.data is None else asdict(found.data), "fit": found.fit, "remark": found.remark}
        )
    else:
        if found.data is not None:
            data = found.data
            result(
                f"{data.data_class}: {data.records} records from {shown(data.source)}, as of {data.as_of:%Y-%m-%d}, {data.quarantined} quarantined"
            )
        result(found.remark)
    return Exit.DONE if found.fit else Exit.BLOCKED
