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
from markupsafe import Markup

from .consistency import check
from .plain import Plain, plain
from .types import Rendered, Review
from .view import Caps, view_of
from .words import number, visible

__all__ = ["FORMAT", "render"]

FORMAT = "custody-review/1"
"""What the JSON calls itself; fields are only ever added."""

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
    environment.filters.update(number=number, when=_when, day=_day)
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
            return visible(value)
        case int() | float():
            return value
        case _:
            message = f"a template tried to show a {type(value).__name__}"
            raise TypeError(message)


def _when(time: str) -> str:
    """`2026-11-19 02:14:03` of a time as it stands in the plain data."""
    return f"{time[:10]} {time[11:19]}"


def _day(time: str) -> str:
    """`2026-11-19 02:14 UTC`, where text in RFC 3339 came from an entry; anything else as it is."""
    return f"{time[:10]} {time[11:16]} UTC" if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", time) else time
