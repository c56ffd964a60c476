"""How bad an advisory is, and which of its fields said so: CVSS 4, then CVSS 3, then the word of its source, else unknown.

It must never turn an unreadable score into a low one: what cannot be read is unknown.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cvss import CVSS3, CVSS4
from cvss.exceptions import CVSSError

from .types import Severity

_LONGEST_VECTOR = 400
_VECTOR = re.compile(r"CVSS:[34]\.[01](?:/[A-Za-z]{1,3}:[A-Za-z]{1,6})+")
_WORDS = {
    "CRITICAL": Severity.CRITICAL,
    "HIGH": Severity.HIGH,
    "MODERATE": Severity.MEDIUM,
    "MEDIUM": Severity.MEDIUM,
    "LOW": Severity.LOW,
}
_RANK = {Severity.UNKNOWN: 0, Severity.LOW: 1, Severity.MEDIUM: 2, Severity.HIGH: 3, Severity.CRITICAL: 4}
_SOURCES = ("cvss4", "cvss3", "alias_cvss4", "alias_cvss3", "word", "none")
"""Most trusted first."""


class Rating(NamedTuple):
    """A severity and the rule that gave it."""

    severity: Severity
    source: str


UNRATED = Rating(Severity.UNKNOWN, "none")


def rate(vectors: Iterable[str], words: Iterable[str]) -> Rating:
    """The severity that these CVSS vectors and words stand for; the worst of the most trusted kind."""
    found = [rating for vector in vectors if (rating := _rate_vector(vector)) is not None]
    found += [Rating(_WORDS[word.upper()], "word") for word in words if word.upper() in _WORDS]
    return strongest(found)


def strongest(ratings: Iterable[Rating]) -> Rating:
    """The worst rating of the most trusted source among several."""
    return min(ratings, key=lambda r: (_SOURCES.index(r.source), -_RANK[r.severity]), default=UNRATED)


def words_in(*tables: object) -> list[str]:
    """The `severity` words of OSV's database-specific tables."""
    words = [table.get("severity") for table in tables if isinstance(table, Mapping)]
    return [word for word in words if isinstance(word, str)]


def _rate_vector(vector: str) -> Rating | None:
    if len(vector) > _LONGEST_VECTOR or not _VECTOR.fullmatch(vector):
        return None
    try:
        if vector.startswith("CVSS:4"):
            return Rating(_of_score(float(CVSS4(vector).base_score)), "cvss4")
        return Rating(_of_score(float(CVSS3(vector).base_score)), "cvss3")
    except CVSSError:
        return None


def _of_score(score: float) -> Severity:
    # CVSS 3.1 section 5 and CVSS 4.0 section 6; a score of 0 is still an advisory
    if score >= 9:  # noqa: PLR2004 - because the scale is CVSS's own
        return Severity.CRITICAL
    if score >= 7:  # noqa: PLR2004 - because the scale is CVSS's own
        return Severity.HIGH
    return Severity.MEDIUM if score >= 4 else Severity.LOW  # noqa: PLR2004 - because the scale is CVSS's own
