"""Content that does not hold the sign of a kind of secret is not searched for it: that must never miss one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.redaction import SECRET_KINDS, SIGNS, Redactor, secret_kinds_in


def test_every_kind_has_its_signs() -> None:
    assert SIGNS.keys() == SECRET_KINDS.keys()
    assert all(SIGNS.values())


@pytest.mark.parametrize("kind", SECRET_KINDS)
def test_whatever_matches_a_kind_holds_one_of_its_signs(kind: str) -> None:
    @settings(max_examples=50, deadline=None)
    @given(st.from_regex(SECRET_KINDS[kind]))
    def check(content: bytes) -> None:
        assert any(sign in content for sign in SIGNS[kind])
        assert kind in secret_kinds_in(content)
        assert Redactor().redact(content).count >= 1

    check()
