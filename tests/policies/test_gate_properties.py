"""What holds for every request: removing a permit allows nothing, worse facts allow nothing, order changes nothing, an error allows nothing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.policies import Gate, PolicySet
from custody.policies.types import (
    Access,
    Allowed,
    Budgets,
    CodeFacts,
    Denied,
    DependencyFacts,
    History,
    HostRequest,
    Limits,
    MountRequest,
    NeedsApproval,
    PackageFacts,
    Principal,
    PrincipalKind,
    RunRequest,
    Spent,
    Usage,
)

from .asking import Asking, audited, code_facts, request, without

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHIPPED = Asking(Gate(PolicySet.shipped()))
WITHOUT = [Asking(Gate(without(name))) for name in ("run-developers", "run-services-strict", "install-roles")]
RANK = {Allowed: 0, NeedsApproval: 1, Denied: 2}

ROLES = ["developer", "runner", "auditor", "heavy", "security-reviewer"]
FLAGS = ["obfuscated", "native", "process", "hidden_characters", "network"]


def mostly(usual: bool) -> st.SearchStrategy[bool]:  # noqa: FBT001 - reads as in mostly(True)
    return st.sampled_from([usual, usual, usual, not usual])


principals = st.builds(
    Principal,
    id=st.sampled_from(["alice", "coder"]),
    kind=st.sampled_from(PrincipalKind),
    known=mostly(True),
    enabled=mostly(True),
    owner=st.sampled_from(["alice", "alice", None]),
    owner_enabled=mostly(True),
    roles=st.lists(st.sampled_from(ROLES), max_size=3, unique=True).map(lambda more: ("developer", *more)),
)
limits = st.builds(Limits, **{field.name: st.integers(1, 5000) for field in fields(Limits)})
packages = st.lists(
    st.builds(
        PackageFacts,
        name=st.sampled_from(["a", "b", "c", "d"]),
        version=st.just("1"),
        hashed=mostly(True),
        malicious=mostly(False),
        critical=st.sampled_from([0, 0, 0, 1]),
        unknown=st.sampled_from([0, 0, 0, 2]),
        medium=st.integers(0, 2),
        age_days=st.none() | st.integers(0, 30),
    ),
    max_size=3,
    unique_by=lambda package: package.name,
).map(tuple)
hosts = st.lists(st.sampled_from([HostRequest("api.example.org", 443), HostRequest("127.0.0.1", 80)]), max_size=1).map(
    tuple
)
mounts = st.lists(st.just(MountRequest("/srv/data", Access.READ, "data")), max_size=1).map(tuple)


@dataclass(frozen=True)
class Given:
    """One run with everything that it is judged by."""

    asked: RunRequest
    code: CodeFacts
    dependencies: DependencyFacts
    history: History

    def rank(self, asking: Asking = SHIPPED) -> int:
        return RANK[type(self.decision(asking))]

    def decision(self, asking: Asking = SHIPPED) -> Allowed | NeedsApproval | Denied:
        return asking.run(self.asked, code=self.code, dependencies=self.dependencies, history=self.history)


@st.composite
def runs(draw: st.DrawFn) -> Given:
    # hosts and mounts are always denied by the shipped rules; drawn rarely, or nothing else would be seen
    opens = draw(mostly(False))
    asked = request(
        draw(principals),
        profile=draw(st.sampled_from(["default", "strict", "demo"])),
        limits=draw(limits),
        hosts=draw(hosts) if opens else (),
        mounts=draw(mounts) if opens else (),
    )
    code = code_facts(
        parsed=draw(mostly(True)), flags=tuple(draw(st.lists(st.sampled_from(FLAGS), max_size=2, unique=True)))
    )
    dependencies = audited(
        *draw(packages), covered=draw(mostly(True)), data_class=draw(st.sampled_from(["live", "imported", "demo"]))
    )
    return Given(asked, code, dependencies, History(denied_10m=draw(st.sampled_from([0, 0, 4, 5]))))


@SETTINGS
@given(runs())
def test_removing_a_permit_never_loosens(run: Given) -> None:
    assert all(run.rank(fewer) >= run.rank() for fewer in WITHOUT)


def each_package(**worse: object) -> Callable[[Given], Given]:
    def worsen(run: Given) -> Given:
        made = tuple(replace(package, **worse) for package in run.dependencies.packages)  # type: ignore[arg-type]  # fields of PackageFacts
        return replace(run, dependencies=replace(run.dependencies, packages=made))

    return worsen


def principal(**worse: object) -> Callable[[Given], Given]:
    def worsen(run: Given) -> Given:
        return replace(run, asked=replace(run.asked, principal=replace(run.asked.principal, **worse)))  # type: ignore[arg-type]  # fields of Principal

    return worsen


_MUCH = Usage(runs=10**6, cpu_seconds=10**6, bytes_out=10**10, artefact_bytes=10**10)
_ALL_OF_IT = Spent(hour=_MUCH, day=_MUCH, month=_MUCH)
USED_UP = Budgets(principal=_ALL_OF_IT, owner=_ALL_OF_IT, team=_ALL_OF_IT)

WORSE: dict[str, Callable[[Given], Given]] = {
    "a critical advisory": each_package(critical=1),
    "an advisory of unknown severity": each_package(unknown=1),
    "a malicious package": each_package(malicious=True),
    "a withdrawn release": each_package(yanked=True),
    "a young release": each_package(age_days=0),
    "no hashes": each_package(hashed=False),
    "a version that could not be judged": each_package(undetermined=True),
    "no coverage": lambda run: replace(run, dependencies=replace(run.dependencies, covered=False)),
    "no data": lambda run: replace(run, dependencies=replace(run.dependencies, data_class="none")),
    "hidden code": lambda run: replace(run, code=replace(run.code, flags=(*run.code.flags, "obfuscated"))),
    "native code": lambda run: replace(run, code=replace(run.code, flags=(*run.code.flags, "native"))),
    "no syntax tree": lambda run: replace(run, code=replace(run.code, parsed=False)),
    "a secret": lambda run: replace(run, code=replace(run.code, secrets=("aws_access_key",))),
    "more denials": lambda run: replace(run, history=replace(run.history, denied_10m=run.history.denied_10m + 3)),
    "a used up budget": lambda run: replace(run, history=replace(run.history, spent=USED_UP)),
    "an owner with fewer roles": principal(owner_roles=()),
    "one host more": lambda run: replace(
        run, asked=replace(run.asked, hosts=(*run.asked.hosts, HostRequest("b.example", 1)))
    ),
    "an unknown principal": principal(known=False),
    "a disabled principal": principal(enabled=False),
    "a disabled owner": principal(owner_enabled=False),
    "no owner": principal(owner=None),
    "no roles": principal(roles=()),
}


@SETTINGS
@given(runs(), st.sampled_from(sorted(WORSE)))
def test_worse_facts_never_loosen(run: Given, worse: str) -> None:
    assert WORSE[worse](run).rank() >= run.rank()


@SETTINGS
@given(runs(), st.randoms(use_true_random=False))
def test_order_never_matters(run: Given, random: object) -> None:
    shuffled = list(run.dependencies.packages)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    other = replace(run, dependencies=replace(run.dependencies, packages=tuple(shuffled)))
    one, two = run.decision(), other.decision()
    assert (type(one), one.basis.rules, set(one.basis.items)) == (type(two), two.basis.rules, set(two.basis.items))
    assert one.basis.exposure == two.basis.exposure


@SETTINGS
@given(runs())
def test_batching_never_matters(run: Given) -> None:
    """The bundle is as strict as the strictest of its parts asked alone."""
    alone = [
        replace(run, dependencies=replace(run.dependencies, packages=(package,), total=1))
        for package in run.dependencies.packages
    ]
    assert run.rank() == max(part.rank() for part in (alone or [run]))


ERRORS: dict[str, Callable[[Given], Given]] = {
    "a number that Cedar cannot hold": lambda run: replace(run, history=replace(run.history, runs_total=2**63)),
    "a ticket that is no text": lambda run: replace(run, asked=replace(run.asked, ticket="\ud800")),
    "an audit that counts wrongly": lambda run: replace(run, dependencies=replace(run.dependencies, total=99)),
    "facts of other code": lambda run: replace(run, code=replace(run.code, sha256="0" * 64)),
    "an unknown profile": lambda run: replace(run, asked=replace(run.asked, profile="none")),
    "a flag that is no text": lambda run: replace(run, code=replace(run.code, flags=(1,))),  # type: ignore[arg-type]  # that is the error
    "a count that is no number": lambda run: replace(run, history=replace(run.history, denied_10m="0")),  # type: ignore[arg-type]  # that is the error
}


@SETTINGS
@given(runs(), st.sampled_from(sorted(ERRORS)))
def test_an_error_never_allows(run: Given, error: str) -> None:
    decision = ERRORS[error](run).decision()
    assert isinstance(decision, Denied)
    assert "evaluation-error" in decision.basis.rules
    assert decision.basis.errors != ()


@SETTINGS
@given(runs())
def test_a_grant_never_exceeds_what_was_asked_for_nor_the_profile(run: Given) -> None:
    decision = run.decision()
    if isinstance(decision, Denied):
        return
    caps = asdict(SHIPPED.gate.profiles[decision.grant.profile].caps)
    asked = asdict(run.asked.limits)
    assert all(value <= min(asked[name], caps[name]) for name, value in asdict(decision.grant.limits).items())
    assert decision.grant.principal == run.asked.principal.id


def test_the_properties_see_every_kind_of_decision() -> None:
    """A property over nothing but denials would prove nothing."""
    seen = set()

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(runs())
    def look(run: Given) -> None:
        seen.add(type(run.decision()))

    look()
    assert seen == {Allowed, NeedsApproval, Denied}
