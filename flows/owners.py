"""Who was ever submitted for under which human: kept, so that nobody's budget is forgotten with a line of the directory."""

import json
from dataclasses import dataclass, field

from ..ledger import Entry, Ledger, events
from .following import follow, us_of

__all__ = ["owned_by"]


def owned_by(ledger: Ledger, owner: str) -> frozenset[str]:
    """Principals of whom a submission said that this human answers for them."""
    owners = follow(ledger, "owners", version=1, kinds=("run:submitted",), empty=_Owners, kept=_Owners.from_bytes)
    return frozenset(owners.principals.get(owner, ()))


@dataclass(slots=True)
class _Owners:
    newest_us: int = 0
    principals: dict[str, set[str]] = field(default_factory=dict)
    """Owner -> principals; somebody who answers for himself stands under his own name."""

    def add(self, entry: Entry) -> None:
        self.newest_us = us_of(entry.time)
        if isinstance(entry.event, events.RunSubmitted):
            self.principals.setdefault(entry.event.owner or entry.actor, set()).add(entry.actor)

    def to_bytes(self) -> bytes:
        value = {owner: sorted(principals) for owner, principals in sorted(self.principals.items())}
        return json.dumps({"newest_us": self.newest_us, "principals": value}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "_Owners | None":
        try:
            value = json.loads(content)
            principals = {str(owner): {str(name) for name in names} for owner, names in value["principals"].items()}
            return cls(int(value["newest_us"]), principals)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
