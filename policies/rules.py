"""Rules: Cedar policies with our closed set of annotations, read from a policy set and checked one by one.

It must never guess: an unknown annotation, a missing id or a value out of its vocabulary is a problem with file and line, because Cedar itself
accepts all of these in silence. What annotations mean: docs/policies.md.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from .engine import Json, ParsedPolicy, Schema, UnparsableError, parse
from .policy_set import LOCKED, PolicySet, layer_of
from .source import PolicySource, split
from .types import Limits, PolicyProblem

__all__ = [
    "BY_PROFILE",
    "DEFAULT_DENY",
    "EVALUATION_ERROR",
    "LIMIT_NAMES",
    "Effect",
    "Rule",
    "entities_of",
    "read_rules",
]

DEFAULT_DENY: Final = "default-deny"
"""Stands for the absence of a permit among deciding rules."""
EVALUATION_ERROR: Final = "evaluation-error"
"""Stands for anything that kept the engine from deciding."""
BY_PROFILE: Final = "profile"
"""Value of a clamp that takes the cap of the profile."""
LIMIT_NAMES: Final = tuple(field.name for field in fields(Limits))

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_ID = 64
_MAX_REASON = 200
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_CONTROL = re.compile(r"[A-Z0-9][A-Za-z0-9.()\-]{1,15}")
_PLAIN = {"id", "reason", "detail", "control", "approval", "profile", "redact", "record"}
_CLAMP = "clamp_"
_ANNOTATIONS = _PLAIN.union(_CLAMP + name for name in LIMIT_NAMES)
REDACTIONS: Final = frozenset({"secrets"})
RECORDS: Final = frozenset({"commands", "connections", "files"})
_OF_RUNS: Final = frozenset({"submit", "use", "execute", "install", "connect", "mountRead", "mountWrite"})
"""Actions that rules in a project layer may speak of."""
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]"
    "|[\U000e0000-\U000e0fff]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]"
)
_LINE_ENDS = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
"""A line end to some and none to others: what one reads as a rule is to the other still a comment."""


class Effect(StrEnum):
    """What a rule does when it fires."""

    PERMIT = "permit"
    FORBID = "forbid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One Cedar policy and what its annotations ask for."""

    id: str
    effect: Effect
    reason: str
    """Public: anybody who is denied may read it."""
    detail: str
    """For authorised readers only: thresholds, background."""
    controls: tuple[str, ...]
    approval: str
    """Role whose approval lifts this forbid; empty for none."""
    profile: str
    """Profile that this forbid forces; empty for none."""
    clamps: Mapping[str, int | None]
    """Limit -> what it is lowered to; None for the profile's cap."""
    redact: tuple[str, ...]
    record: tuple[str, ...]
    file: str
    line: int
    text: str
    tree: Mapping[str, Json]

    @property
    def obliges(self) -> bool:
        """Whether this forbid can be satisfied by changing the request."""
        return bool(self.clamps or self.profile)


@dataclass(frozen=True, slots=True)
class ReadRules:
    """The rules of a set, and what is wrong with them."""

    rules: tuple[Rule, ...]
    problems: tuple[PolicyProblem, ...]


def read_rules(policies: PolicySet, schema: Schema) -> ReadRules:
    """Every rule of the set in the order of files and lines."""
    rules: list[Rule] = []
    problems: list[PolicyProblem] = []
    for file, text in policies.files.items():
        problems += _hidden(file, text)
    for file, text in policies.texts(".cedar").items():
        for source in split(file, text):
            found = _read(source, schema)
            problems += found.problems
            rules += found.rules
    problems += _duplicates(rules)
    if not rules and not problems:
        problems.append(
            PolicyProblem(
                file=next(iter(policies.texts(".cedar"))), line=1, rule="", text="there is no rule in the whole set"
            )
        )
    return ReadRules(tuple(rules), tuple(problems))


def _read(source: PolicySource, schema: Schema) -> ReadRules:
    """One policy as a rule; without a problem there is exactly one."""

    def problem(text: str, rule: str = "") -> PolicyProblem:
        return PolicyProblem(file=source.file, line=source.line, rule=rule, text=text)

    try:
        policy = parse(source.text)
    except UnparsableError as error:
        return ReadRules((), (problem(_one_line(f"Cedar cannot read this policy: {error}")),))
    name = policy.annotations.get("id", "")
    texts = [*_annotation_problems(policy), *_structure_problems(policy, source.file)]
    texts += [_one_line(text) for text in schema.problems(source.text)]
    rule = _rule(policy, source) if not texts else None
    return ReadRules((rule,) if rule else (), tuple(problem(text, name) for text in texts))


def _rule(policy: ParsedPolicy, source: PolicySource) -> Rule:
    notes = policy.annotations
    return Rule(
        id=notes["id"],
        effect=Effect(policy.effect),
        reason=notes["reason"],
        detail=notes.get("detail", ""),
        controls=tuple(notes.get("control", "").split()),
        approval=notes.get("approval", ""),
        profile=notes.get("profile", ""),
        clamps={
            name.removeprefix(_CLAMP): None if value == BY_PROFILE else int(value)
            for name, value in notes.items()
            if name.startswith(_CLAMP)
        },
        redact=tuple(notes.get("redact", "").split()),
        record=tuple(notes.get("record", "").split()),
        file=source.file,
        line=source.line,
        text=source.text,
        tree=policy.tree,
    )


def _annotation_problems(policy: ParsedPolicy) -> Iterator[str]:
    notes = policy.annotations
    name = notes.get("id", "")
    if not name:
        yield "has no @id"
    elif not _ID.fullmatch(name) or len(name) > _MAX_ID:
        yield "its @id is not lower-case ASCII words joined by hyphens, at most 64 characters"
    elif name in {DEFAULT_DENY, EVALUATION_ERROR}:
        yield "its @id is reserved"
    yield from _text_problems(notes)
    for note in notes:
        if note not in _ANNOTATIONS:
            yield f"has an unknown annotation @{note}"
    yield from _value_problems(notes)
    forbid = policy.effect == Effect.FORBID
    obliges = "profile" in notes or any(note.startswith(_CLAMP) for note in notes)
    if not forbid and (obliges or "approval" in notes):
        yield "@approval, @profile and @clamp_* belong on a forbid"
    if obliges and "approval" in notes:
        yield "@approval cannot stand beside @profile or @clamp_*"
    if forbid and not obliges and ("redact" in notes or "record" in notes):
        yield "@redact and @record belong on a permit, or beside @profile or @clamp_*"


def _text_problems(notes: Mapping[str, str]) -> Iterator[str]:
    reason = notes.get("reason", "")
    if not reason.strip():
        yield "has no @reason"
    for note, limit in (("reason", _MAX_REASON), ("detail", 5 * _MAX_REASON)):
        text = notes.get(note, "")
        if len(text) > limit or not text.isprintable():
            yield f"its @{note} is not one line of at most {limit} printable characters"


def _value_problems(notes: Mapping[str, str]) -> Iterator[str]:
    for note, value in notes.items():
        if note.startswith(_CLAMP) and value != BY_PROFILE and not re.fullmatch(r"[1-9][0-9]{0,11}", value):
            yield f"@{note} is neither a whole number from 1 up nor `{BY_PROFILE}`"
    if "approval" in notes and not _ROLE.fullmatch(notes["approval"]):
        yield "@approval does not name one role"
    for note, vocabulary in (("redact", REDACTIONS), ("record", RECORDS)):
        words = notes.get(note, "").split()
        if note in notes and (not words or not vocabulary.issuperset(words)):
            yield f"@{note} takes these words: {', '.join(sorted(vocabulary))}"
    if "control" in notes and not all(_CONTROL.fullmatch(word) for word in notes["control"].split()):
        yield "@control is not a list of control ids, separated by spaces"


def _structure_problems(policy: ParsedPolicy, file: str) -> Iterator[str]:
    """What the validator does not look for."""
    tree = policy.tree
    if policy.template:
        yield "is a template; rules have no slots"
    yield from _layer_problems(policy, layer_of(file))
    if policy.effect == Effect.PERMIT:
        if isinstance(action := tree["action"], Mapping) and action.get("op") == "All":
            yield "permits every action; a permit names its actions"
        if _reads_code(tree):
            yield "reads `context.code` in a permit; hints from code may tighten, never loosen"
    for kind, id_ in entities_of(tree):
        if not id_.isascii() or not id_.isprintable():
            yield f"names a {kind} whose id is not plain ASCII"
    yield from _condition_problems(policy)


def _layer_problems(policy: ParsedPolicy, layer: str) -> Iterator[str]:
    """A project layer tightens what its own runs may do, and takes nothing from those who look after the whole."""
    if layer == LOCKED:
        return
    if policy.effect == Effect.PERMIT:
        yield "is a permit in a project layer; project layers may only tighten"
    actions = {id_ for kind, id_ in entities_of({"action": policy.tree["action"]}) if kind == "Action"}
    if not actions or not actions <= _OF_RUNS:
        yield "is in a project layer and does not name its actions among those of runs; everything else belongs to the locked layer"
    project, _, team = layer.partition("/")
    if team and ("Team", team) not in entities_of({"principal": policy.tree["principal"]}):
        yield f'is in the layer `{project}/{team}` and not about its team: add `principal in Team::"{team}"`'


def _condition_problems(policy: ParsedPolicy) -> Iterator[str]:
    """Obligations that the rule's own condition could never see fulfilled."""
    nodes = list(_nodes(policy.tree.get("conditions")))
    role = policy.annotations.get("approval")
    if role is not None and {"contains": {"left": _APPROVALS, "right": {"Value": role}}} not in nodes:
        yield f'can never be lifted: add `unless {{ context.common.approvals.contains("{role}") }}`'
    for name in (note.removeprefix(_CLAMP) for note in policy.annotations if note.startswith(_CLAMP)):
        if {".": {"left": _LIMITS, "attr": name}} not in nodes:
            yield f"lowers {name} without looking at `context.limits.{name}`"


_CONTEXT: Final[Json] = {"Var": "context"}
_LIMITS: Final[Json] = {".": {"left": _CONTEXT, "attr": "limits"}}
_APPROVALS: Final[Json] = {".": {"left": {".": {"left": _CONTEXT, "attr": "common"}}, "attr": "approvals"}}


def _nodes(value: Json) -> Iterator[Json]:
    """Every node of a tree, without recursion: policies may be nested deeply."""
    waiting: list[Json] = [value]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Mapping):
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _reads_code(tree: Mapping[str, Json]) -> bool:
    """Whether a condition can see `context.code`: by name, or by taking the context as a whole."""
    by_name = whole = 0
    for node in _nodes(tree.get("conditions")):
        if not isinstance(node, Mapping):
            continue
        whole += node == _CONTEXT
        for operator in (".", "has"):
            operand = node.get(operator)
            if isinstance(operand, Mapping) and operand.get("left") == _CONTEXT:
                whole -= 1
                by_name += operand.get("attr") == "code"
    return by_name > 0 or whole > 0


def entities_of(tree: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Type and id of every entity that a policy names."""
    for node in _nodes(tree):
        if isinstance(node, Mapping) and set(node) == {"type", "id"}:
            yield str(node["type"]), str(node["id"])


def _duplicates(rules: list[Rule]) -> Iterator[PolicyProblem]:
    first: dict[str, Rule] = {}
    for rule in rules:
        if rule.id in first:
            other = first[rule.id]
            yield PolicyProblem(
                file=rule.file, line=rule.line, rule=rule.id, text=f"its @id is also used at {other.file}:{other.line}"
            )
        first.setdefault(rule.id, rule)


def _hidden(file: str, text: str) -> Iterator[PolicyProblem]:
    for match in _HIDDEN.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield PolicyProblem(file=file, line=line, rule="", text=f"holds a hidden character, U+{ord(match.group()):04X}")
    if (end := _LINE_ENDS.search(text)) is not None:
        line = text.count("\n", 0, end.start()) + 1
        wrong = f"holds a line end that not everybody sees, U+{ord(end.group()):04X}: end lines with a line feed"
        yield PolicyProblem(file=file, line=line, rule="", text=wrong)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
