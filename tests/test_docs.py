"""The documentation is true where a machine can tell.

Generated pages are current, what exists has a heading, links lead somewhere, and nothing of one machine or one package index stands in a file.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from custody.cli import app
from custody.dependencies import parse_requirements
from custody.errors import Exit
from custody.flows.orchestration.catalogue import CATALOGUE as CATALOGUE_OF_FLOWS
from custody.ledger.events import CATALOGUE
from custody.policies import Directory, Gate, PolicySet, run_rule_tests
from custody.policies.types import Denied, Limits, Permitted, Principal, PrincipalKind
from custody.reports import DETECTORS
from custody.sandbox import OutcomeClass
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


def fenced(page: str, language: str, number: int = 0) -> str:
    """One fenced block of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [str(block) for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)][number]


def test_the_directory_file_on_the_page_is_one() -> None:
    directory = Directory.from_text(fenced("policies.md", "toml"))
    assert set(directory.principals) == {"alice", "bob", "coder", "nightly"}
    assert directory.principals["alice"].teams == ("analytics", "company")


def test_the_rule_on_the_page_is_one_of_the_shipped_rules() -> None:
    shipped = "".join(PolicySet.shipped().texts(".cedar").values())
    rule = re.sub(r"@control\([^)]*\)\n", "", fenced("policies.md", "text"))
    assert rule in re.sub(r"@control\([^\n]*\)\n", "", shipped)


def test_the_lead_on_the_page_changes_the_layer_of_that_project_only() -> None:
    gate = Gate(PolicySet(dict(PolicySet.shipped().files) | {"lead.cedar": fenced("policies.md", "cedar")}))
    lead = Principal(id="lea", kind=PrincipalKind.HUMAN, roles=("analytics-lead",))
    for layers, kind in (
        (["project/analytics"], Permitted),
        (["project"], Denied),
        (["project/analytics", "locked"], Denied),
    ):
        assert isinstance(
            gate.act(lead, "changePolicy", layers=layers, now=datetime(2026, 1, 1, tzinfo=UTC), decision="d"), kind
        ), layers


def test_the_rule_tests_on_the_page_pass() -> None:
    shipped = {name: text for name, text in PolicySet.shipped().files.items() if not name.startswith("tests/")}
    results = run_rule_tests(PolicySet(shipped | {"tests/page.yaml": fenced("policies.md", "yaml")}))
    assert [(result.name, result.problems) for result in results if result.problems] == []
    assert {result.fires for result in results} == {True, False}


def test_the_requirements_on_the_page_are_taken() -> None:
    lock = parse_requirements(fenced("dependencies.md", "text").encode(), name="page")
    assert [pin.name for pin in lock.pins] == ["colorama", "humanize"]


def test_every_layer_and_outcome_class_stands_on_the_page_about_the_sandbox() -> None:
    text = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    layers = {layer for profile in Gate(PolicySet.shipped()).profiles.values() for layer in profile.layers}
    assert sorted(name for name in {*layers, *map(str, OutcomeClass)} if f"`{name}`" not in text) == []


def test_every_shipped_profile_and_detector_is_described() -> None:
    policies = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    reviews = (ROOT / "docs" / "reviews.md").read_text(encoding="utf-8")
    assert [name for name in Gate(PolicySet.shipped()).profiles if f"| `{name}` |" not in policies] == []
    assert [detector.id for detector in DETECTORS if f"| `{detector.id}` |" not in reviews] == []


def test_every_deployment_stands_on_the_page_about_prefect() -> None:
    text = (ROOT / "docs" / "prefect.md").read_text(encoding="utf-8")
    assert [found.full_name for found in CATALOGUE_OF_FLOWS if f"| `{found.full_name}` |" not in text] == []


def test_every_runtime_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text(encoding="utf-8")
    listed = sorted(re.findall(r"^\| ([a-z][a-z0-9-]+) \|", page.split("| --- |", 1)[1], re.MULTILINE))
    assert listed == sorted(re.split(r"[<>=]", text)[0] for text in project["dependencies"])


def test_the_pictures_of_the_report_are_small() -> None:
    """A README that loads slowly is not read."""
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").glob("*.png")}
    assert set(sizes) == {"review-light.png", "review-dark.png"}
    assert max(sizes.values()) < 300 * 1024
