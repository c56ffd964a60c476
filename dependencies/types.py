"""Pins, findings and where they came from; plain data, standard library only.

This room reports findings and coverage; it never allows or denies.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

__all__ = ["DataClass", "Environment", "Findings", "Freshness", "Lock"]


class DataClass(StrEnum):
    """Where advisory data came from."""

    LIVE = "live"
    IMPORTED = "imported"
    DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One exact package of a lock."""

    name: str
    """Canonical (PEP 503)."""
    version: str
    """As given; PEP 440."""
    hashes: tuple[str, ...]
    """`sha256:` and 64 hex digits each, sorted."""
    marker: str = ""
    """Environment marker (PEP 508) as canonical text; every pin is audited whatever its marker says."""
    extras: tuple[str, ...] = ()
    direct: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """All pins of a run in canonical order: what is audited is what is installed."""

    pins: tuple[Pin, ...]
    text: str
    """Our own rendering, sorted by name, hash-pinned, without options: the only text that uv ever reads."""
    sha256: str
    """Of that text, hex."""
    source: str
    """`none`, `requirements.txt`, `pylock.toml`; later others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineMetadata:
    """What a script declares about itself in an inline block (PEP 723)."""

    dependencies: tuple[str, ...] = ()
    """Requirement specifiers, as written."""
    requires_python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvisoryData:
    """Identity and age of one advisory index."""

    data_class: DataClass
    sha256: str
    """Of the source that was imported, hex."""
    source: str
    """File name of what was imported, without its folder."""
    as_of: datetime
    """The newest change in the data, or the date that the importer was given."""
    imported_at: datetime
    records: int
    quarantined: int


class PinState(StrEnum):
    """What the audit says of one pin."""

    CLEAN = "clean"
    VULNERABLE = "vulnerable"
    WAIVED = "waived"
    UNDETERMINED = "undetermined"
    UNAUDITABLE = "unauditable"


class Severity(StrEnum):
    """Severity of one advisory; `unknown` ranks as high."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One advisory that matches a pin."""

    id: str
    aliases: tuple[str, ...]
    severity: Severity
    severity_source: str
    """Which rule gave the severity: `cvss4`, `cvss3`, `alias_cvss4`, `alias_cvss3`, `word`, `none`."""
    summary: str
    """First line, at most 200 characters; hostile text."""
    fixed_in: tuple[str, ...]
    malicious: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PinFinding:
    """One pin and what was found."""

    pin: Pin
    state: PinState
    advisories: tuple[Advisory, ...] = ()
    reason: str = ""
    """Why it is undetermined or unauditable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """What pip-audit said of the same pins and the same data."""

    tool: str
    """`pip-audit` with its version."""
    agreed: bool
    advisories: int
    detail: str = ""
    cached: bool = False
    """Whether the answer was given before for the same lock and the same index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The audit of one lock."""

    lock_sha256: str
    pins: tuple[PinFinding, ...]
    complete: bool
    """Coverage: every pin was judged by both opinions, the data is fit for use, and the opinions agree."""
    coverage_error: str
    """Empty if complete; else the reason."""
    data: AdvisoryData | None
    """None if there was nothing to audit or no data."""
    second_opinion: SecondOpinion | None
    warnings: tuple[str, ...] = ()
    """What a reader should know though coverage is complete, for example that the data is getting old."""

    @property
    def real(self) -> bool:
        """Whether this is an audit at all: data of class `demo` never is."""
        return self.data is None or self.data.data_class is not DataClass.DEMO


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A built environment, ready to be mounted read-only."""

    path: Path
    """The site-packages directory."""
    key: str
    """Content address: digest of lock, interpreter, platform and tool."""
    tree_sha256: str
    files: int
    bytes: int
    tool: str
    """`uv` with its version."""
    built_in_jail: bool
    """False until resolving and building move into a jail; recorded as it is."""
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The latest version of one pin, or why it is unknown."""

    name: str
    used: str
    latest: str | None
    """None if unknown."""
    reason: str = ""
    """Why the latest version is unknown; empty if it is known."""
    yanked: bool | None = None
    """Whether the used version is yanked; None if unknown."""
    as_of: datetime | None = field(default=None)
