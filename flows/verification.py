"""Checking the whole ledger, against checkpoints that were kept elsewhere; and proving one entry to a stranger.

Checking works without policies, and on a copy or a read-only home (then it says that it did not record). It never says "verified" without an
outside pin that agreed.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..caller_files import CallerFiles
from ..errors import ConfigurationError, CustodyError, Exit, UsageError
from ..ledger import Draft, Entry, Pin, Verification, check_proof, events, verify_ledger
from ..ledger.types import Checkpoint, Inclusion
from ..policies.types import Denied, Principal
from ..settings import Settings
from .access import authorise, subject_of
from .house import House, Places, new_id, now, open_ledger
from .pins import read_pin
from .record import record
from .whereabouts import is_outside

__all__ = ["Issued", "Proved", "Verified", "check_receipt", "prove", "verify", "write_receipt"]

_PROOF_BYTES = 64 * 1024
_KEY_BYTES = 4 * 1024
_KEY_HINT = "give a copy of `keys/verifier.key`: one line, the name of the ledger and two words behind it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Whether a file is a review that was issued."""

    sha256: str
    review: str | None
    """None if no review on record has this page."""
    entry: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The verdict on one ledger."""

    verification: Verification
    pins: tuple[Pin, ...]
    recorded: int | None
    """Index of the `ledger:verified` entry; None if it could not be recorded."""
    remarks: tuple[str, ...]
    issued: Issued | None = None
    """Of the file that was asked about; None if none was, or if nobody can say."""

    @property
    def exit_code(self) -> Exit:
        """0 only if the ledger is consistent and agrees with a pin from outside, and a file that was asked about was issued."""
        if not self.verification.consistent or (self.issued is not None and self.issued.review is None):
            return Exit.TAMPERED
        return Exit.UNANCHORED if self.verification.anchored_to is None else Exit.DONE


def verify(
    settings: Settings,
    *,
    actor: str,
    pins: Sequence[str] = (),
    key: Path | None = None,
    from_pin: bool = False,
    write_pin_to: Path | None = None,
    report: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check everything, record the verdict where that is possible, and keep the newest checkpoint if asked to.

    Args:
        settings: of the home, or of a copy of it.
        actor: who checks.
        pins: files and addresses of checkpoints that were kept elsewhere.
        key: a copy of the verifier key that was kept elsewhere.
        from_pin: read only what follows the newest outside pin.
        write_pin_to: a file for the newest checkpoint.
        report: a page of a review: whether it is one that was issued.
        progress: told the entries that were read, and how many there are.
    """
    places, files = Places(settings.home), settings.caller_files
    if write_pin_to is not None:
        files.require_writable(write_pin_to)
    page = None if report is None else files.read(report, called="the review")
    read = [read_pin(pin, files, certificates=settings.certificates) for pin in pins]
    verification = verify_ledger(
        places.ledger,
        verifier_key=_own_key(settings) if key is None else _given_key(files, key),
        pins=read,
        from_pin=from_pin,
        progress=progress,
    )
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
        files.write(write_pin_to, verification.checkpoint.note.encode())
        remarks += _anchored(settings, verification.checkpoint, write_pin_to, recording=recorded is not None)
    elif write_pin_to is not None:
        remarks.append("no pin was written: the ledger does not verify, and a pin would vouch for it")
    issued = None
    if page is not None:
        found = _issued(settings, page, verification)
        if isinstance(found, Issued):
            issued = found
        else:
            remarks.append(f"whether `{report}` was issued is not known: {found}")
    return Verified(
        verification=verification, pins=tuple(read), recorded=recorded, remarks=tuple(remarks), issued=issued
    )


def _issued(settings: Settings, page: bytes, verification: Verification) -> Issued | str:
    """Which review of the verified entries has this page; a sentence if that cannot be told."""
    if not verification.consistent:
        return "the ledger does not verify"
    digest = hashlib.sha256(page).hexdigest()
    try:
        with open_ledger(settings, read_only=True) as ledger:
            for entry in ledger.entries(kinds=("review:completed",), stop=verification.size, newest_first=True):
                event = entry.event
                if isinstance(event, events.ReviewCompleted) and digest in {event.html_sha256, event.json_sha256}:
                    return Issued(sha256=digest, review=event.review, entry=entry.index)
    except CustodyError as error:
        return error.message
    return Issued(sha256=digest, review=None, entry=None)


def _anchored(settings: Settings, checkpoint: Checkpoint, place: Path, *, recording: bool) -> list[str]:
    """Record that a pin was written outside; what is to be said about it."""
    if not is_outside(place, settings.home):
        return ["the pin was written inside the home; keep it where nobody who can write the ledger can write"]
    if not recording:
        return []  # why the ledger cannot be written was said
    try:
        with open_ledger(settings) as ledger:
            ledger.record_anchor(checkpoint)
    except CustodyError as error:
        return [f"the pin is written, but that is not recorded: {error.message}"]
    return []


def _own_key(settings: Settings) -> str:
    """The key that lies in the home, which may be a copy from anybody."""
    path, files = Places(settings.home).verifier_key, replace(settings.caller_files, sudo_uid=None)
    try:
        return files.read(path, called="the verifier key", most=_KEY_BYTES, handed_out=True).decode("utf-8").strip()
    except (UsageError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the verifier key `{path}` cannot be read",
            hint="give --key FILE with the copy that was given away, or set CUSTODY_HOME to the right home",
        ) from error


def _given_key(files: CallerFiles, path: Path) -> str:
    """A key that the caller kept elsewhere."""
    try:
        return files.read(path, called="the verifier key", most=_KEY_BYTES, handed_out=True).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"`{path}` holds no verifier key", hint=_KEY_HINT) from error


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


# ---------------------------------------------------------------- one entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """One entry with the proof that it stands in the ledger."""

    entry: Entry
    proof: str
    """C2SP tlog-proof; it carries the entry's exact bytes."""
    tree_size: int
    recorded: int


def prove(house: House, principal: Principal, what: str) -> Proved:
    """A proof for somebody who has neither this home nor this program, of an entry or of the end of a run.

    Args:
        house: the home.
        principal: who asks; it may be whoever may read the audit, or read the run that the entry is of.
        what: number of an entry, id of a run (its `run:finished`), or id of an event.

    Raises:
        UsageError: there is no such entry.
        CustodyError: this principal may not read it (exit 3); the attempt is on record.
    """
    entry = _entry(house, what)
    _authorise(house, principal, entry)
    proof = house.ledger.prove(entry.index, with_leaf=True)
    size = check_proof(proof, entry.leaf, house.ledger.verifier_key).checkpoint.size
    event = events.LedgerExported(
        format="tlog-proof", first=entry.index, last=entry.index, sha256=hashlib.sha256(proof.encode()).hexdigest()
    )
    recorded = record(house, event, actor=principal.id).index
    return Proved(entry=entry, proof=proof, tree_size=size, recorded=recorded)


def write_receipt(house: House, principal: Principal, entry: int, path: Path) -> str:
    """Write a new file that proves the entry; why there is none, or nothing if there is. What is done stays done either way."""
    files = house.settings.caller_files
    try:
        proof = prove(house, principal, str(entry)).proof
        files.require_new_file(path)
        files.write(path, proof.encode())
    except CustodyError as error:
        return f"no receipt was written: {error.message}"
    return ""


def check_receipt(path: Path, *, key: Path, files: CallerFiles) -> Inclusion:
    """What a proof that carries its entry proves, to somebody who has the verifier key and nothing else.

    Raises:
        UsageError: the file cannot be read.
        EvidenceError: it proves nothing (exit 8).
    """
    try:
        text = files.read(path, called="proof", most=_PROOF_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"proof `{path}` is not text", hint="give the file that `custody prove` wrote") from error
    return check_proof(text, None, _given_key(files, key))


def _entry(house: House, what: str) -> Entry:
    if what.isascii() and what.isdecimal():
        if int(what) >= house.ledger.size:
            raise UsageError(f"there is no entry {what[:20]}", hint=f"the newest is {house.ledger.size - 1}")
        return house.ledger.entry_at(int(what))
    found = next(house.ledger.entries(run=what, kinds=("run:finished",)), None) or house.ledger.entry(what)
    if found is None:
        raise UsageError(
            "there is no such entry, event or finished run",
            hint="give the number of an entry (`custody log show`) or the id of a run that has its end",
        )
    return found


def _authorise(house: House, principal: Principal, entry: Entry) -> None:
    time = house.clock()
    may_read_all = house.gate.act(principal, "readAudit", now=time, decision=new_id("dec", time))
    if entry.run is not None and isinstance(may_read_all, Denied):
        about = subject_of(entry.run, list(house.ledger.entries(run=entry.run, kinds=("run:submitted",))))
        authorise(house, principal, "readRun", subject=entry.run, about=about)
    else:
        authorise(house, principal, "readAudit", subject=f"entry {entry.index}")
