r"""How a name or an argument that a program chose is shown, whoever tells of it: the kernel, a list of a tree, the interpreter.

One rule for all, so that one file has one name: what is printable stands as it is, a byte that is no UTF-8 is `\xff`, a
character that cannot be seen is its escape, and what is cut ends with a mark. It must never give out a character that acts.
"""

import re

from ..redaction import Redactor

__all__ = ["CUT", "NAME", "shown", "told", "visible"]

CUT = "…"
"""Ends whatever was cut."""
NAME = 400
"""Characters of a name; paths of the kernel can be ten times as long."""
_ESCAPED_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")


def shown(name: str | bytes, redactor: Redactor | None = None, most: int = NAME) -> str:
    """The name as one line of printable characters, redacted before it is cut; its bytes, or what `os.fsdecode` made of them."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    raw = redactor.redact(raw).content if redactor is not None else raw
    text = raw.decode("utf-8", "backslashreplace")
    return visible(text if len(text) <= most else text[:most] + CUT)


def told(text: bytes) -> str:
    """What the interpreter wrote, who escapes the bytes in its own strings another way."""
    return visible(_ESCAPED_BYTE.sub(r"\\x\1", text.decode("utf-8", "backslashreplace")))


def visible(text: str) -> str:
    """The text with every character that cannot be seen as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
