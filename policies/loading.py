"""A policy set, read: rules, schema, profiles and lists, with everything that is wrong with them.

Every problem is collected, none raised: a security team sees all of them at once, and the gate refuses on any that blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .engine import Schema, UnparsableError
from .policy_set import LOCKED, PolicySet, layer_of
from .rules import Rule, entities_of, read_rules
from .settings_files import Lists, PolicySettings, read_settings
from .types import PolicyProblem, Profile

__all__ = ["Loaded", "load"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What stands in a policy set."""

    rules: tuple[Rule, ...]
    schema: Schema | None
    profiles: Mapping[str, Profile]
    lists: Lists
    problems: tuple[PolicyProblem, ...]


def load(policies: PolicySet) -> Loaded:
    """Read a policy set completely."""
    settings = read_settings(policies)
    schemas = policies.texts(".cedarschema")
    if len(schemas) != 1:
        problem = PolicyProblem(
            file="schema.cedarschema",
            line=0,
            rule="",
            text=f"a policy set has one schema file, this one has {len(schemas)}",
        )
        return Loaded((), None, settings.profiles, settings.lists, (problem, *settings.problems))
    name, text = next(iter(schemas.items()))
    if layer_of(name) != LOCKED:
        problem = PolicyProblem(file=name, line=0, rule="", text="the schema belongs to the locked layer")
        return Loaded((), None, settings.profiles, settings.lists, (problem, *settings.problems))
    try:
        schema = Schema(text)
    except UnparsableError as error:
        problem = PolicyProblem(
            file=name, line=0, rule="", text=" ".join(f"Cedar cannot read this schema: {error}".split())
        )
        return Loaded((), None, settings.profiles, settings.lists, (problem, *settings.problems))
    read = read_rules(policies, schema)
    problems = (*settings.problems, *read.problems, *_loose_ends(read.rules, settings))
    return Loaded(read.rules, schema, settings.profiles, settings.lists, problems)


def _loose_ends(rules: Sequence[Rule], settings: PolicySettings) -> Iterator[PolicyProblem]:
    """Names in rules that stand in no settings file: Cedar takes them for empty lists, and such a forbid never fires."""
    known = {
        "HostList": set(settings.lists.hosts),
        "DataSet": {data_set.name for data_set in settings.lists.data_sets},
        "PackageList": set(settings.lists.packages),
        "Profile": set(settings.profiles),
    }
    for rule in rules:
        if rule.profile and rule.profile not in settings.profiles:
            text = f"forces the profile `{rule.profile}`, which is not in profiles.toml"
            yield PolicyProblem(file=rule.file, line=rule.line, rule=rule.id, text=text)
        for kind, name in dict.fromkeys(entities_of(rule.tree)):
            if kind in known and name not in known[kind]:
                file = "profiles.toml" if kind == "Profile" else "lists.toml"
                text = f'names {kind}::"{name}", which is not in {file}'
                yield PolicyProblem(file=rule.file, line=rule.line, rule=rule.id, text=text)
