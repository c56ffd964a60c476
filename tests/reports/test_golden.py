import pytest

from .golden import HERE, made


@pytest.mark.parametrize("kind", ["html", "json"])
def test_the_golden_review_is_what_the_renderer_writes(kind: str) -> None:
    wanted = (HERE / f"review.{kind}").read_bytes()
    assert getattr(made(), kind) == wanted, "look at it, then: python -m tests.reports.golden"
