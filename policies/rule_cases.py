"""Cases of rule tests: YAML beside the rules that says which request has which outcome, and which rules decided.

A file under `tests/` holds `principals` (by name, for every file) and `rules` (rule id -> cases). A case gives only what matters to it; everything
else is the harmless usual: a human developer, a small program that parses, no packages, no history. Deciding rules are compared exactly, so that
a rule that fires beside the expected one fails the test.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .policy_set import PolicySet
from .settings_files import ListsFile
from .types import Budgets, History, PolicyProblem, Principal, PrincipalKind, Spent, Usage

__all__ = ["Case", "CaseFile", "ReadCases", "read_cases"]

_CLOSED = ConfigDict(extra="forbid", strict=True, frozen=True)
_NAMES = Annotated[tuple[str, ...], Field(strict=False)]


class _PrincipalFile(BaseModel):
    model_config = _CLOSED
    kind: Literal["human", "agent", "service"] = "human"
    owner: str | None = None
    owner_enabled: bool = True
    known: bool = True
    enabled: bool = True
    roles: _NAMES = ()
    teams: _NAMES = ()
    authentication: str = "os-user"

    def principal(self, name: str) -> Principal:
        return Principal(id=name, kind=PrincipalKind(self.kind), **self.model_dump(exclude={"kind"}))


class _CodeFile(BaseModel):
    model_config = _CLOSED
    language: str = "python"
    bytes: int = 15
    parsed: bool = True
    imports: _NAMES = ()
    flags: _NAMES = ()
    hosts: _NAMES = ()
    paths: _NAMES = ()
    secrets: _NAMES = ()


class _PackageFile(BaseModel):
    model_config = _CLOSED
    name: str = "some-package"
    version: str = "1.0"
    direct: bool = True
    pinned: bool = True
    hashed: bool = True
    malicious: bool = False
    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    unknown: int = 0
    undetermined: bool = False
    waived: int = 0
    yanked: bool | None = None
    age_days: int | None = None


class _MountFile(BaseModel):
    model_config = _CLOSED
    path: str
    access: Literal["read", "write"] = "read"
    target: str = "data"


class _InputFile(BaseModel):
    model_config = _CLOSED
    files: int = 0
    bytes: int = 0
    arguments: int = 0


class _UsageFile(BaseModel):
    model_config = _CLOSED
    runs: int = 0
    cpu_seconds: int = 0
    bytes_out: int = 0
    artefact_bytes: int = 0


class _SpentFile(BaseModel):
    model_config = _CLOSED
    hour: _UsageFile = _UsageFile()
    day: _UsageFile = _UsageFile()
    month: _UsageFile = _UsageFile()

    def spent(self) -> Spent:
        return Spent(**{name: Usage(**usage.model_dump()) for name, usage in self})


class _BudgetsFile(BaseModel):
    model_config = _CLOSED
    principal: _SpentFile = _SpentFile()
    owner: _SpentFile = _SpentFile()
    team: _SpentFile = _SpentFile()


class _HistoryFile(BaseModel):
    model_config = _CLOSED
    denied_10m: int = 0
    failed_1h: int = 0
    runs_1h: int = 1
    runs_total: int = 1
    known_packages: _NAMES = ()
    known_hosts: _NAMES = ()
    known_paths: _NAMES = ()
    spent: _BudgetsFile = _BudgetsFile()

    def history(self) -> History:
        """As the gate takes it."""
        spent = Budgets(**{name: each.spent() for name, each in self.spent})
        return History(**self.model_dump(exclude={"spent"}), spent=spent)


class _SubjectFile(BaseModel):
    model_config = _CLOSED
    requester: str


class CaseFile(BaseModel):
    """One case; exactly one of submit, run and act says what is decided."""

    model_config = _CLOSED
    name: str
    by: str = "alice"
    stage: Literal["submit", "run", "act"] = "run"
    profile: str = "default"
    limits: dict[str, int] = {}
    code: _CodeFile = _CodeFile()
    input: _InputFile = _InputFile()
    packages: Annotated[tuple[_PackageFile, ...], Field(strict=False)] = ()
    package_count: Annotated[int, Field(ge=0, le=2000)] = 0
    """This many packages of different names, besides those that are listed."""
    covered: bool = True
    data_class: str = "imported"
    hosts: _NAMES = ()
    mounts: Annotated[tuple[_MountFile, ...], Field(strict=False)] = ()
    purpose: str = ""
    ticket: str = ""
    history: _HistoryFile = _HistoryFile()
    approved: dict[str, str] = {}
    action: str = ""
    role: str = ""
    layers: _NAMES = ("locked",)
    """Layers that a change of policies touches."""
    subject: _SubjectFile | None = None
    lists: ListsFile | None = None
    expect: Literal["allowed", "needs_approval", "denied"]
    rules: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    changed_by: _NAMES = ()
    limits_left: dict[str, int] = {}
    profile_left: str = ""

    @property
    def people(self) -> tuple[str, ...]:
        """Names of the principals that occur in it."""
        subject = (self.subject.requester,) if self.subject else ()
        return (self.by, *subject)


class _TestFile(BaseModel):
    model_config = _CLOSED
    principals: dict[str, _PrincipalFile] = {}
    rules: dict[str, Annotated[tuple[CaseFile, ...], Field(strict=False)]] = {}


@dataclass(frozen=True, slots=True)
class Case:
    """One case of one rule, where it stands."""

    file: str
    rule: str
    given: CaseFile

    @property
    def rule_fires(self) -> bool:
        """Whether the case expects its rule to decide, or to change what was asked for."""
        return self.rule in (*self.given.rules, *self.given.changed_by)


@dataclass(frozen=True, slots=True)
class ReadCases:
    """All cases of a set, and what is wrong with the files."""

    cases: tuple[Case, ...]
    principals: Mapping[str, Principal]
    problems: tuple[PolicyProblem, ...]


class _StrictLoader(yaml.SafeLoader):
    """YAML without its traps: no aliases, and no key twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not used here")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002 - the signature is PyYAML's
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"`{twice}` stands twice, the second time at line {node.start_mark.line + 1} or below")
        return super().construct_mapping(node, deep=deep)


def read_cases(policies: PolicySet) -> ReadCases:
    """Every case of every test file, in the order of files."""
    cases: list[Case] = []
    principals: dict[str, Principal] = {}
    problems: list[PolicyProblem] = []
    for file, text in policies.texts(".yaml").items():
        try:
            read = _TestFile.model_validate(yaml.load(text, Loader=_StrictLoader))  # noqa: S506 - a safe loader, made stricter
        except (yaml.YAMLError, ValidationError, RecursionError) as error:
            problems.append(PolicyProblem(file=file, line=_line(error), rule="", text=_first(error), blocking=False))
            continue
        principals |= {name: given.principal(name) for name, given in read.principals.items()}
        cases += [Case(file, rule, given) for rule, given_cases in read.rules.items() for given in given_cases]
    principals = {name: _with_owner(principal, principals) for name, principal in principals.items()}
    for case in cases:
        unknown = next((name for name in case.given.people if name not in principals), None)
        if unknown is not None:
            text = f"the case `{case.given.name}` names `{unknown}`, who is not among the principals"
            problems.append(PolicyProblem(file=case.file, line=0, rule=case.rule, text=text, blocking=False))
    playable = tuple(case for case in cases if all(name in principals for name in case.given.people))
    return ReadCases(playable, principals, tuple(problems))


def _with_owner(principal: Principal, known: Mapping[str, Principal]) -> Principal:
    """The principal with the roles and teams that its owner has in the same files."""
    owner = known.get(principal.owner or "")
    return principal if owner is None else replace(principal, owner_roles=owner.roles, owner_teams=owner.teams)


def _line(error: Exception) -> int:
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if isinstance(mark, yaml.Mark) else 0


def _first(error: Exception) -> str:
    """The first thing that is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return " ".join(f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}".split())
    return " ".join(f"is not a test file: {error}".split())[:300]
