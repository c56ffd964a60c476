"""Which key must have signed a checkpoint of which size, for somebody who trusts one key.

It starts from the key that the checker was given. It must never trust a key merely because the database names it.
"""

from .notes import Verifier

__all__ = ["KeyChain"]


class KeyChain:
    """The keys of one ledger over time, as far as they hang together with the trusted one."""

    def __init__(self, trusted: Verifier) -> None:
        self._trusted = trusted
        self.origin = trusted.name

    def at(self, size: int) -> tuple[Verifier, ...]:  # noqa: ARG002 - because one key signs everything until keys rotate
        """Keys that must all have signed the checkpoint of that size."""
        return (self._trusted,)

    def of_note(self, note: str) -> tuple[Verifier, ...]:  # noqa: ARG002 - because one key signs everything until keys rotate
        """Keys of which a kept checkpoint must carry one."""
        return (self._trusted,)
