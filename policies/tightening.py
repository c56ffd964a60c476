"""What rules have left of a request: limits lowered, a profile forced, redactions and records added.

It must never loosen: a limit only falls, and a profile is replaced only by one that opens nothing more. What cannot be applied that way is not
applied, the rule fires again in the next turn, and that is a denial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .rules import Effect, Rule
from .types import Limits, Profile

__all__ = ["State", "tightened"]

_OPENINGS = ("network", "shell", "demo", "live_output")


@dataclass(frozen=True, slots=True)
class State:
    """What is left of a request after some turns."""

    profile: Profile
    limits: Limits
    obligations: tuple[str, ...] = ()
    """What was changed by which rule, one sentence each."""
    redact: frozenset[str] = frozenset({"secrets"})
    record: frozenset[str] = frozenset()


def tightened(state: State, fired: Sequence[Rule], profiles: Mapping[str, Profile]) -> State:
    """The state after every obligation of the forbids that fired; the same state if nothing changes."""
    obliging = [rule for rule in fired if rule.effect is Effect.FORBID and rule.obliges]
    if not obliging:
        return state
    limits, profile, said = asdict(state.limits), state.profile, list(state.obligations)
    for rule in obliging:
        target = profiles.get(rule.profile)
        if target is not None and target != profile and _is_tighter(target, profile):
            said.append(f"profile {profile.name} to {target.name} ({rule.id})")
            profile = target
        for limit, value in rule.clamps.items():
            cap = getattr(state.profile.caps, limit) if value is None else value
            if cap < limits[limit]:
                said.append(f"{limit} {limits[limit]} to {cap} ({rule.id})")
                limits[limit] = cap
    if limits == asdict(state.limits) and profile == state.profile:
        return state
    redact = state.redact.union(*(rule.redact for rule in obliging))
    record = state.record.union(*(rule.record for rule in obliging))
    return State(profile, Limits(**limits), tuple(said), redact, record)


def _is_tighter(target: Profile, profile: Profile) -> bool:
    """Whether changing to the target opens nothing that the profile keeps shut."""
    return (
        set(target.layers) >= set(profile.layers)
        and not any(getattr(target, name) and not getattr(profile, name) for name in _OPENINGS)
        and (target.strict or not profile.strict)
        and (target.strict or target.seccomp == profile.seccomp)
        and all(getattr(target.caps, name) <= value for name, value in asdict(profile.caps).items())
    )
