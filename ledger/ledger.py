"""The ledger as the rooms above use it: create, open, append, read, prove.

One instance is one opened database; several processes may have the same one open, each by its own instance (none is to be carried
through a fork). Appending is safe between processes and between threads. It must never acknowledge what is not durable and signed for, and never write anything half.
"""

import importlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from sqlalchemy import Connection, Engine

from ..errors import ConfigurationError, EvidenceError, LedgerError
from ..redaction import Redactor
from .bounds import LONGEST_ROW, driver_of, loading, payload_row
from .clock import Clock, machine_clock
from .database import in_plain_words, make_engine, reading, require_file, require_schema, rows
from .derived import find_derived, store_derived
from .events import LedgerKeyRotated
from .keys import KeyDirectory, require_origin, sync_directory
from .memory import Signed
from .notes import Proof, Signer, parse_checkpoint, render_proof
from .payloads import require_committed, seal
from .queries import Wanted, count_entries, entry_at, entry_by_id, stream_entries
from .rotation import finish_rotation, signer_in_force
from .tables import ANCHORED_BY_PIN
from .tiles import stored_tree
from .tree import EMPTY_ROOT, Frontier
from .turn import taking_turn
from .types import Acknowledgement, Checkpoint, Derived, Draft, Entry, LedgerFiles, Payload, PayloadRef
from .writing import Batch, Head, read_head, require_continuity, store_checkpoint

__all__ = ["Ledger"]

_MIB = 1024 * 1024


class Ledger:
    """An append-only log of events, with its payloads and its signer."""

    def __init__(
        self,
        files: LedgerFiles,
        engine: Engine,
        *,
        redactor: Redactor | None,
        read_only: bool,
        limits: "_Limits",
        clock: Clock,
    ) -> None:
        self._files = files
        self._engine = engine
        self._keys = KeyDirectory(files.keys)
        self._keys.verifier()
        self._read_only = read_only
        self._signer: tuple[tuple[int, int], Signer] | None = None
        if not read_only:
            self._keys.signer()
        self._redactor = redactor
        self._limits = limits
        self._clock = clock
        self._tail: tuple[bytes, Sequence[bytes] | None] = (b"", None)
        """Root after the last batch of this instance, and the leaf hashes of its last tile: another root, and they are not used."""

    @classmethod
    def create(cls, files: LedgerFiles, *, origin: str) -> Self:
        """Make keys and an empty database, and open it; refused if either is there."""
        require_origin(origin)
        keys = KeyDirectory(files.keys)
        with in_plain_words(files.database):
            keys.require_unused()
            if os.path.lexists(files.database):
                raise ConfigurationError(f"a ledger is already there: `{files.database}`", hint="use another home")
            files.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            signer = keys.create(origin)
            try:
                _create_database(files.database, signer)
            except BaseException:
                keys.remove()
                raise
        return cls.open(files)

    @classmethod
    def open(
        cls,
        files: LedgerFiles,
        *,
        redactor: Redactor | None = None,
        read_only: bool = False,
        disk_reserve_mib: int = 64,
        wait_seconds: float = 30,
        clock: Clock = machine_clock,
    ) -> Self:
        """Open an existing ledger; a missing one is a ConfigurationError, one of another release a LedgerError.

        Args:
            files: where it lives.
            redactor: what is replaced in payloads before they are sealed; None stores them as they are given.
            read_only: take no turn, need no signing key, and refuse to append.
            disk_reserve_mib: free space below which `check_reserve` refuses.
            wait_seconds: how long an append waits for other writers.
            clock: the machine's; asked only where an event is older than the entries before it.
        """
        require_file(files.database)
        mode = "ro" if read_only else "rw"
        engine = make_engine(
            f"{files.database.absolute().as_uri()}?mode={mode}", wait_seconds=wait_seconds, read_only=read_only
        )
        try:
            with in_plain_words(files.database), reading(engine) as connection:
                require_schema(connection, files.database)
            limits = _Limits(wait_seconds, disk_reserve_mib * _MIB)
            return cls(files, engine, redactor=redactor, read_only=read_only, limits=limits, clock=clock)
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Let go of the database; may be called twice."""
        self._engine.dispose()
        with in_plain_words(self._files.database):
            self._keys.memory.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ writing

    def seal(self, content: bytes, *, media: str) -> Payload:
        """Redact bytes and commit to them; they are stored when an entry that refers to them is appended."""
        return seal(content, media, self._redactor)

    def append(self, drafts: Sequence[Draft], payloads: Sequence[Payload] = ()) -> tuple[Acknowledgement, ...]:
        """Write all drafts in one atomic batch; returning means durable, signed for, and in the order given.

        A draft whose id is known and whose content is the same is acknowledged again, marked repeated; with other content it is
        a ConflictError. Whatever is wrong with one draft, nothing of the batch is written.
        """
        if not drafts:
            if payloads:
                raise LedgerError("payloads need an entry that refers to them", hint="append them together")
            return ()
        if any(isinstance(draft.event, LedgerKeyRotated) for draft in drafts):
            raise LedgerError("a change of key is not an event like others", hint="rotate the key, which records it")
        with self._turn() as signer:
            return self._commit(drafts, payloads, [signer])

    def rotate_key(self, *, event_id: str, actor: str, time: datetime) -> Acknowledgement:
        """Put a new key in force: the entry that says so is signed for by both, what follows by the new one alone.

        Whoever trusts either of the two can check the whole ledger; pins and proofs of before stay good under the old key.
        """
        with self._turn() as signer:
            successor = self._keys.prepare_successor(signer.verifier.name)
            event = LedgerKeyRotated(old_key=str(signer.verifier), new_key=str(successor.verifier), by=actor)
            rotation = Draft(id=event_id, event=event, actor=actor, time=time)
            (acknowledgement,) = self._commit([rotation], (), [signer, successor])
            try:
                self._keys.promote(successor)
            except OSError as error:
                raise LedgerError(
                    f"the new key is in force since entry {acknowledgement.index}, but cannot be put in its place: {error.strerror}",
                    hint="mend that; whatever writes to the ledger next does it, and no other change of key is needed",
                ) from error
        return acknowledgement

    def record_anchor(self, checkpoint: Checkpoint) -> None:
        """Record that a checkpoint of this ledger was kept outside, so that verification can ask for it; it anchors nothing itself."""
        with self._turn(), self._engine.begin() as connection:
            stored = list(rows(connection, "SELECT note FROM checkpoint WHERE size = ?", (checkpoint.size,)))
            if stored != [(checkpoint.note,)]:
                raise LedgerError(
                    f"the checkpoint of {checkpoint.size} entries is not stored in this ledger", hint="keep its own"
                )
            connection.exec_driver_sql(
                "INSERT INTO anchor (size, kind, evidence) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (checkpoint.size, ANCHORED_BY_PIN, checkpoint.note),
            )

    def keep_derived(self, name: str, *, version: int, state: Derived) -> None:
        """Store a disposable result of reading the ledger; it replaces what was kept under the name."""
        with self._turn() as signer, self._engine.begin() as connection:
            store_derived(connection, signer, name, version, state)

    def check_reserve(self) -> None:
        """Refuse while the disk still has room for what is already running: a LedgerError when the reserve is touched."""
        with in_plain_words(self._files.database):
            for place in (self._files.database.parent, self._files.keys):
                free = shutil.disk_usage(place).free
                if free < self._limits.reserve_bytes:
                    raise LedgerError(
                        f"only {free // _MIB} MiB are free for the ledger, {self._limits.reserve_bytes // _MIB} MiB are kept in reserve",
                        hint=f"free some space on the disk of `{place}`",
                    )

    # ------------------------------------------------------------ reading

    def read_payload(self, ref: PayloadRef) -> bytes:
        """The stored bytes; an EvidenceError if they are not those committed to, a LedgerError if they are not there."""
        with self._reading() as connection:
            found = payload_row(driver_of(connection), ref)
        if found is None:
            raise LedgerError(f"payload `{ref.id}` is not stored", hint="run `custody verify`")
        _first, key, content = found
        return require_committed(ref, key, content)

    def entries(
        self,
        *,
        start: int = 0,
        stop: int | None = None,
        run: str | None = None,
        kinds: Sequence[str] = (),
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = False,
    ) -> Iterator[Entry]:
        """Entries of the ledger as it is now, streamed; `stop` and `until` are exclusive."""
        wanted = Wanted(start=start, stop=stop, run=run, kinds=kinds, actor=actor, since=since, until=until)
        with in_plain_words(self._files.database):
            yield from stream_entries(self._engine, wanted, newest_first=newest_first)

    def derived(self, name: str, *, version: int) -> Derived | None:
        """What was kept under the name by the same version of its maker, if the ledger's key signed for it; it may be gone at any time."""
        with self._reading() as connection:
            return find_derived(connection, self._keys.verifier(), name, version)

    def entry(self, event_id: str) -> Entry | None:
        """The entry of an event, by its id."""
        with self._reading() as connection:
            return entry_by_id(connection, event_id)

    def count(
        self,
        *,
        kinds: Sequence[str] = (),
        actor: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """How many entries, from the event index alone; `projection.outcome_of` says what an outcome is."""
        with self._reading() as connection:
            return count_entries(connection, Wanted(kinds=kinds, actor=actor, outcome=outcome, since=since))

    @property
    def size(self) -> int:
        """Number of entries."""
        with self._reading() as connection:
            return read_head(connection).size

    @property
    def origin(self) -> str:
        """The ledger's name in its checkpoints."""
        return self._keys.verifier().name

    @property
    def verifier_key(self) -> str:
        """The public key as C2SP vkey text."""
        return str(self._keys.verifier())

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, its signature checked."""
        with self._reading() as connection:
            return self._newest_checkpoint(connection)

    def prove(self, index: int, *, with_leaf: bool = False) -> str:
        """A C2SP tlog-proof: that the entry stands in the tree of the newest checkpoint; with its leaf it needs nothing else."""
        with self._reading() as connection:
            checkpoint = self._newest_checkpoint(connection)
            if not 0 <= index < checkpoint.size:
                raise LedgerError(f"there is no entry {index}", hint=f"the newest is {checkpoint.size - 1}")
            try:
                path = stored_tree(connection, checkpoint.size).inclusion(index)
            except ValueError as error:
                raise EvidenceError(f"no proof can be made: {error}", hint="run `custody verify`") from error
            leaf = entry_at(connection, index).leaf if with_leaf else b""
        return render_proof(Proof(index, tuple(path), checkpoint.note, leaf))

    def entry_at(self, index: int) -> Entry:
        """The entry of that number; a LedgerError if there is none."""
        with self._reading() as connection:
            return entry_at(connection, index)

    # ------------------------------------------------------------ private

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with in_plain_words(self._files.database), reading(self._engine) as connection:
            yield connection

    def _newest_checkpoint(self, connection: Connection) -> Checkpoint:
        for (note,) in rows(connection, "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"):
            if isinstance(note, str):
                return parse_checkpoint(note, self._keys.verifier())
        raise EvidenceError("the ledger holds no checkpoint", hint="run `custody verify`")

    @contextmanager
    def _turn(self) -> Iterator[Signer]:
        """Hold the turn to write, with the key that signs now."""
        if self._read_only:
            raise LedgerError("the ledger was opened for reading only", hint="open it for writing")
        with in_plain_words(self._files.database), taking_turn(self._files.keys, self._limits.wait_seconds):
            finish_rotation(self._engine, self._keys)
            identity = self._keys.identity()
            if self._signer is None or self._signer[0] != identity:  # another process may have rotated it
                self._signer = (identity, signer_in_force(self._engine, self._keys))
            yield self._signer[1]

    def _commit(
        self, drafts: Sequence[Draft], payloads: Sequence[Payload], signers: Sequence[Signer]
    ) -> tuple[Acknowledgement, ...]:
        memory = self._keys.memory.recall()
        with self._engine.begin() as connection, loading(connection, LONGEST_ROW) if payloads else nullcontext():
            head = read_head(connection)
            require_continuity(connection, head, memory, signers[0].verifier)
            old = Signed(head.size, head.root)
            batch = Batch(connection, head, self._tail[1] if self._tail[0] == head.root else None, clock=self._clock)
            acknowledgements = batch.write(drafts, payloads)
            if (new := batch.head()) is not None:
                store_checkpoint(connection, signers, new, old.size)
        if new is not None:
            self._tail = (new.root, batch.tail())
        newest = old if new is None else Signed(new.size, new.root)
        if newest != memory:
            self._keys.memory.remember(newest)
        return acknowledgements


class _Limits:
    __slots__ = ("reserve_bytes", "wait_seconds")

    def __init__(self, wait_seconds: float, reserve_bytes: int) -> None:
        self.wait_seconds = wait_seconds
        self.reserve_bytes = reserve_bytes


class _Migrations(Protocol):
    def migrate(self, connection: Connection) -> None: ...


def _create_database(database: Path, signer: Signer) -> None:
    """Build the database beside its place and put it there in one step, so that no half-made one can be met."""
    draft = database.with_name(f".{database.name}.{secrets.token_hex(8)}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        engine = make_engine(f"{draft.absolute().as_uri()}?mode=rw", wait_seconds=0, read_only=False)
        try:
            _fill(engine, signer)
        finally:
            engine.dispose()
        os.link(draft, database)
    finally:
        for name in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            name.unlink(missing_ok=True)
    sync_directory(database.parent)


def _fill(engine: Engine, signer: Signer) -> None:
    with engine.connect() as connection:
        list(
            rows(connection, "PRAGMA journal_mode = WAL")
        )  # straight to the driver: it cannot be changed in a transaction
        # Alembic takes 0.4 s to load: not to be paid by every command for what `init` alone needs
        migrations = cast("_Migrations", importlib.import_module(".migrate", __package__))
        with connection.begin():
            migrations.migrate(connection)
            connection.exec_driver_sql(
                "INSERT INTO head (id, size, frontier, root) VALUES (1, 0, ?, ?)", (b"", EMPTY_ROOT)
            )
            store_checkpoint(connection, [signer], Head(0, Frontier(), EMPTY_ROOT), None)
