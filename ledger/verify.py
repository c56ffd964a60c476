"""Checks a whole ledger, or one proof, for somebody who trusts nothing but a key and the checkpoints that were kept elsewhere.

Nine checks: the schema and the file's integrity; contiguous, unique, strictly read, canonical entries; leaves to tiles to root and
head; every checkpoint; pins; the index; time and runs; payloads; anchors. Whatever a changed database holds becomes a Problem with
a stable code, never a traceback. It must never take a key or a pin from the database, and never write to it.

Without a pin from outside these are *not* found, and `anchored_to` is None: entries cut off together with their checkpoints, an
old copy put back, and anything at all by somebody who has the signing key.
"""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..errors import ConfigurationError, EvidenceError, LedgerError
from .bounds import LONGEST_OF_MANY, bounded_text, loading
from .contents import Contents
from .database import in_plain_words, reading, rows
from .evidence import Evidence, check_schema, damage_of, opened_as_evidence, orphans_of, strange_companions, unreadable
from .findings import Findings
from .keychain import KeyChain, rotations_in
from .keys import KeyDirectory
from .lifecycle import check_opening, check_runs, check_services
from .notes import Verifier, parse_checkpoint, parse_proof
from .tables import ANCHORED_BY_PIN
from .tree import inclusion_root, leaf_hash
from .types import Inclusion, LedgerFiles, Pin, Verification
from .walk import Landmark, Walk

__all__ = ["check_proof", "verify_ledger"]

_UNFIT_ANCHORS = (
    f"SELECT a.size, {bounded_text('a.kind')} FROM anchor a LEFT JOIN checkpoint c ON c.size = a.size "  # noqa: S608 - because our own words are put in
    f"WHERE a.kind IS NOT '{ANCHORED_BY_PIN}' OR {bounded_text('a.evidence', 65536)} IS NOT c.note "
    "ORDER BY a.size"
)
"""The walk looks at every stored checkpoint: what is equal to one has been looked at with it."""


def verify_ledger(
    files: LedgerFiles,
    *,
    verifier_key: str,
    pins: Sequence[Pin] = (),
    from_pin: bool = False,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> Verification:
    """Check everything that is stored; raises only if the machine fails or the key given is none.

    Args:
        files: the database; of the keys only the signer's memory is looked at, where it is there.
        verifier_key: vkey text from a source that the checker trusts.
        pins: checkpoints that were kept, each with a label for messages.
        from_pin: read again only what follows the newest outside pin; what it stands for is taken from the tiles under it.
        progress: called with the entries done and their number.
        processes: how many read the entries, this one included; None leaves it to their number. It changes no finding.
    """
    checker = _Checker(files, _trusted(verifier_key), pins, processes)
    with in_plain_words(files.database):
        checker.check(progress, from_pin=from_pin)
    return checker.result()


def check_proof(proof: str, leaf: bytes | None, verifier_key: str) -> Inclusion:
    """What the proof proves of the leaf, or of the one that it carries; an EvidenceError if it proves nothing."""
    parsed = parse_proof(proof)
    if leaf is None:
        leaf = parsed.extra
    key = _trusted(verifier_key)
    checkpoint = parse_checkpoint(parsed.note, key)
    if checkpoint.origin != key.name:
        raise EvidenceError("the proof's checkpoint is of another ledger", hint="ask for the proof again")
    if inclusion_root(leaf_hash(leaf), parsed.index, checkpoint.size, parsed.path) != checkpoint.root:
        raise EvidenceError(
            f"the proof does not lead from this entry to the checkpoint of size {checkpoint.size}",
            hint="either the entry was changed, or the proof belongs to another one",
        )
    return Inclusion(parsed.index, checkpoint, leaf)


class _Checker:
    """One verification."""

    def __init__(self, files: LedgerFiles, trusted: Verifier, pins: Sequence[Pin], processes: int | None) -> None:
        self._files = files
        self._processes = processes
        self._trusted = trusted
        self._pins = pins
        self._findings = Findings()
        self._walk: Walk | None = None
        self._landmarks: dict[int, list[Landmark]] = {}
        self._outside = 0
        self._read_memory()

    def check(self, progress: Callable[[int, int], None] | None, *, from_pin: bool) -> None:
        if not self._files.database.is_file():
            if not self._landmarks and not self._pins:
                raise ConfigurationError(f"there is no ledger at `{self._files.database}`", hint="run `custody init`")
            self._findings.add("database-missing", f"there is no database at `{self._files.database}`")
            return
        if strange := strange_companions(self._files.database):
            self._findings.add("database-unreadable", strange[0])
            return
        try:
            with opened_as_evidence(self._files.database) as evidence:
                self._check_database(evidence, progress, from_pin=from_pin)
        except (DBAPIError, sqlite3.Error) as error:
            meaning = unreadable(error)
            if meaning is None:
                raise
            walked = self._walk.size if self._walk is not None else None
            self._findings.add("database-unreadable", f"the database cannot be read: {meaning}", walked)
        except (OverflowError, UnicodeError) as error:
            self._findings.add("database-unreadable", f"the database holds what cannot be read: {error}")

    def result(self) -> Verification:
        walk = self._walk
        anchored = walk.anchored_to if walk is not None else None
        size = walk.size if walk is not None else 0
        if anchored is None:
            self._findings.not_checked.append(
                "whether entries were cut off or the whole ledger was replaced: no checkpoint that was kept outside was given"
                if not self._outside
                else "whether the ledger is the one that was pinned: no pin from outside agreed with it"
            )
        elif anchored < size:
            self._findings.not_checked.append(
                f"whether entries {anchored} to {size - 1} are what they were: the newest agreeing pin is of {anchored} entries"
            )
        return Verification(
            size=size,
            root=walk.root() if walk is not None else b"",
            problems=self._findings.problems(),
            checks=tuple(self._findings.checks),
            not_checked=tuple(self._findings.not_checked),
            anchored_to=anchored,
            checkpoint=walk.checkpoint if walk is not None else None,
        )

    def _read_pin(self, pin: Pin, keys: KeyChain) -> None:
        try:
            kept = keys.read_kept(pin.note)
            if kept.origin != keys.origin:
                raise EvidenceError(f"it is of the ledger `{kept.origin}`", hint="")  # noqa: TRY301 - because it is met like any unfit pin
        except EvidenceError as error:
            self._findings.add("pin-unusable", f"{pin.label} cannot be used: {error.message}")
            return
        self._landmarks.setdefault(kept.size, []).append(Landmark(pin.label, kept.root, pin.outside))
        self._outside += pin.outside

    def _read_memory(self) -> None:
        """What the signer remembers, read before the database so that it cannot be ahead of an honest one."""
        directory = KeyDirectory(self._files.keys)
        try:
            memory = directory.memory.recall()
        except (EvidenceError, OSError):
            what = "cannot be read" if directory.memory.is_there else "is not here"
            self._findings.not_checked.append(f"what the signer last signed for: its memory {what}")
            return
        self._landmarks.setdefault(memory.size, []).append(Landmark("the signer's memory", memory.root, outside=False))

    def _check_database(
        self, evidence: Evidence, progress: Callable[[int, int], None] | None, *, from_pin: bool
    ) -> None:
        findings, connection = self._findings, evidence.connection
        if not check_schema(connection, findings):
            findings.not_checked.append("anything inside the database: its tables are not those of this release")
            return
        # SQLite looks through the file with its lock on Python released: that costs the walk beside it next to nothing
        with ThreadPoolExecutor(1) as beside:
            damage = beside.submit(_damage, connection.engine)
            try:
                self._check_contents(evidence, progress, from_pin=from_pin)
            finally:
                if damage.exception() is None:
                    for message in damage.result():
                        findings.add("database-damaged", message)
            damage.result()
        findings.checks.append("SQLite's integrity check of the whole file")

    def _check_contents(
        self, evidence: Evidence, progress: Callable[[int, int], None] | None, *, from_pin: bool
    ) -> None:
        findings, connection = self._findings, evidence.connection
        keys = KeyChain(self._trusted, rotations_in(connection))
        for pin in self._pins:
            self._read_pin(pin, keys)
        contents = Contents(connection, findings)
        walk = self._walk = Walk(connection, findings, keys, self._landmarks, contents)
        if from_pin:
            self._skip(walk)
        walk.run(progress, uri=evidence.uri, processes=self._processes)
        findings.checks += [
            f"{walk.size} entries: contiguous, strictly read, canonical, hashed to the root, equal to tiles, head and index",
            f"{walk.checkpoints} checkpoints: signature, size and root",
            "every payload against its commitment",
        ]
        if self._outside:
            findings.checks.append(f"{self._outside} pins from outside")
        if contents.set_back:
            first, *more = contents.set_back
            again = f", and {len(more)} more times" if more else ""
            findings.not_checked.append(
                f"when entries were written: the machine's clock was set back, as entry {first} says{again}"
            )
        if contents.unknown:
            findings.not_checked.append(
                f"the content of {contents.unknown} entries: this release does not know their kind"
            )
        with loading(connection, LONGEST_OF_MANY):
            check_opening(connection, findings, keys)
            check_runs(connection, findings)
            check_services(connection, findings)
        self._check_anchors(connection)
        if from_pin or findings.problems():
            for message in orphans_of(connection):
                findings.add("database-damaged", message)

    def _skip(self, walk: Walk) -> None:
        outside = [size for size, marks in self._landmarks.items() if size and any(m.outside for m in marks)]
        if outside and walk.skip_to(max(outside)):
            self._findings.not_checked.append(
                f"entries 0 to {max(outside) - 1} were not read again, nor their payloads, tiles and index: "
                "the pin vouches for their hashes"
            )
        else:
            self._findings.checks.append("everything was read: no outside pin could be begun from")

    def _check_anchors(self, connection: Connection) -> None:
        """What was recorded of checkpoints that were kept outside: a reminder of what to ask for, and no pin itself."""
        findings = self._findings
        for size, kind in rows(connection, _UNFIT_ANCHORS):
            if kind == ANCHORED_BY_PIN:
                findings.add(
                    "anchor-mismatch", f"the anchor at {size} is not the checkpoint that is stored of that size"
                )
            else:
                findings.add("anchor-unknown", f"the anchor `{kind}` at {size} is of no kind that this release knows")
        ((count, newest),) = rows(connection, "SELECT count(*), max(size) FROM anchor")
        if count:
            findings.checks.append(
                f"{count} anchors: each a stored checkpoint, of which it is recorded that it was kept outside"
            )
        given = max((size for size, marks in self._landmarks.items() if any(m.outside for m in marks)), default=0)
        if isinstance(newest, int) and newest > given:
            findings.not_checked.append(
                f"the pin of {newest} entries of which it is recorded that it was kept outside: it was not given"
            )


def _damage(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return damage_of(connection)


def _trusted(verifier_key: str) -> Verifier:
    try:
        return Verifier.parse(verifier_key)
    except EvidenceError as error:
        raise LedgerError(
            error.message,
            hint="give --key with the copy of `keys/verifier.key` that was given away; the one in the home may have been changed",
        ) from error
