"""The page of the catalogue says what the catalogue says."""

import typing
from pathlib import Path

from custody.ledger.document import page
from custody.ledger.events import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_page_is_that_of_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m custody.ledger.document > docs/events.md"


def test_every_kind_and_field_has_its_line() -> None:
    text = page()
    for (name, version), cls in CATALOGUE.items():
        heading = name if version == 1 else f"{name}, version {version}"
        section = text.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
        for field in typing.get_type_hints(cls).keys() - {"KIND"}:
            assert f"| `{field}` |" in section
    assert "[`run:submitted`](#runsubmitted)" in text
    assert "denied, blocked" in text
