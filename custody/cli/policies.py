"""Commands about rules and people: policy apply, lint, test, why; principals list, add, disable."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit, UsageError
from .output import Json, door, print_json, result, say, shown, table, working
from .request import Asked, make_request
from .results import show_checked
from .runs import (
    PASS_THROUGH,
    Arguments,
    Hosts,
    Inputs,
    LimitOptions,
    Mounts,
    ProfileName,
    Purpose,
    Requirements,
    Ticket,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..flows.explanation import Explained, Hypothetical
    from ..flows.policy import Applied
    from ..policies import PolicySet
    from ..policies.types import PolicyProblem, RuleTestResult

__all__ = ["register"]

Folder = Annotated[
    Path | None, typer.Argument(help="The policy folder; without it that of this home.", metavar="[FOLDER]")
]
Candidate = Annotated[
    Path | None, typer.Option("--policies", help="Judge by this policy folder instead, which is not in force.")
]
_PAST = re.compile(r"(?:run|dec)-[0-9]{8}T[0-9]{6}-[0-9a-f]{4,32}")


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    policy = typer.Typer(help="Rules: apply, lint, test, why.", no_args_is_help=True, rich_markup_mode=None)
    policy.command("apply")(apply)
    policy.command("lint")(lint)
    policy.command("test")(play)
    policy.command("why", context_settings=PASS_THROUGH)(why)
    app.add_typer(policy, name="policy")
    people = typer.Typer(help="Who may ask: list, add, disable.", no_args_is_help=True, rich_markup_mode=None)
    people.command("list")(list_people)
    people.command("add")(add)
    people.command("disable")(disable)
    app.add_typer(people, name="principals")


# ---------------------------------------------------------------- rules


def apply(
    folder: Annotated[Path, typer.Argument(help="The policy folder.", metavar="FOLDER")],
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; goes into the ledger.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    json: Json = False,
) -> int:
    """Put the policies of a folder in force: checked, tested, decided and recorded; a bad set leaves the old one in force."""
    with door() as (house, caller):
        from ..flows.policy import apply_policies

        with working("checking and testing"):
            applied = apply_policies(house, caller, folder, comment=comment, dry_run=dry_run)
    if json:
        print_json({**asdict(applied), "dry_run": dry_run})
    else:
        _show_applied(applied, dry_run=dry_run)
    return Exit.DONE


def _show_applied(applied: "Applied", *, dry_run: bool) -> None:
    for line in applied.difference.splitlines():
        result(shown(line))
    digest = applied.policy_sha256[:12]
    if applied.policy_sha256 == applied.previous_sha256:
        say(f"nothing to do: {digest} is in force already")
        return
    if dry_run:
        say(f"would put {applied.rules} rules in force, {digest} instead of {applied.previous_sha256[:12]}")
        return
    say(
        f"in force: {applied.rules} rules, {digest} instead of {applied.previous_sha256[:12]}, entry {applied.entry}; "
        "approvals that were given under the old set count for nothing now"
    )
    if applied.working_copy == "edited":
        say("warning: the home's own policy folder holds other files, and was left as it is; they count for nothing")


def lint(folder: Folder = None, json: Json = False) -> int:
    """Say everything that is wrong with a policy folder, with file and line; nothing is changed."""
    policies = _policies(folder)
    from ..policies import Gate

    problems = Gate.lint(policies)
    code = Exit.FAILURE if problems else Exit.DONE
    if json:
        print_json({"problems": [_problem_json(problem) for problem in problems], "exit_code": int(code)})
        return code
    for problem in problems:
        result(shown(problem))
    if problems:
        say(f"error: {len(problems)} problem{'s' * (len(problems) != 1)} in the policy folder")
        say("hint: annotations and names are explained in docs/policies.md, attributes in the folder's schema")
    else:
        say(f"nothing is wrong with it: {len(policies.files)} files")
    return code


def _problem_json(problem: "PolicyProblem") -> dict[str, object]:
    return asdict(problem)


def play(folder: Folder = None, json: Json = False) -> int:
    """Play the rule tests of a policy folder."""
    policies = _policies(folder)
    from ..policies import run_rule_tests

    with working("testing"):
        results = run_rule_tests(policies)
    failed = [each for each in results if each.problems]
    code = Exit.FAILURE if failed or not results else Exit.DONE
    if json:
        value = {"cases": len(results), "failed": [asdict(each) for each in failed], "exit_code": int(code)}
        print_json(value)
        return code
    _show_failed(failed)
    if not results:
        say("error: there are no tests in it")
        say("hint: they stand in `tests/*.yaml`; the format is in docs/policies.md")
    elif failed:
        say(f"error: {len(failed)} of {len(results)} cases failed")
        say("hint: mend the rule or the case; deciding rules are compared exactly")
    else:
        say(f"all {len(results)} cases passed")
    return code


def _show_failed(failed: "Sequence[RuleTestResult]") -> None:
    for each in failed:
        for problem in each.problems:
            result(shown(f"{each.file}: rule `{each.rule}`: {each.name}: {problem}"))


def _policies(folder: Path | None) -> "PolicySet":
    """The folder that was named, or that of the home."""
    from ..flows.house import Places, caller_policies
    from ..settings import load_settings

    settings = load_settings()
    return caller_policies(settings, folder or Places(settings.home).policies)


def why(
    what: Annotated[
        str, typer.Argument(help="A run, a decision, or a program that might be run.", metavar="RUN|DECISION|FILE")
    ],
    arguments: Arguments = None,
    policies: Candidate = None,
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
    """Explain a decision in sentences: of the past, made again from what was kept, or of a program that nobody has run yet."""
    asked = Asked(
        program=what,
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
        from ..flows.explanation import why_decided, why_would

        if _PAST.fullmatch(what) is None:
            with working("deciding"):
                hypothetical = why_would(house, make_request(house, caller, asked), candidate=policies)
        else:
            if any((arguments, requirements, inputs, hosts, mounts, profile, limits, purpose, ticket)):
                raise UsageError(
                    "a decision of the past is explained as it was", hint="give options only with a program"
                )
            explained = why_decided(house, caller, what, candidate=policies)
            return _show_explained(explained, json=json)
    return _show_hypothetical(hypothetical, json=json)


def _show_explained(explained: "Sequence[Explained]", *, json: bool) -> int:
    if json:
        print_json({"decisions": [asdict(each) for each in explained]})
        return Exit.DONE
    for each in explained:
        about = f" of {shown(each.subject)}" if each.subject else ""
        result(f"{each.stage}{about}: {each.result.replace('_', ' ')} (entry {each.entry}, {each.decision})")
        for sentence in each.sentences:
            result(f"  {shown(sentence)}")
        force = "the set in force" if each.in_force else "a set that is not in force"
        result(f"  decided by {each.policy_sha256[:12]}, {force}; made again: {shown(each.again)}")
        if each.under:
            result(f"  under the other policies: {each.under.replace('_', ' ')}, by {', '.join(each.under_rules)}")
    return Exit.DONE


def _show_hypothetical(hypothetical: "Hypothetical", *, json: bool) -> int:
    checked = hypothetical.checked
    show_checked(checked, json=json, sentences=hypothetical.sentences)
    return checked.exit_code


# ---------------------------------------------------------------- people


def list_people(json: Json = False) -> int:
    """List everybody who stands in the directory."""
    with door() as (house, caller):
        from ..flows.principals import list_principals

        found = list_principals(house, caller)
    if json:
        print_json({"principals": [asdict(each) for each in found]})
        return Exit.DONE
    rows = [
        (
            each.name,
            each.kind,
            each.owner or "",
            each.os_user or "",
            " ".join(each.roles),
            " ".join(each.teams),
            "enabled" if each.effective else "disabled" if not each.enabled else "its owner is disabled",
        )
        for each in found
    ]
    table(("name", "kind", "owner", "login", "roles", "teams", "state"), rows)
    return Exit.DONE


def add(
    name: Annotated[str, typer.Argument(help="The new principal.", metavar="NAME")],
    kind: Annotated[str, typer.Option("--kind", help="human, agent or service.")] = "human",
    owner: Annotated[str | None, typer.Option("--owner", help="The human who answers for an agent or service.")] = None,
    os_user: Annotated[str | None, typer.Option("--os-user", help="The login that it calls with.")] = None,
    roles: Annotated[list[str] | None, typer.Option("--role", help="A role; several.")] = None,
    teams: Annotated[list[str] | None, typer.Option("--team", help="A team of the directory; several.")] = None,
    json: Json = False,
) -> int:
    """Enter somebody into the directory; what was there stays as it was written."""
    from ..policies.types import PrincipalKind

    if kind not in set(PrincipalKind):
        raise UsageError(f"`{kind}` is no kind of principal", hint="give human, agent or service")
    with door() as (house, caller):
        from ..flows.principals import NewPrincipal, add_principal

        new = NewPrincipal(
            name=name, kind=PrincipalKind(kind), owner=owner, os_user=os_user, roles=roles or (), teams=teams or ()
        )
        entry = add_principal(house, caller, new)
    if json:
        print_json({"principal": name, "kind": kind, "entry": entry})
    else:
        say(f"added {shown(name)}, entry {entry}")
    return Exit.DONE


def disable(
    name: Annotated[str, typer.Argument(help="The principal.", metavar="NAME")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; goes into the ledger.")] = "",
    json: Json = False,
) -> int:
    """Take every right from somebody, and from the agents and services that they answer for; what was recorded stays."""
    with door() as (house, caller):
        from ..flows.principals import disable_principal

        entry = disable_principal(house, caller, name, reason=reason)
    if json:
        print_json({"principal": name, "entry": entry})
    else:
        say(f"disabled {shown(name)}, entry {entry}")
    return Exit.DONE
