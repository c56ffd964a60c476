"""The facts that a decision is made from; plain data, standard library only.

flows/ fills them in, from the audit, the program's text and the ledger. It must never hold a judgement: what a fact means is said by rules.
"""

from dataclasses import dataclass

__all__ = ["Budgets", "CodeFacts", "DependencyFacts", "History", "PackageFacts", "Spent", "Usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What the audit found about one pin; fields that the audit could not find out say so."""

    name: str
    version: str
    direct: bool = True
    pinned: bool = True
    hashed: bool = True
    malicious: bool = False
    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    unknown: int = 0
    """Findings without a severity; rules count them as high."""
    undetermined: bool = False
    """The advisory data could not be applied to this version."""
    waived: int = 0
    advisories: tuple[str, ...] = ()
    yanked: bool | None = None
    """None if unknown."""
    age_days: int | None = None
    """Whole days since the release was published; None if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyFacts:
    """What the audit found about the whole lock."""

    total: int = 0
    covered: bool = True
    """Whether every pin was audited, by both opinions, and they agreed; True for no packages at all."""
    data_class: str = "none"
    """`live`, `imported`, `demo`, or `none` where there was nothing to audit or no data."""
    packages: tuple[PackageFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFacts:
    """Hints from the program's text: they may tighten a decision, never loosen it."""

    language: str
    sha256: str
    bytes: int
    parsed: bool
    error: str = ""
    imports: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """Capabilities seen: process, network, dynamic_code, native, deserialisation, obfuscated, hidden_characters and others."""
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Kinds of literal secrets seen, never the secrets."""
    evidence: tuple[tuple[str, int], ...] = ()
    """(flag, line number), at most 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used in one stretch of time."""

    runs: int = 0
    cpu_seconds: int = 0
    bytes_out: int = 0
    """What programs sent to hosts and wrote to their outputs."""
    artefact_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was used lately: in the last hour, day, and month of thirty days."""

    hour: Usage = Usage()
    day: Usage = Usage()
    month: Usage = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What counts against whose budget."""

    principal: Spent = Spent()
    owner: Spent = Spent()
    """The accountable human, with every agent and service of his."""
    team: Spent = Spent()
    """Each figure of the team that used most of it, of the teams that the principal is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Counts from the ledger about one authenticated principal."""

    denied_10m: int = 0
    failed_1h: int = 0
    runs_1h: int = 0
    runs_total: int = 0
    known_packages: tuple[str, ...] = ()
    """Of runs that started, lately: what was only asked for, or denied, is as new as before."""
    known_hosts: tuple[str, ...] = ()
    known_paths: tuple[str, ...] = ()
    """`read PATH` and `write PATH`."""
    spent: Budgets = Budgets()
