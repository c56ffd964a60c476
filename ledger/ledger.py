"""The ledger as the rooms above use it: create, open, append, read, prove.

One instance is one opened database; several processes may have the same one open. Appending is safe between processes and
between threads. It must never acknowledge what is not durable and signed for, and never write anything half.
"""

import importlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from sqlalchemy import Connection, Engine

from ..errors import ConfigurationError, EvidenceError, LedgerError
from ..redaction import Redactor
from .database import in_plain_words, make_engine, reading, require_file, require_schema, rows
from .keys import KeyDirectory, Signed, require_origin
from .notes import Proof, Signer, parse_checkpoint, render_proof
from .payloads import require_committed, seal
from .queries import Wanted, count_entries, entry_by_id, stream_entries
from .tiles import stored_tree
from .tree import EMPTY_ROOT, Frontier
from .turn import taking_turn
from .types import Acknowledgement, Checkpoint, Draft, Entry, LedgerFiles, Payload, PayloadRef
from .writing import Batch, Head, read_head, require_continuity, store_checkpoint

__all__ = ["Ledger"]

_MIB = 1024 * 1024


class Ledger:
    """An append-only log of events, with its payloads and its signer."""

    def __init__(
        self, files: LedgerFiles, engine: Engine, *, redactor: Redactor | None, read_only: bool, limits: "_Limits"
    ) -> None:
        self._files = files
        self._engine = engine
        self._keys = KeyDirectory(files.keys)
        self._verifier = self._keys.verifier()
        self._signer: Signer | None = None if read_only else self._keys.signer()
        self._redactor = redactor
        self._limits = limits

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
    ) -> Self:
        """Open an existing ledger; a missing one is a ConfigurationError, one of another release a LedgerError.

        Args:
            files: where it lives.
            redactor: what is replaced in payloads before they are sealed; None stores them as they are given.
            read_only: take no turn, need no signing key, and refuse to append.
            disk_reserve_mib: free space below which `check_reserve` refuses.
            wait_seconds: how long an append waits for other writers.
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
            return cls(files, engine, redactor=redactor, read_only=read_only, limits=limits)
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Let go of the database; may be called twice."""
        self._engine.dispose()

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
        signer = self._require_signer()
        with in_plain_words(self._files.database), taking_turn(self._files.keys, self._limits.wait_seconds):
            memory = self._keys.recall()
            with self._engine.begin() as connection:
                head = read_head(connection)
                require_continuity(connection, head, memory, signer.verifier)
                old = Signed(head.size, head.root)
                batch = Batch(connection, head)
                acknowledgements = batch.write(drafts, payloads)
                if (new := batch.head()) is not None:
                    store_checkpoint(connection, signer, new, old.size)
            newest = old if new is None else Signed(new.size, new.root)
            if newest != memory:
                self._keys.remember(newest)
        return acknowledgements

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
            found = list(rows(connection, "SELECT hmac_key, content FROM payload WHERE id = ?", (ref.id,)))
        if not found:
            raise LedgerError(f"payload `{ref.id}` is not stored", hint="run `custody verify`")
        key, content = found[0]
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
        return self._verifier.name

    @property
    def verifier_key(self) -> str:
        """The public key as C2SP vkey text."""
        return str(self._verifier)

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, its signature checked."""
        with self._reading() as connection:
            return self._newest_checkpoint(connection)

    def prove(self, index: int) -> str:
        """A C2SP tlog-proof: that the entry stands in the tree of the newest checkpoint."""
        with self._reading() as connection:
            checkpoint = self._newest_checkpoint(connection)
            if not 0 <= index < checkpoint.size:
                raise LedgerError(f"there is no entry {index}", hint=f"the newest is {checkpoint.size - 1}")
            try:
                path = stored_tree(connection, checkpoint.size).inclusion(index)
            except ValueError as error:
                raise EvidenceError(f"no proof can be made: {error}", hint="run `custody verify`") from error
        return render_proof(Proof(index, tuple(path), checkpoint.note))

    # ------------------------------------------------------------ private

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with in_plain_words(self._files.database), reading(self._engine) as connection:
            yield connection

    def _newest_checkpoint(self, connection: Connection) -> Checkpoint:
        for (note,) in rows(connection, "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"):
            if isinstance(note, str):
                return parse_checkpoint(note, self._verifier)
        raise EvidenceError("the ledger holds no checkpoint", hint="run `custody verify`")

    def _require_signer(self) -> Signer:
        if self._signer is None:
            raise LedgerError("the ledger was opened for reading only", hint="open it for writing")
        return self._signer


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
    _sync_directory(database.parent)


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
            store_checkpoint(connection, signer, Head(0, Frontier(), EMPTY_ROOT), None)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
