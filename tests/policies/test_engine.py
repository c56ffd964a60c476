"""The traps of Cedar, each shown to be shut by the adapter."""

import pytest

from custody.policies import PolicySet
from custody.policies.engine import Engine, EngineRequest, Json, Schema, Uid, UnparsableError, parse

SCHEMA = """
entity Role;
entity User in [Role] { level?: Long };
entity Thing;
action see appliesTo { principal: [User], resource: [Thing], context: { amount: Long } };
"""
PERMIT = '@id("see-all") permit (principal, action == Action::"see", resource);'
FAILING = '@id("low-only") forbid (principal, action == Action::"see", resource) when { principal.level > 3 };'


def ask(
    engine: Engine, *, context: dict[str, Json] | None = None, user: str = "ann", action: str = "see"
) -> EngineRequest:
    del engine
    return EngineRequest(Uid("User", user), action, Uid("Thing", "t"), {"amount": 1} if context is None else context)


def entity(uid: Uid, **attributes: Json) -> dict[str, Json]:
    return {"uid": uid.json(), "attrs": attributes, "parents": []}


def test_a_forbid_that_fails_denies() -> None:
    """Cedar skips a policy that errors: this forbid would not forbid."""
    engine = Engine({"see-all": PERMIT, "low-only": FAILING}, Schema(SCHEMA))
    (answer,) = engine.answer([ask(engine)], [entity(Uid("User", "ann"))])
    assert not answer.allowed
    assert len(answer.errors) == 1
    assert "`low-only`" in answer.errors[0]


def test_the_validator_refuses_such_a_forbid() -> None:
    assert Schema(SCHEMA).problems(FAILING) != ()


@pytest.mark.parametrize(
    "context", [{}, {"amount": "1"}, {"amount": 1, "more": 1}, {"amount": 2**63}, {"amount": None}, {"amount": [1]}]
)
def test_a_context_that_does_not_fit_denies(context: dict[str, Json]) -> None:
    engine = Engine({"see-all": PERMIT}, Schema(SCHEMA))
    (answer,) = engine.answer([ask(engine, context=context)], [entity(Uid("User", "ann"))])
    assert (answer.allowed, answer.rules) == (False, ())
    assert answer.errors != ()


def test_an_unknown_action_denies() -> None:
    engine = Engine({"see-all": PERMIT}, Schema(SCHEMA))
    (answer,) = engine.answer([ask(engine, action="delete")], [entity(Uid("User", "ann"))])
    assert not answer.allowed
    assert answer.errors != ()


def test_an_entity_that_does_not_fit_denies_every_question() -> None:
    engine = Engine({"see-all": PERMIT}, Schema(SCHEMA))
    answers = engine.answer([ask(engine), ask(engine, user="eve")], [entity(Uid("User", "ann"), level="high")])
    assert [answer.allowed for answer in answers] == [False, False]
    assert all(answer.errors for answer in answers)


def test_one_bad_question_leaves_the_others_their_answers() -> None:
    engine = Engine({"see-all": PERMIT}, Schema(SCHEMA))
    answers = engine.answer([ask(engine), ask(engine, context={})], [entity(Uid("User", "ann"))])
    assert [answer.allowed for answer in answers] == [True, False]


@pytest.mark.parametrize(
    "name", ['x" || true || "', "a\nb", "a\0b", 'User::"root"', "\N{GREEK SMALL LETTER ALPHA}", ""]
)
def test_ids_are_values_and_never_source_text(name: str) -> None:
    only = '@id("root-only") permit (principal == User::"root", action == Action::"see", resource);'
    engine = Engine({"root-only": only}, Schema(SCHEMA))
    (answer,) = engine.answer([ask(engine, user=name)], [entity(Uid("User", name))])
    assert not answer.allowed


def test_a_lone_surrogate_denies() -> None:
    engine = Engine({"see-all": PERMIT}, Schema(SCHEMA))
    (answer,) = engine.answer([ask(engine, user="\ud800")], [entity(Uid("User", "\ud800"))])
    assert not answer.allowed
    assert answer.errors != ()


def test_rules_keep_their_names_whatever_their_order() -> None:
    forbid = '@id("never") forbid (principal, action == Action::"see", resource) when { context.amount > 5 };'
    for rules in ({"see-all": PERMIT, "never": forbid}, {"never": forbid, "see-all": PERMIT}):
        engine = Engine(rules, Schema(SCHEMA))
        small, large = engine.answer([ask(engine), ask(engine, context={"amount": 6})], [entity(Uid("User", "ann"))])
        assert (small.rules, large.rules) == (("see-all",), ("never",))


def test_names_that_do_not_stand_in_the_text_are_refused() -> None:
    with pytest.raises(UnparsableError):
        Engine({"other": PERMIT}, Schema(SCHEMA))


@pytest.mark.parametrize("text", ["", "permit", PERMIT + PERMIT, "permit (principal, action, resource)", "// nothing"])
def test_exactly_one_policy_is_parsed(text: str) -> None:
    with pytest.raises(UnparsableError):
        parse(text)


@pytest.mark.parametrize("text", ["entity A {", "entity A { b: Nothing };"])
def test_a_schema_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UnparsableError):
        Schema(text)


def test_one_mistake_in_a_rule_for_every_action_is_one_problem(shipped: PolicySet) -> None:
    schema = Schema(shipped.files["schema.cedarschema"])
    (problem,) = schema.problems('@id("x") forbid (principal, action, resource) when { context.nothing == 1 };')
    assert "`nothing`" in problem
    assert problem.endswith("other actions)")
