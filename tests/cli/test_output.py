"""What is printed: results and talk apart, and nothing that a terminal would obey."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from custody.cli.output import fail, pass_through, print_json, shown, steps, table
from custody.errors import Exit
from custody.sandbox.types import LayerState


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def written(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


HARMFUL = {
    "an escape": ("\x1b[2J", "\\u{1b}[2J"),
    "a line end": ("one\ntwo", "one\\u{a}two"),
    "a return": ("good\rbad", "good\\u{d}bad"),
    "a tab": ("a\tb", "a\\u{9}b"),
    "a bell": ("\a", "\\u{7}"),
    "an eight-bit escape": ("\x9b31m", "\\u{9b}31m"),
    "a change of direction": ("user\u202etxt.exe", "user\\u{202e}txt.exe"),
    "an isolate": ("\u2066x\u2069", "\\u{2066}x\\u{2069}"),
    "a space without width": ("pay\u200bpal", "pay\\u{200b}pal"),
    "a line separator": ("a\u2028b", "a\\u{2028}b"),
    "half a character": ("\udcff", "\\u{dcff}"),
    "a tag": ("\U000e0041", "\\u{e0041}"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_text_is_shown_harmless_and_on_one_line(name: str) -> None:
    text, expected = HARMFUL[name]
    assert shown(text) == expected


def test_ordinary_text_is_shown_as_it_is() -> None:
    text = "Grüße, 世界: naïve café — 100 % `done` 😀"
    assert shown(text) == text
    assert shown(7) == "7"


def test_a_table_into_a_pipe_is_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    table(("name", "what"), [("a\tb", "x\ny"), (1, None)])
    assert capsys.readouterr().out == "name\twhat\na\\u{9}b\tx\\u{a}y\n1\tNone\n"


@pytest.mark.parametrize("plain", [True, False])
def test_a_table_on_a_terminal_is_drawn_and_obeys_no_color(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter of pytest's
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    table(("name", "what"), [("[bold]x[/bold]", "\x1b[31mred")])
    written = terminal.written()
    assert "[bold]x[/bold]" in written
    assert "\\u{1b}[31mred" in written
    assert "\x1b[31m" not in written
    assert "─" in written or "━" in written


@pytest.mark.parametrize(("columns", "drawn"), [(40, False), (69, False), (70, True), (120, True)])
def test_on_a_narrow_terminal_a_table_is_one_block_a_row(
    columns: int, drawn: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    cause = "control groups cannot be made by this user, because nothing was delegated to it"
    table(("what", "state", "cure"), [("layer", "missing", cause), ("disk", "ok", "")])
    written = terminal.written()
    assert ("─" in written or "━" in written) == drawn
    if not drawn:
        assert written == f"what: layer\nstate: missing\ncure: {cause}\n\nwhat: disk\nstate: ok\n"


def test_times_have_one_form_in_json_and_what_has_none_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    east = timezone(timedelta(hours=2))
    times = [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 5, 4, 5, 6, tzinfo=east)]
    print_json({"times": times, "place": Path("/a"), "exit": Exit.USAGE, "end": LayerState.MISSING})
    assert json.loads(capsys.readouterr().out) == {
        "times": ["2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05.000006Z"],
        "place": "/a",
        "exit": 2,
        "end": "missing",
    }
    with pytest.raises(TypeError, match="no documented form"):
        print_json({"x": object()})


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_which_step_takes_its_time(terminal: object, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal() if terminal else io.TextIOWrapper(io.BytesIO(), write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with steps() as progress:
        for step in ("audit", "build"):
            progress(step)
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    assert (b"building the environment" in buffer.getvalue()) == terminal


def test_a_programs_output_goes_into_a_pipe_byte_for_byte() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    pass_through(b"\xff\x00\x1b[31m\n", stream)
    buffer = stream.detach()
    assert isinstance(buffer, io.BytesIO)
    assert buffer.getvalue() == b"\xff\x00\x1b[31m\n"


def test_a_programs_output_cannot_steer_a_terminal() -> None:
    terminal = Terminal()
    pass_through(b"a\tb\n\x1b]0;title\x07\xff\xc2\x9b1m\n", terminal)
    assert terminal.written() == "a    b\n\\u{1b}]0;title\\u{7}\ufffd\\u{9b}1m\n"


def test_an_error_is_two_lines_and_with_json_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("`a\nb` is wrong", "do it right", Exit.USAGE, json=True) is Exit.USAGE
    printed = capsys.readouterr()
    assert printed.err == "error: `a\\u{a}b` is wrong\nhint: do it right\n"
    assert json.loads(printed.out) == {"error": "`a\nb` is wrong", "hint": "do it right", "exit_code": 2}
    fail("x", "y", Exit.FAILURE, json=False)
    assert capsys.readouterr().out == ""


def test_json_is_plain_ascii_and_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": "\u202e\x1b", "a": 1})
    assert capsys.readouterr().out == '{\n  "a": 1,\n  "b": "\\u202e\\u001b"\n}\n'
