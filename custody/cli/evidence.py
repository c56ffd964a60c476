"""Commands about evidence: verify, log show."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit
from .output import Json, door, print_json, result, say, shown, table

if TYPE_CHECKING:
    from ..flows.verification import Issued, Verified
    from ..ledger.types import Entry

__all__ = ["entry_json", "entry_rows", "register"]

_SHOWN = 160


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    app.command("verify")(verify)
    group = typer.Typer(help="The ledger's entries.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_log)
    group.command("show")(show_log)
    app.add_typer(group, name="log")


def _log() -> None:
    """The ledger's entries."""


def verify(
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", help="A checkpoint that was kept elsewhere: a file or an address; several."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="The verifier key, from a copy that was kept elsewhere.")
    ] = None,
    write_pin: Annotated[
        Path | None, typer.Option("--write-pin", help="Write the newest checkpoint to this file.")
    ] = None,
    from_pin: Annotated[
        bool, typer.Option("--from-pin", help="Read only what follows the newest pin from outside; the rest is named.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="A page of a review: whether it is one that was issued.")
    ] = None,
    json: Json = False,
) -> int:
    """Check the whole ledger: every byte, every hash, every signature, and agreement with pins that were kept elsewhere."""
    from ..flows.verification import verify as check_all
    from ..identity import calling_user
    from ..settings import load_settings

    settings = load_settings()
    caller = calling_user(settings.sudo_uid)
    verified = check_all(
        settings,
        actor=caller.os_user,
        pins=pin or (),
        key=key,
        from_pin=from_pin,
        write_pin_to=write_pin,
        report=report,
        progress=_progress(),
    )
    if json:
        print_json(_verified_json(verified))
    else:
        _print_verified(verified, write_pin)
        if verified.issued is not None:
            _print_issued(verified.issued, report)
    return verified.exit_code


def _progress() -> "Callable[[int, int], None] | None":
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        sys.stderr.write(f"\rchecked {done} of {total} entries" + ("\n" if done >= total else ""))

    return show


def _print_verified(verified: "Verified", write_pin: Path | None) -> None:
    verification = verified.verification
    for problem in verification.problems:
        where = "" if problem.index is None else f" (entry {problem.index})"
        result(f"problem {problem.code}{where}: {shown(problem.message)}")
    for sentence in verification.not_checked:
        say(f"not checked: {shown(sentence)}")
    for remark in verified.remarks:
        say(f"note: {shown(remark)}")
    if write_pin is not None and verification.consistent and verification.checkpoint is not None:
        say(f"pin written: {write_pin} (tree size {verification.checkpoint.size})")
    size, root = verification.size, verification.root.hex()[:16]
    if not verification.consistent:
        result(f"NOT intact: {len(verification.problems)} problems in {size} entries")
        say("hint: keep this home as it is, and compare it with a copy; nothing in it can be trusted by itself")
    elif verification.anchored_to is None:
        result(
            f"consistent in itself: {size} entries, root {root}; not anchored outside, so a rewritten or shortened history would not be seen"
        )
        say("hint: `custody verify --write-pin FILE` keeps a checkpoint; give it back later with --pin FILE")
    else:
        result(
            f"verified: {size} entries, root {root}, anchored up to entry {verification.anchored_to} by a pin from outside"
        )


def _print_issued(issued: "Issued", report: Path | None) -> None:
    if issued.review is None:
        result(f"{shown(report)} is NOT a page of a review that was issued here")
    else:
        result(f"{shown(report)} is the page of {issued.review} as it was issued (entry {issued.entry})")


def _verified_json(verified: "Verified") -> dict[str, object]:
    verification = verified.verification
    return {
        "consistent": verification.consistent,
        "size": verification.size,
        "root": verification.root.hex(),
        "anchored_to": verification.anchored_to,
        "problems": [asdict(problem) for problem in verification.problems],
        "checks": list(verification.checks),
        "not_checked": list(verification.not_checked),
        "remarks": list(verified.remarks),
        "recorded": verified.recorded,
        "issued": None if verified.issued is None else asdict(verified.issued),
        "exit_code": int(verified.exit_code),
    }


def show_log(
    run: Annotated[str | None, typer.Option("--run", help="Only entries of this run.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only entries of this kind, for example run:finished; several.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10000, help="How many, counted from the newest.")
    ] = 50,
    json: Json = False,
) -> int:
    """Show the newest entries; your reading becomes an entry too."""
    with door() as (house, caller):
        from ..flows.access import read_log

        found = read_log(house, caller, run=run, kinds=tuple(kind or ()), limit=limit)
    if json:
        print_json({"entries": [entry_json(entry) for entry in found]})
    elif not found:
        say("no entry matches")
    else:
        table(("entry", "time", "kind", "what"), entry_rows(found))
    return Exit.DONE


def entry_json(entry: "Entry") -> dict[str, object]:
    """One entry with its body, its exact bytes and its leaf hash."""
    return {
        "index": entry.index,
        "id": entry.id,
        "kind": entry.kind,
        "version": entry.version,
        "time": f"{entry.time:%Y-%m-%dT%H:%M:%S.%fZ}",
        "actor": entry.actor,
        "run": entry.run,
        "sequence": entry.sequence,
        "body": None if entry.event is None else asdict(entry.event),  # type: ignore[call-overload]  # every Event is a dataclass
        "leaf_hash": entry.leaf_hash.hex(),
        "leaf": entry.leaf.decode("utf-8", "replace"),
    }


def entry_rows(found: "Sequence[Entry]") -> list[tuple[object, ...]]:
    """Entries as rows of a table: what matters of each body on one line."""
    return [(entry.index, f"{entry.time:%Y-%m-%d %H:%M:%S}Z", entry.kind, _gist(entry)) for entry in found]


def _gist(entry: "Entry") -> str:
    if entry.event is None:
        return f"{entry.actor}: unknown to this release, kept as it is"
    body: dict[str, object] = asdict(entry.event)  # type: ignore[call-overload]  # every Event is a dataclass
    plain = [
        f"{name}={value}"
        for name, value in body.items()
        if isinstance(value, str | int) and value != "" and "sha256" not in name
    ]
    rules = body.get("rules")
    if isinstance(rules, tuple | list) and rules:
        plain.insert(0, f"rules={','.join(map(str, rules))}")
    text = f"{entry.actor}: {' '.join(plain)}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
