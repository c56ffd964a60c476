"""Which versions mend a pin: those that no advisory found for it speaks of any more, as far as the advisories say.

It must never name a version that mends only a part: a union of everything that was fixed somewhere would.
"""

from collections.abc import Sequence

from packaging.version import InvalidVersion, Version

from ..dependencies.types import PinFinding

__all__ = ["fixing_versions"]


def fixing_versions(finding: PinFinding) -> tuple[str, ...]:
    """Versions above the one in use that every advisory calls fixed, oldest first; empty if there are none, or one has no fix."""
    used = _version(finding.pin.version)
    fixed = [[v for text in advisory.fixed_in if (v := _version(text)) is not None] for advisory in finding.advisories]
    if used is None or not fixed or not all(fixed):
        return ()
    candidates = sorted({version for versions in fixed for version in versions if version > used})
    return tuple(str(version) for version in candidates if all(_mends(version, versions) for versions in fixed))


def _mends(version: Version, fixed: Sequence[Version]) -> bool:
    """Whether a version has the fix of one advisory: a fix in its own major line if there is one, else an older line's."""
    own_line = [found for found in fixed if found.release[0] == version.release[0]]
    if own_line:
        return version >= max(own_line)
    return any(found <= version for found in fixed)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
