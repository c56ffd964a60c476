"""The page in real Chromium: style applied, nothing refused, nothing wider than the screen, page one on one sheet."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from custody.ledger.types import Problem
from custody.reports import Review, render

from .browser import Browser
from .png import read_png
from .test_hostile import hostile
from .world import World, demo, reviewed

pytestmark = pytest.mark.browser


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: make system installs it")
    return Browser(program, tmp_path)


@pytest.fixture
def page(review: Review) -> bytes:
    return render(review).html


def quiet() -> World:
    world = World()
    world.succeeded("run-1", "agent-analyst", "a.py")
    return world


def weeks() -> World:
    world = World()
    for number in range(80):
        world.denied(f"run-{number}", "agent-analyst", "a.py")
        world.now += timedelta(hours=7)
    return world


@pytest.mark.parametrize(
    ("dark", "ground", "ink"),
    [(False, "rgb(245, 246, 248)", "rgb(22, 32, 46)"), (True, "rgb(14, 20, 27)", "rgb(232, 237, 243)")],
)
def test_the_style_applies_in_light_and_dark(browser: Browser, page: bytes, dark: bool, ground: str, ink: str) -> None:  # noqa: FBT001 - because a parameter of a test
    seen = browser.look(page, width=1120, dark=dark)
    assert (seen.ground, seen.ink, seen.columns, seen.sheets) == (ground, ink, "grid", 1)
    assert seen.console == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("made", [demo, weeks])
def test_every_text_stands_out_from_what_is_painted_behind_it(browser: Browser, made: object, dark: bool) -> None:  # noqa: FBT001 - because a parameter of a test
    assert callable(made)
    problem = Problem("leaf-changed", "entry 7 is not what was signed", 7)
    seen = browser.look(render(reviewed(made(), problem, hours=24 * 30)).html, width=1120, dark=dark)
    assert seen.texts > 300
    assert seen.faint == []


def test_a_style_that_was_tampered_with_is_refused_and_seen_to_be(browser: Browser, page: bytes) -> None:
    seen = browser.look(page.replace(b"--bg:#f5f6f8", b"--bg:#ff0000"), width=1120)
    assert seen.ground == "rgba(0, 0, 0, 0)"
    assert any("Content Security Policy" in line for line in seen.console)


def test_a_script_that_got_in_would_not_run(browser: Browser, page: bytes) -> None:
    seen = browser.look(page.replace(b"</main>", b"<script>document.body.remove()</script></main>"), width=1120)
    assert seen.columns == "grid"
    assert any("Content Security Policy" in line for line in seen.console)


@pytest.mark.parametrize("width", [320, 390, 700, 1120])
@pytest.mark.parametrize("made", [demo, weeks])
def test_nothing_is_wider_than_the_screen(browser: Browser, made: object, width: int) -> None:
    assert callable(made)
    seen = browser.look(render(reviewed(made(), hours=24 * 30)).html, width=width)
    assert (seen.scroll, seen.wide) == (seen.client, [])


def test_long_names_do_not_widen_the_page(browser: Browser) -> None:
    world = demo()
    world.denied("run-" + "9" * 200, "agent-" + "x" * 300, "p" * 300 + ".py", rule="rule-" + "y" * 300)
    seen = browser.look(render(reviewed(world)).html, width=390)
    assert (seen.scroll, seen.wide) == (seen.client, [])


@pytest.mark.parametrize("width", [390, 1120])
def test_a_page_of_hostile_texts_stays_in_its_bounds_and_in_sight(browser: Browser, width: int) -> None:
    seen = browser.look(render(hostile(all_of_it=False)).html, width=width)
    assert (seen.scroll, seen.wide, seen.faint) == (seen.client, [], [])


@pytest.mark.parametrize(("dark", "ground"), [(False, (245, 246, 248)), (True, (14, 20, 27))])
def test_what_is_painted_is_what_was_meant(
    browser: Browser,
    page: bytes,
    tmp_path: Path,
    dark: bool,  # noqa: FBT001 - because a parameter of a test
    ground: tuple[int, int, int],
) -> None:
    picture = read_png(browser.picture(page, tmp_path / "page.png", dark=dark))
    assert (picture.width, picture.height) == (1120, 900)
    assert picture.pixel(4, 450) == ground
    colours = {picture.pixel(x, y) for y in range(0, 900, 9) for x in range(0, 1120, 7)}
    assert len(colours) > 12


def pages_of(pdf: bytes) -> list[int]:
    """The objects of its sheets, in order."""
    kids = b" ".join(re.findall(rb"/Kids \[([^\]]*)\]", pdf))
    order = [int(number) for number in re.findall(rb"(\d+) 0 R", kids)]
    return [number for number in order if re.search(rb"(?:^|\n)%d 0 obj\n<</Type /Page\n" % number, pdf)]


def page_of(pdf: bytes, heading: str) -> int:
    """On which sheet a heading is printed, by the document's outline."""
    found = re.search(rb"/Title \(%s[^)]*\)\n/Dest \[(\d+) 0 R" % heading.encode(), pdf)
    assert found, heading
    return pages_of(pdf).index(int(found.group(1))) + 1


def crowded() -> World:
    """More decisions and runs than the first sheet can hold."""
    world = demo()
    for number in range(12):
        run = f"run-1{number:02}"
        world.submit(run, "agent-mailer", f"program_with_a_rather_long_name_{number}.py", purpose="x")
        world.decide(run, "allowed")
        world.start(run)
        world.egress(run, f"host-{number}.example.net", 443)
        world.finish(run, "failed", exit_code=1)
    return world


@pytest.mark.parametrize("made", [demo, crowded, quiet, weeks])
def test_the_first_printed_sheet_ends_with_the_seal(browser: Browser, tmp_path: Path, made: object) -> None:
    assert callable(made)
    review = reviewed(made(), hours=24 * 30)
    pdf = browser.printed(render(review).html, tmp_path / "page.pdf")
    assert page_of(pdf, "Ledger seal") == 1
    following = "Further decisions" if b"(Further decisions" in pdf else "Failed and denied attempts"
    assert page_of(pdf, following) == 2


def test_a_ledger_that_does_not_verify_still_fits_on_the_first_sheet(browser: Browser, tmp_path: Path) -> None:
    problems = [Problem("leaf-changed", f"entry {n} is not what was signed", n) for n in range(3)]
    pdf = browser.printed(render(reviewed(demo(), *problems)).html, tmp_path / "page.pdf")
    assert page_of(pdf, "Ledger seal") == 1


@pytest.mark.parametrize("made", [demo, crowded])
def test_no_sheet_is_printed_for_the_last_lines_alone(browser: Browser, tmp_path: Path, made: object) -> None:
    assert callable(made)
    pdf = browser.printed(render(reviewed(made())).html, tmp_path / "page.pdf")
    assert page_of(pdf, "Recorded in this window") == len(pages_of(pdf))


def test_a_window_of_a_thousand_runs_is_printed_on_a_few_dozen_sheets(browser: Browser, tmp_path: Path) -> None:
    world = World()
    for number in range(1_000):
        world.denied(f"run-{number:04}", f"agent-{number % 7}", f"program_{number}.py")
    html = render(reviewed(world)).html
    assert b"25 of these 100 full accounts of attempts are printed" in html
    assert len(pages_of(browser.printed(html, tmp_path / "page.pdf"))) < 40
