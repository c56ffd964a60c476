"""A decision in sentences: what was asked, what was answered, by which rules, and what they changed.

It must never tell more than its reader may know: details and places of rules are for authorised readers, reasons are public.
"""

from collections.abc import Iterator, Mapping

from .rules import DEFAULT_DENY, EVALUATION_ERROR, Rule
from .types import Basis, DecidedItem

__all__ = ["explained"]

_ANSWERS = {"allowed": "allowed", "needs_approval": "held for approval", "denied": "denied"}
_ORDER = ["denied", "needs_approval", "allowed"]


def explained(basis: Basis, rules: Mapping[str, Rule], *, details: bool) -> Iterator[str]:
    """One sentence for each item, the strictest first, then what rules changed and what went wrong."""
    for item in sorted(basis.items, key=lambda item: _ORDER.index(item.result)):
        yield f"{item.action} {_shown(item.resource)}: {_ANSWERS[item.result]}; {_because(item, rules, details=details)}"
    yield from (f"changed: {said}" for said in basis.obligations)
    if details:
        yield from (f"error: {_plain(error)}" for error in basis.errors)


def _because(item: DecidedItem, rules: Mapping[str, Rule], *, details: bool) -> str:
    return "; ".join(_rule(name, rules, details=details) for name in item.rules)


def _rule(name: str, rules: Mapping[str, Rule], *, details: bool) -> str:
    if name == DEFAULT_DENY:
        return "no rule permits it"
    if name == EVALUATION_ERROR:
        return "it could not be judged, which denies"
    rule = rules.get(name)
    if rule is None:
        return f"rule `{name}`, which is not in this policy set"
    said = f"rule `{name}`: {rule.reason}"
    if details:
        said += f" ({rule.detail})" if rule.detail else ""
        said += f" [{rule.file}:{rule.line}]"
    return said


def _shown(text: str) -> str:
    return f"`{_plain(text).replace('`', chr(39))}`"


def _plain(text: str) -> str:
    """Hostile text in one line, bounded, without what cannot be seen."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:200])
