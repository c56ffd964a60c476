import unicodedata

import pytest

from custody.reports.words import clip, count_of, duration, joined, opening, place, shorten, size_of, visible, word_of

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_every_character_that_nobody_sees_is_written_out() -> None:
    left = [
        f"U+{code:04X}"
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in UNSEEN and chr(code) not in "\n\t" and visible(chr(code)) == chr(code)
    ]
    assert left == []


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    text = "naïve Ωμέγα Кириллица 漢字 العربية עברית हिन्दी 🙂 a\u0301 — “quoted”\n\tnext"
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "␛[31m"),
        ("a\u202eb", "a[U+202E]b"),
        ("\x7f", "␡"),
        ("\r", "␍"),
        ("\ud800", "[U+D800]"),
        ("\U000e0041", "[U+E0041]"),
    ],
)
def test_how_they_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_marks_that_would_be_drawn_over_other_lines_are_counted() -> None:
    stacked = "a" + "\u0301\u0302\u0303" * 4
    assert visible(stacked) == "a\u0301\u0302\u0303[9 more marks]"
    assert visible("ก็้ न्नि a\u0301\u0302\u0303") == "ก็้ न्नि a\u0301\u0302\u0303"


def test_a_text_of_blanks_alone_says_so() -> None:
    assert [clip(" \u00a0\n"), clip(""), clip(" a ")] == ["(blank)", "", " a "]


def test_what_is_left_out_is_counted() -> None:
    assert clip("x" * 305) == "x" * 300 + "… (5 characters left out)"
    assert shorten(str(n) for n in range(11)) == ("0", "1", "2", "3", "4", "5", "6", "7", "3 more")


def test_an_opening_holds_whole_sentences() -> None:
    assert opening("One. Two. Three.", 12) == "One. Two."
    assert opening("short", 12) == "short"
    assert opening("x" * 20, 12) == "x" * 12 + "… (8 characters left out)"


def test_a_place_without_a_port_is_the_host_alone() -> None:
    assert [place("a.example", 25), place("a.example", 0)] == ["a.example:25", "a.example"]


def test_counts_lists_and_sizes_read_as_people_write_them() -> None:
    assert [count_of(1, "run"), count_of(1_200, "run"), count_of(2, "entry", "entries")] == [
        "1 run",
        "1,200 runs",
        "2 entries",
    ]
    assert [joined([]), joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [size_of(1), size_of(2_049), size_of(3 * 1024 * 1024)] == ["1 byte", "3 KiB", "3 MiB"]
    assert [duration(12), duration(2_040), duration(180_000)] == ["12 ms", "2.0 s", "3 min"]
    assert [word_of(3), word_of(13)] == ["three", "13"]
