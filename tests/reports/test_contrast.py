"""Contrast by WCAG 2.2, computed from the style sheet: 4.5 for text, 3 for what carries meaning without being text."""

import re
from importlib.resources import files

import pytest

CSS = files("custody.reports").joinpath("templates", "style.css").read_text("utf-8")

TONES = ("critical", "high", "medium", "low", "okay")
TEXT = [
    *((ink, ground) for ink in ("ink", "soft", "accent") for ground in ("bg", "paper", "tint")),
    *((tone, f"{tone}-bg") for tone in TONES),
    *((tone, "paper") for tone in TONES),
    *((tone, "tint") for tone in TONES),
    *(("ink", f"{tone}-bg") for tone in TONES),
    ("soft", "band"),
]
GRAPHICS = [
    *((bar, ground) for bar in ("bar", "bar-failed", "bar-not") for ground in ("paper", "band")),
    ("frame", "paper"),
    ("accent", "line"),
    *((tone, "bg") for tone in TONES),
]


def themes() -> dict[str, dict[str, str]]:
    light = colours(CSS.split("@media", 1)[0])
    dark = colours(CSS.split("prefers-color-scheme:dark", 1)[1].split("\n*{", 1)[0])
    printed = colours(CSS.split("@media print", 1)[1])
    return {"light": light, "dark": light | dark, "print": light | printed}


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{3,6})\b", css))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_knows_black_and_white() -> None:
    assert round(contrast("#000", "#ffffff"), 1) == 21.0
    assert contrast("#777777", "#fff") < 4.5


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_can_be_read(theme: str) -> None:
    palette = themes()[theme]
    low = {f"{ink} on {ground}": round(contrast(palette[ink], palette[ground]), 2) for ink, ground in TEXT}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_graphics_can_be_told_apart(theme: str) -> None:
    palette = themes()[theme]
    low = {f"{mark} on {ground}": round(contrast(palette[mark], palette[ground]), 2) for mark, ground in GRAPHICS}
    assert {pair: value for pair, value in low.items() if value < 3} == {}


def test_every_colour_of_the_light_theme_has_a_dark_and_a_printed_one() -> None:
    light = colours(CSS.split("@media", 1)[0])
    dark = colours(CSS.split("prefers-color-scheme:dark", 1)[1].split("\n*{", 1)[0])
    printed = colours(CSS.split("@media print", 1)[1])
    assert light.keys() == dark.keys() == printed.keys()
