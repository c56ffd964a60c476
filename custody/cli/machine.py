"""Commands about this machine and home: init, doctor, demo, deploy."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Exit, UsageError
from .output import Json, door, print_json, result, say, shown, table, working


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    app.command("init")(init)
    app.command("doctor")(doctor)
    app.command("demo")(demo)
    app.command("deploy")(deploy)


def init(
    policies: Annotated[
        Path | None, typer.Option("--policies", help="A policy folder to put in force instead of the shipped one.")
    ] = None,
    json: Json = False,
) -> int:
    """Make a home: keys, ledger, directory of principals, the default policies in force."""
    from ..flows.setup import initialise
    from ..identity import calling_user
    from ..settings import load_settings

    settings = load_settings()
    caller = calling_user(settings.sudo_uid)
    initialise(
        settings.home,
        os_user=caller.os_user,
        policies=policies,
        secret_values=settings.secret_values,
        reading=settings.caller_files.rights,
    )
    if json:
        print_json(
            {
                "home": str(settings.home),
                "principal": caller.os_user,
                "verifier_key": str(settings.home / "keys" / "verifier.key"),
            }
        )
    else:
        result(f"made {settings.home} for {caller.os_user}")
        say("next: give keys/verifier.key and a pin (`custody verify --write-pin FILE`) to somebody else")
        say("next: `custody advisories import FILE`, then `custody doctor`")
    return Exit.DONE


def doctor(json: Json = False) -> int:
    """Look at every layer of the jail and every part of the home; each missing thing is named with its cause and cure."""
    with door() as (house, _):
        from ..flows.machine import doctor as look

        with working("looking"):
            checks = look(house)
    worst = max(check.severity for check in checks)
    if json:
        print_json({"checks": [asdict(check) for check in checks], "exit_code": int(worst)})
        return worst
    table(("what", "state", "cause", "cure"), [(c.name, c.state, c.cause, c.cure) for c in checks])
    return worst


def demo(
    into: Annotated[
        Path,
        typer.Option("--into", help="A directory for the demo's own home and pins; an earlier demo there is replaced."),
    ] = Path("custody-demo"),
    prefect: Annotated[
        bool, typer.Option("--prefect/--no-prefect", help="Run a part of it through a Prefect server of its own.")
    ] = True,
    json: Json = False,
) -> int:
    """Send a dozen real programs through every real step, and leave a review report on what happened."""
    from ..flows.demo import run_demo
    from ..identity import calling_user
    from ..settings import load_settings
    from .demonstration import Progress, print_demo

    sudo_uid = load_settings().sudo_uid
    if os.geteuid() == 0 and sudo_uid:
        raise UsageError(
            "by sudo root would make the demo in a place of somebody else's",
            hint="run it without sudo; whoever may do anything as root: `sudo env -u SUDO_UID custody demo`",
        )
    caller = calling_user(sudo_uid)
    done = run_demo(into, os_user=caller.os_user, with_prefect=prefect, observer=Progress())
    print_demo(done, json=json)
    return Exit.DONE


def deploy(json: Json = False) -> int:
    """Register the daily review with the Prefect server that PREFECT_API_URL names."""
    with door() as (house, caller):
        from ..flows.conduct import deploy as register_deployments

        registered = register_deployments(house, caller)
    if json:
        print_json({"deployments": [asdict(deployment) for deployment in registered]})
        return Exit.DONE
    for deployment in registered:
        when = f"{deployment.schedule} {deployment.timezone}" if deployment.schedule else "on demand"
        result(f"{deployment.name}: {when}, {deployment.entrypoint}")
    say(f"next: keep a worker running: {shown(' '.join(registered[0].worker_command))}")
    return Exit.DONE
