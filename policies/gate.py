"""The gate: every request is decided here, and only by rules.

Rules of the decision, each of which exists because Cedar alone would be weaker:
- A run is one bundle: execute, and every host, path and package; the strictest answer wins.
- Rules may lower limits and force a profile (@clamp_*, @profile). What they ask for is applied, and the engine decides again: at most four
  turns, each of which only tightens. A rule that still fires then is a denial.
- Approvals count only for exactly what they were given for, and never from the requester or who answers for the requester.
- An unknown profile, facts that contradict each other, and any error of the engine deny.
- A grant is made only here, and only when everything in the bundle is allowed or would be with the approvals that are named.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from ..errors import PolicyError
from . import lint
from .bundle import ACTIONS, CHANGE_POLICY, Bundle, Slice, context_of_action, context_of_run, context_of_submit
from .deciding import Decisions, Facts, Judged
from .engine import Engine, UnparsableError
from .explain import explained
from .exposure import classes_of, exposure_of
from .loading import load
from .policy_set import LOCKED, PolicySet
from .rules import Rule
from .settings_files import Lists
from .tightening import State, tightened
from .types import (
    Approval,
    Basis,
    CodeFacts,
    Decision,
    Denied,
    DependencyFacts,
    Exposure,
    History,
    Permitted,
    PolicyProblem,
    Principal,
    Profile,
    RunRequest,
    RunSubject,
)
from .verdict import DENIED, Verdict, judge, read_inputs

__all__ = ["Gate"]

_TURNS = 4
_BY_OWN_RULES = frozenset(ACTIONS) - {"approve", "continueRun"}
"""What the rules of a home are asked while nothing runs there: what is held stays held, and nobody approves what will be judged anew."""
_BY_SHIPPED_RULES = frozenset({CHANGE_POLICY, "verifyLedger"})
"""What the shipped rules answer for a home whose own cannot be read any more; neither shows an entry to anybody."""
_LINT = "run `custody policy lint FOLDER` for all of it; what is in force stays in force"


class Gate:
    """Decides by one policy set, which it has checked completely before.

    Raises:
        PolicyError: the set cannot be put in force; names file, line and rule of the first problem.
    """

    def __init__(self, policies: PolicySet) -> None:
        loaded = load(policies)
        blocking = [problem for problem in loaded.problems if problem.blocking]
        if blocking or loaded.schema is None:
            raise _unusable(blocking)
        self.policies = policies
        self.closed = ""
        """Why nothing may run under this gate, in half a sentence; empty for one that decides."""
        self.profiles: Mapping[str, Profile] = MappingProxyType(dict(loaded.profiles))
        self.rules = len(loaded.rules)
        self._rules = {rule.id: rule for rule in loaded.rules}
        self._decisions = self._refusals = Decisions(policies, self._rules)
        self._answered = frozenset(ACTIONS)
        try:
            self._engine = Engine({rule.id: rule.text for rule in loaded.rules}, loaded.schema)
        except UnparsableError as error:
            raise PolicyError(f"the policy set cannot be used: {error}", hint=_LINT) from error
        self._lists = loaded.lists
        if problems := lint.unfit(self._engine, self.profiles):
            raise _unusable(problems)

    @staticmethod
    def in_force(policies: PolicySet) -> "Gate":
        """The gate of a home, over the set that is in force there; a closed one if that set does not fit this release.

        An older release may have put it in force. A closed gate refuses every run and says why, and still knows who may put another set in force:
        by the set's own rules, read with the schema of this release, which mostly says more than the one before and not less. Only where they
        cannot be read that way the shipped rules answer, and only who may change policies or check the ledger.
        """
        try:
            return Gate(policies)
        except PolicyError as error:
            problem = error.message
        try:
            gate, answered = Gate(policies.with_schema_of(PolicySet.shipped())), _BY_OWN_RULES
        except PolicyError:
            gate, answered = Gate(PolicySet.shipped()), _BY_SHIPPED_RULES
        gate.closed = f"the policy set in force does not fit this release of custody, so nothing runs until one is applied that does: {problem}"
        gate._answered, gate._refusals = answered, Decisions(policies, {})
        return gate

    @staticmethod
    def lint(policies: PolicySet) -> tuple[PolicyProblem, ...]:
        """Everything that is wrong with a set, with file and line; what does not block it is said to be so."""
        loaded = load(policies)
        return (*loaded.problems, *lint.untested(policies, loaded.rules), *lint.unknown_controls(loaded.rules))

    def with_lists(self, lists: Lists) -> "Gate":
        """This gate with other lists, for rule tests that bring their own."""
        other = copy(self)
        other._lists = lists  # noqa: SLF001 - its own class
        return other

    def rule(self, name: str) -> Rule | None:
        """A rule by its id, for explanations."""
        return self._rules.get(name)

    def submit(
        self,
        request: RunRequest,
        *,
        packages: Sequence[tuple[str, str]],
        code: CodeFacts,
        history: History,
        now: datetime,
        decision: str,
    ) -> Permitted | Denied:
        """Whether a request is taken at all, and each directly required package by name; before anything is resolved.

        An item that a person could approve does not end it here: the run is held when it is decided.

        Args:
            request: what was asked for.
            packages: (name, version) of each directly required package.
            code: hints from the program's text.
            history: counts from the ledger.
            now: the time of the decision.
            decision: its id.
        """
        profile = self.profiles.get(request.profile)
        wrong = (*self._closed(), *_contradictions(request, code))
        if profile is None or wrong:
            return self._undecidable("submit", request, decision, wrong)
        asked = Slice(request.principal, now, history, self._lists, request.ticket)
        asked.ask(
            "submit",
            asked.profile(profile),
            profile.name,
            context_of_submit(request, code, len(packages), history.spent),
        )
        for name, version in packages:
            asked.requirement(name, version, profile)
        return self._permit(asked.bundle(), decision)

    def run(
        self,
        request: RunRequest,
        *,
        dependencies: DependencyFacts,
        code: CodeFacts,
        history: History,
        approvals: Sequence[Approval],
        lock_sha256: str | None,
        now: datetime,
        decision: str,
    ) -> Decision:
        """Whether the run may happen, under which grant, or whose approval it needs.

        Args:
            request: what was asked for.
            dependencies: what the audit of the lock found.
            code: hints from the program's text.
            history: counts from the ledger.
            approvals: those in force; one counts only if its binding is that of this decision.
            lock_sha256: of the lock that was audited; None without packages.
            now: the time of the decision.
            decision: its id.
        """
        profile = self.profiles.get(request.profile)
        wrong = (*self._closed(), *_contradictions(request, code), *_contradictions_of(dependencies))
        if profile is None or wrong:
            return self._undecidable("execute", request, decision, wrong)
        facts = Facts(request, dependencies, code, history, approvals, lock_sha256, now)
        state = State(profile, request.limits)
        for _ in range(_TURNS):
            bundle, exposure = self._bundle(facts, state)
            verdict = judge(self._engine, self._rules, bundle)
            following = tightened(state, verdict.fired, self.profiles)
            judged = Judged(facts, state, verdict, bundle, exposure)
            if following == state:
                return self._decisions.of_run(judged, decision)
            state = following
        error = f"what the rules ask for did not settle within {_TURNS} turns"
        unsettled = replace(verdict, result=DENIED, errors=(error,))
        return self._decisions.of_run(replace(judged, state=state, verdict=unsettled), decision)

    def act(
        self,
        principal: Principal,
        action: str,
        *,
        now: datetime,
        decision: str,
        subject: RunSubject | None = None,
        role: str = "",
        layers: Collection[str] | None = None,
        history: History | None = None,
    ) -> Permitted | Denied:
        """Whether a principal may do something other than run code: approve, read, verify, change policies.

        Args:
            principal: who.
            action: one of those in the schema.
            now: the time of the decision.
            decision: its id.
            subject: the run that it is about, for actions about runs.
            role: the role that a person answers in, for `approve` and `refuse`.
            layers: layers of the policy set that would change, for `changePolicy`; the locked one if not said.
            history: counts from the ledger.
        """
        if action in ACTIONS and action not in self._answered:
            return self._refusals.refused(action, "", self._closed(), decision)
        kind = ACTIONS.get(action)
        if kind is None or (kind == "Run") != (subject is not None):
            error = (
                f"`{action[:40]}` is no action"
                if kind is None
                else f"`{action}` is {'' if kind == 'Run' else 'not '}about a run"
            )
            return self._decisions.refused(action[:40], "", (error,), decision)
        asked = Slice(principal, now, history or History())
        resource = asked.subject(subject) if subject else asked.single(kind)
        layers = (LOCKED,) if layers is None else layers
        words = subject.run if subject else kind
        if action == CHANGE_POLICY and layers:
            words = f"{kind} ({', '.join(sorted(layers))})"
        asked.ask(action, resource, words, context_of_action(action, role=role, layers=layers))
        return self._permit(asked.bundle(), decision)

    def why(self, basis: Basis, *, details: bool = False) -> tuple[str, ...]:
        """A decision in sentences; with details for readers who may see them."""
        return tuple(explained(basis, self._rules, details=details))

    def replay(self, inputs: bytes) -> Verdict:
        """Make a decision's last turn again from what was kept of it, under this policy set.

        Raises:
            PolicyError: these are not the inputs of a decision.
        """
        return judge(self._engine, self._rules, read_inputs(inputs))

    # ---------------------------------------------------------------- one turn

    def _bundle(self, facts: Facts, state: State) -> tuple[Bundle, Exposure]:
        request = facts.request
        exposure = exposure_of(
            hosts=request.hosts,
            mounts=request.mounts,
            limits=state.limits,
            dependencies=facts.dependencies,
            history=facts.history,
            lists=self._lists,
        )
        approvals = self._decisions.approved_roles(facts, state)
        asked = Slice(request.principal, facts.now, facts.history, self._lists, request.ticket, approvals)
        context = context_of_run(
            state.limits,
            facts.code,
            facts.dependencies,
            exposure=exposure,
            classes=classes_of(request.mounts, self._lists),
            spent=facts.history.spent,
        )
        asked.ask("execute", asked.profile(state.profile), state.profile.name, context)
        for host in request.hosts:
            asked.host(host, state.profile)
        for mount in request.mounts:
            asked.mount(mount, state.profile)
        for package in facts.dependencies.packages:
            asked.package(package, facts.dependencies, state.profile)
        return asked.bundle(), exposure

    def _permit(self, bundle: Bundle, decision: str) -> Permitted | Denied:
        return self._decisions.of_action(judge(self._engine, self._rules, bundle), bundle, decision)

    def _closed(self) -> tuple[str, ...]:
        return (self.closed,) if self.closed else ()

    def _undecidable(self, action: str, request: RunRequest, decision: str, wrong: tuple[str, ...]) -> Denied:
        unknown = (
            ()
            if request.profile in self.profiles or self.closed
            else (f"profile `{request.profile[:64]}` is not in the policy set in force",)
        )
        return self._refusals.refused(action, request.profile, (*unknown, *wrong), decision)


def _contradictions(request: RunRequest, code: CodeFacts) -> tuple[str, ...]:
    """Facts of the code that are not facts of this request's code."""
    if code.sha256 != hashlib.sha256(request.code).hexdigest() or code.bytes != len(request.code):
        return ("the facts of the code are those of another program",)
    if code.language != request.language:
        return ("the facts of the code are for another language",)
    return ()


def _contradictions_of(dependencies: DependencyFacts) -> tuple[str, ...]:
    if dependencies.total != len(dependencies.packages):
        return (f"the audit counts {dependencies.total} packages and names {len(dependencies.packages)}",)
    return ()


def _unusable(problems: Sequence[PolicyProblem]) -> PolicyError:
    first = str(problems[0]) if problems else "the policy set has no schema"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return PolicyError(f"{first}{more}", hint=_LINT)
