"""The documentation is true where a machine can tell.

Generated pages are current, what exists has a heading, links lead somewhere, and nothing of one machine or one package index stands in a file.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from custody.cli import app
from custody.errors import Exit
from custody.ledger.events import CATALOGUE
from custody.policies.types import Limits
from custody.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?:\]\(|(?:src|srcset)=\")([^)\s\"]+)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

_HERE = b"|".join(re.escape(bytes(path)) for path in (ROOT, Path.home()) if len(path.parts) > 1)
OF_ONE_PLACE = {
    "a path of one machine": re.compile(rb"(?<![\w.@/-])(?:" + _HERE + rb"|/work/(?:main|shared)|/root)/[\w.]"),
    "a package index": re.compile(
        rb"(?:pypi\.org|files\.pythonhosted\.org|registry\.npmjs|deb\.debian\.org)\b", re.IGNORECASE
    ),
}
ALLOWED = {
    # what programs reach for, and what policies and jails keep from them
    "a path of one machine": re.compile(rb"/root/(?:\.ssh|\*)"),
    "a package index": re.compile(rb"(?!)"),
}


def headings(page: str) -> list[str]:
    """Headings of a page, as they are written."""
    return _HEADING.findall(_FENCED.sub("", (ROOT / page).read_text(encoding="utf-8")))


def command_names(command: object, path: str) -> Iterator[str]:
    """Every command below one, by its full name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
    for name, child in (inner or {}).items():
        yield from command_names(child, f"{path} {name}")


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting by its full name."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_names(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def files_of_the_repository() -> list[Path]:
    """What is tracked, and what is new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - the developer's git
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def test_generated_pages_are_current() -> None:
    """`make docs` would change nothing."""
    ended = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_docs.py", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.stderr == ""
    assert ended.returncode == 0


def test_every_command_has_a_heading_and_nothing_else_claims_to_be_one() -> None:
    expected = {"custody", *command_names(typer.main.get_command(app), "custody")}
    written = [heading for heading in headings("docs/cli.md") if heading.startswith("custody")]
    assert sorted(written) == sorted(expected)


def test_every_setting_has_a_heading_and_nothing_else_claims_to_be_one() -> None:
    assert sorted(headings("docs/settings.md")[1:]) == sorted(setting_names(Settings))


def test_every_kind_of_event_has_a_heading() -> None:
    written = " ".join(headings("docs/events.md"))
    assert [name for name, _ in CATALOGUE if name not in written] == []


def test_every_exit_code_stands_in_the_table() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    table = text[text.index("## Exit codes") : text.index("An error is two lines")]
    listed = {int(number) for row in re.findall(r"^\| ([0-9, ]+) \|", table, re.MULTILINE) for number in row.split(",")}
    assert listed == {int(code) for code in Exit}


def test_every_limit_stands_on_the_page_about_policies() -> None:
    text = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(Limits) if f"`{field.name}`" not in text] == []


def test_every_problem_that_verify_names_is_explained() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "ledger").glob("*.py"))
    named = set(re.findall(r'\.add\(\s*"([a-z-]+)"', code))
    assert len(named) > 10
    assert sorted(name for name in named if f"`{name}`" not in text) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    broken = []
    for link in _LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Anchors of headings, as code hosts make them."""
    texts = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("what", OF_ONE_PLACE)
def test_nothing_of_one_place_stands_in_a_file(what: str) -> None:
    """Another machine, and any mirror of the index, has to do as well."""
    found = []
    for path in files_of_the_repository():
        content = path.read_bytes()
        for match in OF_ONE_PLACE[what].finditer(content):
            line = content[content.rfind(b"\n", 0, match.start()) + 1 : match.end() + 20]
            if path != Path(__file__) and not ALLOWED[what].match(content, match.start()):
                found.append(f"{path.relative_to(ROOT)}: {line.decode('utf-8', 'replace').strip()[:100]}")
    assert found == []


def test_the_pictures_of_the_report_are_small() -> None:
    """A README that loads slowly is not read."""
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").glob("*.png")}
    assert set(sizes) == {"review-light.png", "review-dark.png"}
    assert max(sizes.values()) < 300 * 1024
