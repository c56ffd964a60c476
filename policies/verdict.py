"""The strictest answer of a bundle: allowed, needs approval, or denied, with the rules that decided.

Rules of this page:
- One item that is not allowed makes the whole bundle not allowed.
- Any error, anywhere in the bundle, denies.
- An item needs approval if nothing but rules that an approval lifts keep it from being allowed, and the engine, asked again as if these
  approvals were there, allows it. A bundle needs approval if that is so for every item that is not allowed: what could never be allowed is
  never put before a person.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import PolicyError
from .action_words import in_words
from .bundle import Bundle, Item
from .engine import ENGINE, Answer, Engine, EngineRequest, Json, Uid
from .rules import DEFAULT_DENY, EVALUATION_ERROR, Effect, Rule
from .types import DecidedItem, Reason

__all__ = ["Verdict", "inputs_of", "judge", "read_inputs"]

ALLOWED, NEEDS_APPROVAL, DENIED = "allowed", "needs_approval", "denied"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one bundle, in one turn."""

    result: str
    items: tuple[DecidedItem, ...]
    fired: tuple[Rule, ...]
    """Every rule that determined some item, sorted by id; where approval is needed also those that would determine it once approved."""
    roles: tuple[str, ...] = ()
    """Roles whose approval would lift it; empty unless approval is needed."""
    errors: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """Deciding rule ids: those of the items that gave the result, sorted."""
        return tuple(sorted({rule for item in self.items if item.result == self.result for rule in item.rules}))


def judge(engine: Engine, rules: Mapping[str, Rule], bundle: Bundle) -> Verdict:
    """The verdict on a bundle."""
    answers = engine.answer(bundle.requests, bundle.entities)
    errors = tuple(dict.fromkeys((*bundle.conflicts, *(error for answer in answers for error in answer.errors))))
    if not answers:
        errors = (*errors, "nothing was asked")
    fired = tuple(rules[name] for name in sorted({name for answer in answers for name in answer.rules}))
    lifted = _lifted(engine, rules, bundle, answers) if not errors else {}
    items = tuple(
        _decided(item, answer, held=position in lifted)
        for position, (item, answer) in enumerate(zip(bundle.items, answers, strict=True))
    )
    results = {item.result for item in items}
    if errors or DENIED in results:
        return Verdict(DENIED, items, fired, errors=errors)
    if NEEDS_APPROVAL in results:
        roles = {rules[name].approval for position in lifted for name in answers[position].rules}
        # what an approval brings into play (a permit that records, for example) is part of what would be granted
        then = {rule.id: rule for rule in fired} | {name: rules[name] for a in lifted.values() for name in a.rules}
        return Verdict(NEEDS_APPROVAL, items, tuple(then[name] for name in sorted(then)), tuple(sorted(roles)))
    return Verdict(ALLOWED, items, fired)


def _lifted(
    engine: Engine, rules: Mapping[str, Rule], bundle: Bundle, answers: Sequence[Answer]
) -> Mapping[int, Answer]:
    """Positions of the items that the engine would allow if the approvals that their rules ask for were there, and its answers then."""
    liftable = [position for position, answer in enumerate(answers) if _is_liftable(answer, rules)]
    if not liftable:
        return {}
    wanted = {rules[name].approval for position in liftable for name in answers[position].rules}
    lifted = engine.answer(_as_if_approved(bundle.requests, wanted), bundle.entities)
    # INVARIANT: with these approvals everything else must be as good as before, or they would not be what is missing
    if any(before.allowed and not after.allowed for before, after in zip(answers, lifted, strict=True)):
        return {}
    return {position: lifted[position] for position in liftable if lifted[position].allowed}


def reasons_of(verdict: Verdict, rules: Mapping[str, Rule]) -> tuple[Reason, ...]:
    """The public reasons of a verdict that is not an allowance."""
    said: dict[str, str] = {}
    for item in verdict.items:
        if item.result != verdict.result:
            continue
        for name in item.rules:
            if name == DEFAULT_DENY:
                said.setdefault(name, f"No rule lets this principal {in_words(item.action, _shown(item.resource))}")
            elif name == EVALUATION_ERROR:
                said.setdefault(name, "The request could not be judged, and is denied for that")
            else:
                said.setdefault(name, rules[name].reason)
    if verdict.errors and EVALUATION_ERROR not in said:
        said[EVALUATION_ERROR] = "The request could not be judged, and is denied for that"
    return tuple(Reason(name, said[name]) for name in sorted(said))


def inputs_of(bundle: Bundle) -> bytes:
    """Everything that the engine was asked, as canonical JSON."""
    value = {
        "engine": ENGINE,
        "entities": sorted(bundle.entities, key=_uid_of),
        "requests": [{**item.request.json(), "words": item.resource} for item in bundle.items],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _uid_of(entity: Mapping[str, Json]) -> tuple[str, str]:
    uid = entity["uid"]
    # INVARIANT: every entity was made by bundle.py, or read back from what it made
    assert isinstance(uid, Mapping)  # noqa: S101 - tells the type checker what the invariant says
    return str(uid["type"]), str(uid["id"])


def read_inputs(data: bytes) -> Bundle:
    """The bundle that `inputs_of` wrote down.

    Raises:
        PolicyError: these are not such bytes.
    """
    try:
        value = json.loads(data)
        items = tuple(
            Item(
                EngineRequest(Uid(**r["principal"]), r["action"]["id"], Uid(**r["resource"]), r["context"]), r["words"]
            )
            for r in value["requests"]
        )
        return Bundle(items, tuple(value["entities"]))
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyError(
            "the stored inputs of the decision cannot be read",
            hint="run `custody verify`: the ledger's payloads may be damaged",
        ) from error


def _is_liftable(answer: Answer, rules: Mapping[str, Rule]) -> bool:
    """Whether nothing but missing approvals keeps an item from being allowed."""
    if answer.allowed or answer.errors or not answer.rules:
        return False
    return all(rules[name].effect is Effect.FORBID and rules[name].approval for name in answer.rules)


def _as_if_approved(requests: Sequence[EngineRequest], roles: set[str]) -> list[EngineRequest]:
    approved = []
    for request in requests:
        common = request.context["common"]
        # INVARIANT: every context was built by bundle.py, where `common` is a mapping with a list of approvals
        assert isinstance(common, Mapping)  # noqa: S101 - tells the type checker what the invariant says
        before = common["approvals"]
        assert isinstance(before, Sequence)  # noqa: S101 - the same
        context: dict[str, Json] = {
            **request.context,
            "common": {**common, "approvals": sorted({*map(str, before), *roles})},
        }
        approved.append(replace(request, context=context))
    return approved


def _decided(item: Item, answer: Answer, *, held: bool) -> DecidedItem:
    rules = answer.rules
    if answer.errors:
        result, rules = DENIED, (EVALUATION_ERROR,)
    elif answer.allowed:
        result = ALLOWED
    elif held:
        result = NEEDS_APPROVAL
    else:
        result, rules = DENIED, rules or (DEFAULT_DENY,)
    return DecidedItem(action=item.request.action, resource=item.resource, result=result, rules=rules)


def _shown(text: str) -> str:
    """Text of a request inside a sentence of ours: bounded, without control characters."""
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:120])
    return f"`{plain.replace('`', chr(39))}`"
