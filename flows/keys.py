"""Changing the signing key of the ledger.

Not a matter of policy: whoever can read the key file can sign, so the operating system has decided already who that is. Here its
owner, and nobody who merely became that user, puts a new key in force. It must never leave the change off the record: the entry that
names both keys is signed for by both.
"""

import pwd
from dataclasses import dataclass

from ..errors import CustodyError, Exit, LedgerError
from ..ledger import events
from ..policies.types import Principal
from .house import House, new_id
from .pins import keep_newest
from .record import record

__all__ = ["Rotated", "rotate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """A change of key."""

    old_key: str
    new_key: str
    entry: int
    remark: str
    """What was not done about keeping a checkpoint outside; empty if all is well."""


def rotate(house: House, principal: Principal, *, os_user: str) -> Rotated:
    """Put a new signing key in force, and keep a checkpoint that it signed where pins are kept.

    Raises:
        CustodyError: somebody else than the owner of the keys asked (exit 3); the attempt is on record.
        LedgerError: it could not be done; the old key stays in force.
    """
    owner = _owner(house)
    if os_user != owner:
        reason = "only the OS user that owns the keys may change them"
        denied = events.AccessDenied(
            action="rotateKey", source=principal.id, rules=("owner-of-the-keys",), reason=reason, count=1
        )
        record(house, denied, actor=principal.id)
        raise CustodyError(
            f"`{os_user}` may not change the signing key: {reason}",
            hint=f"run it as `{owner}`",
            exit_code=Exit.DENIED,
        )
    old, now = house.ledger.verifier_key, house.clock()
    done = house.ledger.rotate_key(event_id=new_id("key", now), actor=principal.id, time=now)
    return Rotated(old_key=old, new_key=house.ledger.verifier_key, entry=done.index, remark=_pin(house))


def _owner(house: House) -> str:
    uid = house.places.ledger.keys.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _pin(house: House) -> str:
    folder = house.settings.ledger.pin_directory
    if folder is None:
        return "no pin directory is set, so nothing outside this home knows the new key"
    try:
        return keep_newest(house.ledger, folder, home=house.settings.home).remark
    except LedgerError as error:
        return f"no pin was kept outside: {error.message}"
