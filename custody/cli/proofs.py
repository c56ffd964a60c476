"""Commands about proofs and keys: prove, keys rotate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit, UsageError
from .output import Json, door, print_json, result, say, shown

if TYPE_CHECKING:
    from ..ledger.types import Inclusion

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    app.command("prove")(prove)
    group = typer.Typer(help="The ledger's signing key.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_keys)
    group.command("rotate")(rotate)
    app.add_typer(group, name="keys")


def _keys() -> None:
    """The ledger's signing key: rotate."""


def prove(
    what: Annotated[
        str | None, typer.Argument(help="An entry by its number, or a run (the entry of its end).", metavar="[ENTRY]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A new file for the proof instead of standard output.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Check this proof instead; it needs no home, only --key.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="With --check: the verifier key, from a copy that was kept elsewhere.")
    ] = None,
    json: Json = False,
) -> int:
    """Prove an entry or the end of a run to a stranger: a .tlog-proof with the entry's own bytes; or check such a proof."""
    if check is not None:
        if what is not None or out is not None or key is None:
            raise UsageError(
                "--check takes the proof and --key, nothing else", hint="custody prove --check FILE --key KEY"
            )
        return _check(check, key, json=json)
    if what is None or key is not None:
        raise UsageError("prove needs an entry or a run", hint="custody prove ENTRY [--out FILE]")
    with door() as (house, caller):
        from ..flows.verification import prove as make

        files = house.settings.caller_files
        if out is not None:
            files.require_new_file(out)
        done = make(house, caller, what)
    if out is not None:
        files.write(out, done.proof.encode())
    if json:
        entry = done.entry
        print_json(
            {
                "entry": entry.index,
                "kind": entry.kind,
                "run": entry.run,
                "leaf_hash": entry.leaf_hash.hex(),
                "tree_size": done.tree_size,
                "proof": done.proof,
                "recorded": done.recorded,
            }
        )
    elif out is None:
        result(done.proof.rstrip("\n"))
    else:
        say(f"proof written: {out} (entry {done.entry.index}, {done.entry.kind}, in a tree of {done.tree_size})")
    return Exit.DONE


def _check(proof: Path, key: Path, *, json: bool) -> int:
    from ..flows.verification import check_receipt
    from ..settings import load_settings

    proved: Inclusion = check_receipt(proof, key=key, files=load_settings().caller_files)
    leaf = proved.leaf.decode("utf-8", "replace")
    if json:
        print_json(
            {
                "entry": proved.index,
                "tree_size": proved.checkpoint.size,
                "origin": proved.checkpoint.origin,
                "leaf": leaf,
                "proved": True,
            }
        )
    else:
        result(shown(leaf))
        say(
            f"proved: this is entry {proved.index} of `{shown(proved.checkpoint.origin)}`, signed for in a tree of "
            f"{proved.checkpoint.size} entries"
        )
    return Exit.DONE


def rotate(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for use without a terminal.")] = False,
    json: Json = False,
) -> int:
    """Put a new signing key in force: the entry that says so is signed for by both keys, what follows by the new one."""
    from ..identity import calling_user
    from ..settings import load_settings

    if not yes:
        typer.confirm("change the signing key of this ledger?", abort=True, err=True)
    caller = calling_user(load_settings().sudo_uid)
    with door() as (house, principal):
        from ..flows.keys import rotate as change

        done = change(house, principal, os_user=caller.os_user)
    if done.remark:
        say(f"note: {shown(done.remark)}")
    if json:
        print_json({"old_key": done.old_key, "new_key": done.new_key, "entry": done.entry, "remark": done.remark})
    else:
        result(done.new_key)
        say(
            f"in force since entry {done.entry}; hand it to whoever checks this ledger, the old key stays good for what it signed"
        )
    return Exit.DONE
