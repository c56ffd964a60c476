"""Checking the whole ledger, against checkpoints that were kept elsewhere.

It works without policies, and on a copy or a read-only home (then it says that it did not record). It never says "verified" without an
outside pin that agreed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError, CustodyError, Exit
from ..ledger import Draft, Pin, Verification, events, verify_ledger
from ..settings import Settings
from .house import Places, new_id, now, open_ledger
from .pins import read_pin, write_pin

__all__ = ["Verified", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The verdict on one ledger."""

    verification: Verification
    pins: tuple[Pin, ...]
    recorded: int | None
    """Index of the `ledger:verified` entry; None if it could not be recorded."""
    remarks: tuple[str, ...]

    @property
    def exit_code(self) -> Exit:
        """0 only if the ledger is consistent and agrees with a pin from outside."""
        if not self.verification.consistent:
            return Exit.TAMPERED
        return Exit.UNANCHORED if self.verification.anchored_to is None else Exit.DONE


def verify(
    settings: Settings,
    *,
    actor: str,
    pins: Sequence[str] = (),
    key: Path | None = None,
    write_pin_to: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check everything, record the verdict where that is possible, and keep the newest checkpoint if asked to."""
    places = Places(settings.home)
    read = [read_pin(pin, home=settings.home) for pin in pins]
    verification = verify_ledger(places.ledger, verifier_key=_key(places, key), pins=read, progress=progress)
    remarks = [f"pin `{pin.label}` lies inside the home, so it anchors nothing" for pin in read if not pin.outside]
    if key is None:
        remarks.append("the verifier key was taken from the home; give --key with a copy that was kept elsewhere")
    recorded = None
    try:
        recorded = _record(settings, actor, verification)
    except (CustodyError, OSError, sqlite3.Error) as error:
        reason = error.message if isinstance(error, CustodyError) else str(error)
        remarks.append(f"the verdict was not recorded: {reason}")
    if write_pin_to is not None and verification.consistent and verification.checkpoint is not None:
        write_pin(verification.checkpoint, write_pin_to)
        if write_pin_to.resolve().is_relative_to(settings.home.resolve()):
            remarks.append(
                "the pin was written inside the home; keep it where nobody who can write the ledger can write"
            )
    return Verified(verification=verification, pins=tuple(read), recorded=recorded, remarks=tuple(remarks))


def _key(places: Places, key: Path | None) -> str:
    path = key or places.verifier_key
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the verifier key `{path}` cannot be read",
            hint="give --key FILE, or set CUSTODY_HOME to a home that `custody init` made",
        ) from error


def _record(settings: Settings, actor: str, verification: Verification) -> int:
    event = events.LedgerVerified(
        size=verification.size,
        root=verification.root.hex(),
        consistent=verification.consistent,
        anchored_to=verification.anchored_to,
        problems=tuple(events.ReasonRecord(rule=p.code, text=p.message[:200]) for p in verification.problems[:10]),
        not_checked=tuple(text[:200] for text in verification.not_checked[:10]),
    )
    time = now()
    with open_ledger(settings) as ledger:
        return ledger.append([Draft(id=new_id("verified", time), event=event, actor=actor, time=time)])[0].index
