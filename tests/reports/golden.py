"""Writes the golden review again: `python -m tests.reports.golden`, then look at the difference before committing it."""

from pathlib import Path

from custody.reports import Rendered, render

from .world import demo, reviewed

HERE = Path(__file__).parent / "golden"


def made() -> Rendered:
    return render(reviewed(demo()))


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    files = made()
    (HERE / "review.html").write_bytes(files.html)
    (HERE / "review.json").write_bytes(files.json)
