"""The canonical form of a lock: one text for one set of pins, and its digest.

It must never render a field that its reader has not checked: this text is what the installer reads.
"""

import hashlib
from collections.abc import Iterable

from .types import Lock, Pin


def make_lock(pins: Iterable[Pin], *, source: str) -> Lock:
    """The lock of these pins, in canonical order whatever theirs was."""
    ordered = tuple(sorted(pins, key=lambda pin: pin.name))
    text = "".join(map(_render, ordered))
    return Lock(pins=ordered, text=text, sha256=hashlib.sha256(text.encode()).hexdigest(), source=source)


def _render(pin: Pin) -> str:
    extras = f"[{','.join(pin.extras)}]" if pin.extras else ""
    marker = f" ; {pin.marker}" if pin.marker else ""
    hashes = (f"--hash={digest}" for digest in pin.hashes)
    return " \\\n    ".join([f"{pin.name}{extras}=={pin.version}{marker}", *hashes]) + "\n"
