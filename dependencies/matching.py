"""Whether a version is inside an advisory's extent: the enumerated list or a range, in the order of PEP 440.

It must never use `SpecifierSet`: its rules for pre-releases are about what to install, and miss affected versions.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from packaging.version import Version

from .osv import Bound, Extent, version_key


class Verdict(StrEnum):
    """What an extent says of one version."""

    AFFECTED = "affected"
    UNDETERMINED = "undetermined"
    UNAFFECTED = "unaffected"


class _Step(NamedTuple):
    """All bounds of one range at one version."""

    version: Version | None
    """None for the beginning of all versions."""
    introduced: bool
    ends: bool
    """`fixed` or `limit`: this version is not affected any more."""
    last_affected: bool


class Judge:
    """An extent made ready to judge many versions.

    Args:
        extent: what the advisory says about one package.
    """

    __slots__ = ("_listed", "_ranges", "fixes", "unevaluable")

    def __init__(self, extent: Extent) -> None:
        self._listed = frozenset(extent.versions)
        self._ranges = tuple(_steps(bounds) for bounds in extent.ranges)
        self.unevaluable = extent.unevaluable
        self.fixes = tuple(sorted({_parse(b.version) for bounds in extent.ranges for b in bounds if b.kind == "fixed"}))
        """Versions in which it is fixed, oldest first."""

    def judge(self, version: Version) -> Verdict:
        """Whether this version is affected; list or range, whichever says so."""
        # a local version is a build of the public one
        if version_key(str(version)) in self._listed or version_key(version.public) in self._listed:
            return Verdict.AFFECTED
        if self.unevaluable:
            # a bound may be missing, so that the ranges prove nothing either way
            return Verdict.UNDETERMINED
        return Verdict.AFFECTED if any(_is_inside(version, steps) for steps in self._ranges) else Verdict.UNAFFECTED


@lru_cache(maxsize=32_768)
def _parse(text: str) -> Version:
    """The version; the bounds of advisories repeat, and parsing them is most of the work."""
    return Version(text)


def _steps(bounds: Iterable[Bound]) -> tuple[_Step, ...]:
    def order(bound: Bound) -> tuple[bool, Version]:
        return (not _is_beginning(bound), _parse(bound.version))

    return tuple(
        _Step(
            version=version if later else None,
            introduced="introduced" in kinds,
            ends=bool({"fixed", "limit"} & kinds),
            last_affected="last_affected" in kinds,
        )
        for (later, version), group in groupby(sorted(bounds, key=order), key=order)
        for kinds in [{bound.kind for bound in group}]
    )


def _is_beginning(bound: Bound) -> bool:
    return bound.kind == "introduced" and bound.version == "0"


def _is_inside(version: Version, steps: tuple[_Step, ...]) -> bool:
    """Walks the range up to the version.

    Where one version both ends and introduces, nothing changes: an interval that touches the next one goes on,
    and an empty one stays empty.
    """
    inside = False
    for step in steps:
        if step.version is not None and step.version > version:
            break
        if step.introduced != step.ends:
            inside = step.introduced
        if step.last_affected and step.version is not None and version > step.version:
            inside = False
    return inside
