"""Actions in the words of sentences: people read these, never the names that rules use."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["in_words"]

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "submit": "submit programs",
        "execute": "run programs",
        "install": "use the package",
        "connect": "connect to",
        "mountRead": "read the path",
        "mountWrite": "write the path",
        "approve": "approve the run",
        "refuse": "refuse the run",
        "continueRun": "continue the run",
        "cancelRun": "cancel the run",
        "readRun": "read the run",
        "readAudit": "read the ledger",
        "verifyLedger": "verify the ledger",
        "runReview": "make reviews",
        "signReview": "sign reviews",
        "changePolicy": "change the policies",
        "readPrincipals": "read who the principals are",
        "managePrincipals": "change who the principals are",
        "importAdvisories": "import advisory data",
        "deploy": "register schedules",
    }
)
_WITH_OBJECT: Final = frozenset(
    {
        "install",
        "connect",
        "mountRead",
        "mountWrite",
        "approve",
        "refuse",
        "continueRun",
        "cancelRun",
        "readRun",
        "changePolicy",
    }
)


def in_words(action: str, resource: str = "") -> str:
    """What the action would do, as it stands after `may not`; one that needs an object names the resource."""
    words = _WORDS.get(action, action)
    return f"{words} {resource}" if resource and action in _WITH_OBJECT else words
