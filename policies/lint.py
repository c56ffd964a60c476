"""What a policy set lacks beyond being readable: a schema that fits this release, and a test for every rule.

Cedar would take a set whose schema misses an attribute and answer every request with an error; that is found here, before it is in force.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from .bundle import ACTIONS, Slice, context_of_action, context_of_run, context_of_submit
from .control_names import frameworks
from .engine import Engine
from .exposure import classes_of
from .policy_set import PolicySet
from .rule_cases import read_cases
from .rules import Rule
from .settings_files import Lists
from .types import (
    Access,
    Budgets,
    CodeFacts,
    DependencyFacts,
    Exposure,
    History,
    HostRequest,
    Limits,
    MountRequest,
    PackageFacts,
    PolicyProblem,
    Principal,
    PrincipalKind,
    Profile,
    RunRequest,
    RunSubject,
)

__all__ = ["unfit", "unknown_controls", "untested"]

_WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def unfit(engine: Engine, profiles: Mapping[str, Profile]) -> list[PolicyProblem]:
    """Problems of a schema that this release cannot fill: every kind of request is put once, and none may end in an error."""
    profile = next(iter(profiles.values()))
    errors: dict[str, None] = {}
    for kind in PrincipalKind:
        bundle = _one_of_each(Principal(id="probe", kind=kind, owner="owner", roles=("developer",)), profile).bundle()
        for answer in engine.answer(bundle.requests, bundle.entities):
            errors |= dict.fromkeys(answer.errors)
    return [
        PolicyProblem(
            file="schema.cedarschema",
            line=0,
            rule="",
            text=f"does not fit this release, or a rule fails on a plain request: {error}",
        )
        for error in errors
    ]


def untested(policies: PolicySet, rules: Sequence[Rule]) -> Iterator[PolicyProblem]:
    """Rules without a test in which they fire, or without one in which they do not; and tests of rules that are not there."""
    read = read_cases(policies)
    yield from read.problems
    for rule in rules:
        fires = {case.rule_fires for case in read.cases if case.rule == rule.id}
        for wanted, words in ((True, "in which it fires"), (False, "in which it does not fire")):
            if wanted not in fires:
                yield PolicyProblem(
                    file=rule.file, line=rule.line, rule=rule.id, text=f"has no test {words}", blocking=False
                )
    known = {rule.id for rule in rules}
    for case in read.cases:
        if case.rule not in known:
            yield PolicyProblem(
                file=case.file, line=0, rule=case.rule, text="is tested, but there is no such rule", blocking=False
            )


def unknown_controls(rules: Sequence[Rule]) -> Iterator[PolicyProblem]:
    """Control ids that stand in no framework: a report would show them without a name."""
    known = {control for framework in frameworks() for control in framework.controls}
    for rule in rules:
        for control in rule.controls:
            if control not in known:
                text = f"names the control {control}, which is in no framework that custody knows"
                yield PolicyProblem(file=rule.file, line=rule.line, rule=rule.id, text=text, blocking=False)


def _one_of_each(principal: Principal, profile: Profile) -> Slice:
    """A slice that asks every kind of question once."""
    request = RunRequest(principal=principal, code=b"", file_name="probe.py")
    code = CodeFacts(language="python", sha256="", bytes=0, parsed=True)
    asked = Slice(principal, _WHEN, History(), Lists())
    asked.ask("submit", asked.profile(profile), "", context_of_submit(request, code, 0, Budgets()))
    context = context_of_run(
        Limits(), code, DependencyFacts(), exposure=Exposure(), classes=classes_of((), Lists()), spent=Budgets()
    )
    asked.ask("execute", asked.profile(profile), "", context)
    asked.requirement("probe", "1", profile)
    asked.package(PackageFacts(name="probe", version="1", yanked=False, age_days=1), DependencyFacts(), profile)
    asked.host(HostRequest("192.0.2.1", 443), profile)
    for access in Access:
        asked.mount(MountRequest("/probe", access, "probe"), profile)
    run = asked.subject(RunSubject(run="probe", requester="other", requester_kind=PrincipalKind.HUMAN))
    for action, kind in ACTIONS.items():
        context = context_of_action(action, role="probe", layers=("probe",))
        asked.ask(action, run if kind == "Run" else asked.single(kind), "", context)
    return asked
