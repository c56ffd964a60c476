"""From a review to files: one HTML page that stands alone, and JSON, both from the same plain data.

It must never write a byte of a review that contradicts itself, nor let data reach the page unescaped.
"""

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files

from jinja2 import FunctionLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from .consistency import check
from .plain import Plain, plain
from .types import Rendered, Review
from .view import Caps, view_of
from .words import number, visible

__all__ = ["FORMAT", "render"]

FORMAT = "custody-review/1"
"""What the JSON calls itself; fields are only ever added."""

_TO_THE_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_OTHER_WAY = re.compile(rf"[{_TO_THE_LEFT}](?:[{_TO_THE_LEFT}\s]*[{_TO_THE_LEFT}])?")
"""Text that is written from right to left; a number beside it would otherwise be drawn on its other side."""
_QUOTED = re.compile(r"`([^`\n]{1,300})`")
_SHORT = re.compile(r"[!-~]{1,34}")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def render(review: Review, *, caps: Caps | None = None) -> Rendered:
    """The page and the JSON; the same review gives the same bytes."""
    check(review)
    data = plain(review)
    text = json.dumps({"format": FORMAT, "review": data}, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False)
    page, document = _page(review, data, caps or Caps()), text.encode("ascii") + b"\n"
    return Rendered(page, document, hashlib.sha256(page).hexdigest(), hashlib.sha256(document).hexdigest())


def _page(review: Review, data: Plain, caps: Caps) -> bytes:
    css = _style(review.id)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    template = _environment().get_template("review.html")
    html = template.render(r=data, v=view_of(review, caps), css=Markup(css), css_digest=digest)  # noqa: S704 - because the style sheet is ours and holds no data but a checked id
    return html.encode("utf-8")


def _style(review: str) -> str:
    """The style sheet; the id goes into the foot of printed pages if nothing in it can mean anything to CSS."""
    foot = f"{review} · " if _PLAIN_ID.fullmatch(review) else ""
    return _source("style.css").replace("REVIEW · ", foot)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_guard,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        when=_when,
        day=_day,
        clock=_clock,
        ticks=_ticks,
        tight=_tight,
        whole=_whole,
        bare=_bare,
        written=_written,
    )
    return environment


@cache
def _source(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text("utf-8")


def _guard(value: object) -> object:
    """The last gate: whatever a template puts out shows its control and direction characters.

    Markup stays markup: what replaces a character means nothing to HTML.
    """
    match value:
        case Markup():
            return Markup(visible(str(value)))  # noqa: S704 - because it was markup before, and grew no markup
        case str():
            return _one_line(value)
        case int() | float():
            return value
        case _:
            message = f"a template tried to show a {type(value).__name__}"
            raise TypeError(message)


def _one_line(text: str) -> Markup:
    """Escaped text that neither breaks a line unseen nor moves what stands beside it."""
    escaped = escape(visible(text).replace("\n", "\u240a").replace("\t", "\u2409"))
    return Markup(_OTHER_WAY.sub(r"<bdi>\g<0></bdi>", str(escaped)))  # noqa: S704 - because it was escaped the line before


def _written(text: str) -> Markup:
    """What a program wrote, line by line."""
    return escape(visible(text))


def _bare(text: str) -> Markup:
    """For places that hold no markup, as the page's title."""
    return escape(visible(text))


def _when(time: str) -> str:
    """`2026-11-19 02:14:03` of a time as it stands in the plain data."""
    return f"{time[:10]} {time[11:19]}"


def _day(time: str) -> str:
    """`2026-11-19 02:14 UTC`, where text in RFC 3339 came from an entry; anything else as it is."""
    return f"{time[:10]} {time[11:16]} UTC" if _is_time(time) else time


def _clock(time: str) -> tuple[str, str]:
    """Day and time of day, to stand below each other."""
    return (time[:10], f"{time[11:16]} UTC") if _is_time(time) else (time, "")


def _is_time(text: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", text) is not None


def _ticks(text: str) -> Markup:
    """What messages quote in backticks is set as code; everything is escaped on the way."""
    return Markup("").join(
        Markup("<code>{}</code>").format(_one_line(part)) if i % 2 else _one_line(part)
        for i, part in enumerate(_QUOTED.split(text))
    )


def _whole(text: str) -> Markup:
    """A list of names of which none is broken at a hyphen, as long as it is short."""
    words = (
        Markup('<span class="nw">{}</span>').format(word) if "-" in word and _SHORT.fullmatch(word) else _one_line(word)
        for word in text.split(" ")
    )
    return Markup(" ").join(words)


def _tight(text: str) -> str:
    """The class of names that are short enough to be kept on one line."""
    return "nw" if _SHORT.fullmatch(text) else ""
