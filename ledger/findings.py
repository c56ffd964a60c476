"""What a verification has found so far: the first of each kind of problem, and how many there were.

It must never drop a kind of problem; a hostile ledger can repeat one a million times, hence the counting.
"""

from .types import Problem

__all__ = ["Findings"]


_LONGEST = 400


class Findings:
    """Collects problems, sentences on what was checked and sentences on what was not."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}
        self._counts: dict[str, int] = {}
        self.checks: list[str] = []
        self.not_checked: list[str] = []

    def add(self, code: str, message: str, index: int | None = None) -> None:
        """One problem; of several with the same code the one with the lowest index is kept."""
        self._counts[code] = self._counts.get(code, 0) + 1
        message = "".join(c if c.isprintable() else "?" for c in message)[:_LONGEST]  # it may quote a hostile database
        known = self._problems.get(code)
        if known is None or (index is not None and (known.index is None or index < known.index)):
            self._problems[code] = Problem(code, message, index)

    def problems(self) -> tuple[Problem, ...]:
        """One of each code, those about the earliest entries first."""
        counted = [
            Problem(
                p.code,
                p.message if self._counts[p.code] == 1 else f"{p.message} (and {self._counts[p.code] - 1} more)",
                p.index,
            )
            for p in self._problems.values()
        ]
        return tuple(sorted(counted, key=lambda p: (p.index is None, p.index or 0)))

    def has(self, *codes: str) -> bool:
        """Whether one of the codes was found."""
        return any(code in self._problems for code in codes)
