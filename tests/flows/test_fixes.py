"""A version that is proposed mends everything that was found, or it is not proposed."""

import pytest

from custody.dependencies.types import Advisory, Pin, PinFinding, PinState, Severity
from custody.flows.fixes import fixing_versions


def found(used: str, *fixed: tuple[str, ...]) -> PinFinding:
    """A pin with one advisory for each tuple of fixed versions."""
    advisories = tuple(
        Advisory(
            id=f"A-{n}", aliases=(), severity=Severity.HIGH, severity_source="cvss3", summary="", fixed_in=versions
        )
        for n, versions in enumerate(fixed)
    )
    return PinFinding(pin=Pin(name="p", version=used, hashes=()), state=PinState.VULNERABLE, advisories=advisories)


@pytest.mark.parametrize(
    ("used", "fixed", "expected"),
    [
        ("1.26.4", [("1.26.5",), ("1.26.17", "2.0.6"), ("1.26.18", "2.0.7")], ("1.26.18", "2.0.7")),
        ("1.0", [("1.2",)], ("1.2",)),
        ("1.0", [("1.10", "1.9")], ("1.10",)),
        ("1.0", [("1.2",), ()], ()),
        ("1.0", [("0.9",)], ()),
        ("1.0", [("not a version",)], ()),
        ("3.1", [("1.2", "4.0")], ("4.0",)),
    ],
)
def test_only_versions_that_mend_everything_are_named(
    used: str, fixed: list[tuple[str, ...]], expected: tuple[str, ...]
) -> None:
    assert fixing_versions(found(used, *fixed)) == expected
