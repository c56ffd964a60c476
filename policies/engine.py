"""The Cedar engine behind one door: nothing else imports cedarpy.

What this adapter guarantees over plain Cedar:
- Only `Allow` without a single error is an allowance. A policy that fails is skipped by Cedar, so that a forbid that fails would not forbid;
  a request that does not fit the schema gives `NoDecision`. Both are errors here, and the caller denies.
- Rules are named by their `@id`, never by Cedar's positional names, which shift when a rule is added.
- Principals, actions and resources go in as type and id, never as Cedar source text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeAlias

import cedarpy

__all__ = [
    "ENGINE",
    "Answer",
    "Engine",
    "EngineRequest",
    "Json",
    "ParsedPolicy",
    "Schema",
    "Uid",
    "UnparsableError",
    "parse",
]

ENGINE = f"cedarpy {version('cedarpy')}"

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

_ACTION = re.compile(r'Action::"[A-Za-z]+"')
_POSITIONAL = re.compile(r"\bpolicy(\d+)\b")


class UnparsableError(ValueError):
    """Cedar cannot read this text; the message is Cedar's, without a line."""


@dataclass(frozen=True, slots=True)
class Uid:
    """An entity by type and id."""

    type: str
    id: str

    def json(self) -> dict[str, Json]:
        """As Cedar's JSON formats want it."""
        return {"type": self.type, "id": self.id}

    def reference(self) -> dict[str, Json]:
        """As a value inside a context or an attribute."""
        return {"__entity": self.json()}


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One question to the engine."""

    principal: Uid
    action: str
    resource: Uid
    context: Mapping[str, Json]

    def json(self) -> dict[str, Json]:
        """As Cedar's JSON formats want it."""
        return {
            "principal": self.principal.json(),
            "action": Uid("Action", self.action).json(),
            "resource": self.resource.json(),
            "context": self.context,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """The engine's answer to one question."""

    allowed: bool
    rules: tuple[str, ...]
    """Ids of the rules that determined it, sorted: permits of an allowance, forbids of a denial."""
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParsedPolicy:
    """One Cedar policy as data."""

    effect: str
    annotations: Mapping[str, str]
    tree: Mapping[str, Json]
    """Cedar's JSON form of the policy."""
    template: bool


def parse(text: str) -> ParsedPolicy:
    """One policy.

    Raises:
        UnparsableError: it is none, or more than one.
    """
    try:
        value = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise UnparsableError(str(error)) from error
    policies = list(value["staticPolicies"].values())
    templates = list(value["templates"].values())
    if len(policies) + len(templates) != 1:
        raise UnparsableError(f"expected one policy, found {len(policies) + len(templates)}")
    tree = (policies + templates)[0]
    annotations = {name: text or "" for name, text in (tree.get("annotations") or {}).items()}
    return ParsedPolicy(tree["effect"], annotations, tree, bool(templates))


class Schema:
    """A Cedar schema, read once.

    Raises:
        UnparsableError: Cedar cannot read it.
    """

    def __init__(self, text: str) -> None:
        try:
            self.handle = cedarpy.Schema.from_str(text)
        except ValueError as error:
            raise UnparsableError(str(error)) from error

    def problems(self, policy: str) -> tuple[str, ...]:
        """What Cedar's strict validator says against one policy."""
        result = cedarpy.validate_policies(policy, self.handle)
        messages = _once_for_all_actions(error.error.removeprefix("for policy `policy0`, ") for error in result.errors)
        return messages or (() if result.validation_passed else ("it does not fit the schema",))


def _once_for_all_actions(messages: Iterable[str]) -> tuple[str, ...]:
    """Messages that differ in the action alone, which Cedar gives for each action that a rule speaks of, as one."""
    alike: dict[str, list[str]] = {}
    for message in sorted(set(messages)):
        alike.setdefault(_ACTION.sub("", message), []).append(message)
    return tuple(
        first if not others else f"{first} (and the same for {len(others)} other actions)"
        for first, *others in alike.values()
    )


class Engine:
    """Rules and schema, read once.

    Args:
        policies: rule id -> Cedar text of that one rule, already parsed and validated one by one.
        schema: the schema that they were validated against.
    """

    def __init__(self, policies: Mapping[str, str], schema: Schema) -> None:
        self._names = {f"policy{position}": name for position, name in enumerate(policies)}
        text = "\n".join(policies.values())
        # INVARIANT: Cedar numbers policies in the order of the text; checked here, because every rule id in a record rests on it
        read = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        if {name: tree["annotations"]["id"] for name, tree in read.items()} != self._names:
            raise UnparsableError("Cedar reads the rules in another order than they stand in")
        self._schema = schema.handle
        self._policies = cedarpy.PolicySet.from_str(text)

    def answer(self, requests: Sequence[EngineRequest], entities: Sequence[Mapping[str, Json]]) -> tuple[Answer, ...]:
        """The answers in the order of the questions, judged over one slice of entities."""
        try:
            # parsed with the schema: an entity that does not fit it is an error here, not a rule that quietly does not match
            slice_ = cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)
            results = cedarpy.is_authorized_batch(
                [request.json() for request in requests], self._policies, slice_, self._schema
            )
        except (ValueError, TypeError, OverflowError) as error:
            return tuple(Answer(allowed=False, rules=(), errors=(self._readable(str(error)),)) for _ in requests)
        if len(results) != len(requests):
            return tuple(
                Answer(allowed=False, rules=(), errors=("the engine left a question unanswered",)) for _ in requests
            )
        return tuple(self._answer(result) for result in results)

    def _answer(self, result: cedarpy.AuthzResult) -> Answer:
        errors = tuple(self._readable(error) for error in result.diagnostics.errors)
        if result.decision is cedarpy.Decision.NoDecision and not errors:
            errors = ("the engine gave no decision",)
        rules = tuple(sorted(self._names.get(name, name) for name in result.diagnostics.reasons))
        return Answer(result.decision is cedarpy.Decision.Allow and not errors, rules, errors)

    def _readable(self, message: str) -> str:
        return _POSITIONAL.sub(lambda match: self._names.get(match.group(), match.group()), message)
