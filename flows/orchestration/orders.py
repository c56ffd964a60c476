"""What a process that wants a flow and the process that runs it say to each other: one JSON object a line, both ways.

Both ends are ours and of one release; still nothing is taken from a line that it does not have to hold.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from ...errors import CustodyError, Exit

__all__ = ["Answer", "Kind", "Order"]


class Kind(StrEnum):
    """What can be ordered."""

    RUN = "run"
    REVIEW = "review"
    REGISTER = "register"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One thing to do."""

    kind: Kind
    values: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """As it is sent."""
        return json.dumps({"kind": self.kind, "values": dict(self.values)}) + "\n"

    @classmethod
    def read(cls, line: str) -> Self:
        """From what was sent."""
        value = json.loads(line)
        return cls(kind=Kind(value["kind"]), values={str(name): str(text) for name, text in value["values"].items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """It was done, or why not."""

    problem: str = ""
    hint: str = ""
    exit_code: int = Exit.DONE
    rows: tuple[Mapping[str, str], ...] = ()

    def line(self) -> str:
        """As it is sent."""
        rows = [dict(row) for row in self.rows]
        return (
            json.dumps({"problem": self.problem, "hint": self.hint, "exit_code": int(self.exit_code), "rows": rows})
            + "\n"
        )

    @classmethod
    def read(cls, line: str) -> Self:
        """From what was sent."""
        value = json.loads(line)
        rows = tuple({str(name): str(text) for name, text in row.items()} for row in value["rows"])
        return cls(problem=str(value["problem"]), hint=str(value["hint"]), exit_code=int(value["exit_code"]), rows=rows)

    @classmethod
    def refusing(cls, error: CustodyError) -> Self:
        """It could not be done."""
        return cls(problem=error.message, hint=error.hint, exit_code=int(error.exit_code))

    def check(self) -> None:
        """Raise what the other process raised.

        Raises:
            CustodyError: it was not done.
        """
        if self.problem:
            raise CustodyError(self.problem, hint=self.hint, exit_code=Exit(self.exit_code))
