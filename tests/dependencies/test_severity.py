"""Severities and where they come from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.dependencies.severity import UNRATED, Rating, rate, strongest
from custody.dependencies.types import Severity

_CVSS3_LOW = "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
_CVSS3_HIGH = "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
_CVSS4_CRITICAL = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


@pytest.mark.parametrize(
    ("vectors", "words", "expected"),
    [
        ([_CVSS4_CRITICAL, _CVSS3_LOW], ["LOW"], Rating(Severity.CRITICAL, "cvss4")),
        ([_CVSS3_LOW, _CVSS3_HIGH], ["CRITICAL"], Rating(Severity.HIGH, "cvss3")),
        ([], ["moderate", "low"], Rating(Severity.MEDIUM, "word")),
        (["CVSS:3.1/AV:X"], ["HIGH"], Rating(Severity.HIGH, "word")),
        (["CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"], [], Rating(Severity.LOW, "cvss3")),
        (["9.8", "CVSS:2.0/AV:N", "CVSS:3.1/" + "AV:N/" * 200], ["dreadful"], UNRATED),
        ([], [], UNRATED),
    ],
)
def test_the_most_trusted_source_decides_and_the_worst_of_it(
    vectors: list[str], words: list[str], expected: Rating
) -> None:
    assert rate(vectors, words) == expected


def test_an_own_score_is_trusted_more_than_the_score_of_an_alias() -> None:
    own, alias, word = (
        Rating(Severity.LOW, "cvss3"),
        Rating(Severity.HIGH, "alias_cvss4"),
        Rating(Severity.CRITICAL, "word"),
    )
    assert strongest([word, alias, own]) == own
    assert strongest([word, alias]) == alias


@settings(deadline=None)  # a busy machine is no fault
@given(st.text(max_size=60).map("CVSS:3.1/".__add__) | st.from_regex(r"\ACVSS:[34]\.[01](/[A-Z]{1,2}:[A-Z]){1,12}\Z"))
def test_any_vector_gives_a_severity(vector: str) -> None:
    assert rate([vector], []).severity in Severity
