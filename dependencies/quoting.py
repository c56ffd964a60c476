"""How hostile text is shown in messages: short, on one line, nothing that moves a cursor or reverses a line.

It must never be used for text that is compared or stored as evidence.
"""

_LONGEST = 80


def shown(text: str, *, longest: int = _LONGEST) -> str:
    """The text in backticks, cut to `longest` characters, with everything that is not printable replaced."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "`" + "".join(c if c.isprintable() and c != "`" else "?" for c in cut) + "`"
