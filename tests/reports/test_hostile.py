"""Every text that a program or a person can choose, filled with what hurts terminals, browsers and readers."""

import json
import re
import unicodedata
from dataclasses import fields, is_dataclass, replace

import pytest

from custody.ledger.events import Event
from custody.ledger.types import Entry, PayloadRef, Problem
from custody.reports import Review, judge, render
from custody.reports.words import visible

from .page import parsed
from .world import World, demo, reviewed

POISON = "\x1b[2J</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202egpj\u202c{{ 7*7 }}{% raw %}\x00\r\ud800&lt;"

WORDS_THAT_STEER = {
    "end", "outcome", "state", "severity", "result", "stage", "data_class", "binding", "lock_sha256", "name", "used", "version", "approver",
}  # fmt: skip
"""Left alone in the first pass: they decide what is shown; the second pass poisons them as well."""


def poisoned(value: object, *, all_of_it: bool) -> object:
    match value:
        case PayloadRef() | bool() | int() | None:
            return value
        case str():
            return value + POISON
        case tuple():
            return tuple(poisoned(item, all_of_it=all_of_it) for item in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            changed = {
                f.name: poisoned(getattr(value, f.name), all_of_it=all_of_it)
                for f in fields(value)
                if all_of_it or f.name not in WORDS_THAT_STEER
            }
            return replace(value, **changed)
        case _:
            raise AssertionError(value)


def poisoned_entry(entry: Entry, *, all_of_it: bool) -> Entry:
    event = poisoned(entry.event, all_of_it=all_of_it)
    assert event is None or isinstance(event, Event)
    return replace(
        entry, event=event, actor=entry.actor + POISON, kind=entry.kind + POISON, run=entry.run and entry.run + POISON
    )


def hostile(*, all_of_it: bool) -> Review:
    world = demo()
    world.put(None, kind="later:kind")
    entries = [poisoned_entry(entry, all_of_it=all_of_it) for entry in world.entries]
    return judge(
        entries,
        window=world.window(),
        verification=world.verification(Problem("code" + POISON, "message" + POISON, 3)),
        review="R" + POISON,
        organisation="N" + POISON,
        read_payload=lambda _: b"\x1b[31m\xff\xfe" + POISON.encode("utf-8", "surrogatepass") + b"\nlast",
    )


@pytest.mark.parametrize("all_of_it", [False, True])
def test_no_text_becomes_markup(all_of_it: bool) -> None:  # noqa: FBT001 - because a parameter of a test
    files = render(hostile(all_of_it=all_of_it))
    page = parsed(files.html)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not [a for _, a in page.tags if any(name.startswith("on") or name == "style" for name in a)]
    html = files.html.decode()
    assert html.count("<style>") == html.count("</style>") == 1
    assert "&lt;script&gt;alert(1)" in html
    assert "49" not in "".join(part for part in page.text if "7*7" in part)
    assert "{{ 7*7 }}" in "".join(page.text)


@pytest.mark.parametrize("all_of_it", [False, True])
def test_no_control_or_direction_character_reaches_a_reader(all_of_it: bool) -> None:  # noqa: FBT001 - because a parameter of a test
    files = render(hostile(all_of_it=all_of_it))
    html = files.html.decode()
    assert {c for c in html if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}} <= {"\n"}
    assert "␛[2J" in html
    assert "[U+202E]gpj[U+202C]" in html
    assert all(0x20 <= byte < 0x7F or byte == 0x0A for byte in files.json)
    assert json.loads(files.json)["review"]["organisation"] == "N" + POISON


def test_poison_changes_no_figure(review: Review) -> None:
    assert [figure.value for figure in hostile(all_of_it=False).figures] == [figure.value for figure in review.figures]


def test_very_long_texts_are_cut_with_their_length_said() -> None:
    world = demo()
    world.submit("run-70", "agent-builder", "p" * 100_000 + ".py", purpose="w" * 100_000)
    world.decide("run-70", "denied", rules=("r" * 10_000,), reasons=("why " * 20_000,))
    world.end("run-70", "denied", rules=("r" * 10_000,), explanation="e" * 100_000)
    review = judge(
        world.entries, window=world.window(), verification=world.verification(), review="R", organisation="N"
    )
    html = render(review).html
    assert len(html) < 150_000
    assert b"characters left out" in html


def test_written_out_text_means_nothing_to_html() -> None:
    assert not set("<>&\"'") & set(visible("".join(map(chr, range(0x20))) + "\x7f\u202e\ud800"))


def page_of(program: str) -> str:
    world = World()
    world.denied("run-1", "agent-analyst", program)
    return render(reviewed(world)).html.decode()


def test_text_from_right_to_left_moves_nothing_beside_it() -> None:
    html = page_of("\u05e7\u05d1 \u05d6\u05d3\u05e0\u0627 25.py")
    assert "<bdi>\u05e7\u05d1 \u05d6\u05d3\u05e0\u0627</bdi> 25.py" in html
    assert not re.search(r"[\u0590-\u08ff]", re.sub(r"<bdi>[^<]*</bdi>", "", html))


def test_a_line_break_in_a_name_is_seen() -> None:
    assert "a\u240a\u2409b.py" in page_of("a\n\tb.py")


@pytest.mark.parametrize(("name", "seen"), [("", "(no name)"), (" \u00a0 ", "(blank)")])
def test_a_name_that_nobody_sees_is_named(name: str, seen: str) -> None:
    assert f"<h3>{seen}</h3>" in page_of(name)
