"""The exception tree: each error carries a message (what), a hint (what to do) and an exit code.

An agent program that fails is an outcome, not an exception; exceptions are for custody being unable to do its job.

CustodyError                      1
├── UsageError                    2    the caller asked for something that cannot be
├── ConfigurationError            1    this home or machine is not set up for it
├── PolicyError                   1    a policy set, a directory or a profile cannot be used
├── DependencyError               5    requirements, advisory data or an environment cannot be used
├── SandboxError                  1    the jail could not be made or did not answer
│   └── LayerError                1    a layer that the profile demands is missing on this machine
└── LedgerError                   74   the ledger cannot be read or written
    ├── ConflictError             74   the same event id was already used for other bytes
    └── EvidenceError             8    what is stored is not what was signed
"""

from enum import IntEnum

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "CustodyError",
    "DependencyError",
    "EvidenceError",
    "Exit",
    "LayerError",
    "LedgerError",
    "PolicyError",
    "SandboxError",
    "UsageError",
]


class Exit(IntEnum):
    """Every exit code that custody gives; the table is in docs/cli.md."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    DENIED = 3
    NEEDS_APPROVAL = 4
    BLOCKED = 5
    PROGRAM_FAILED = 6
    LIMIT = 7
    TAMPERED = 8
    UNANCHORED = 9
    LOW = 10
    MEDIUM = 11
    HIGH = 12
    CRITICAL = 13
    LEDGER = 74
    CANCELLED = 130


class CustodyError(Exception):
    """What went wrong in one sentence, what to do about it, and the exit code of the command that meets it."""

    exit_code: Exit = Exit.FAILURE

    def __init__(self, message: str, *, hint: str, exit_code: Exit | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(CustodyError):
    """The caller asked for something that cannot be."""

    exit_code = Exit.USAGE


class ConfigurationError(CustodyError):
    """This home or this machine is not set up for what was asked."""


class PolicyError(CustodyError):
    """A policy set, a directory file or a profile cannot be used."""


class DependencyError(CustodyError):
    """Requirements, advisory data or an environment cannot be used."""

    exit_code = Exit.BLOCKED


class SandboxError(CustodyError):
    """The jail could not be made, or did not answer."""


class LayerError(SandboxError):
    """A layer that the profile demands is missing on this machine."""


class LedgerError(CustodyError):
    """The ledger cannot be read or written."""

    exit_code = Exit.LEDGER


class ConflictError(LedgerError):
    """The same event id was already used for other bytes."""


class EvidenceError(LedgerError):
    """What is stored is not what was signed."""

    exit_code = Exit.TAMPERED
