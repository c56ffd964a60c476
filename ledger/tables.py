"""The tables of a ledger and the triggers that keep accidents out: the current schema, in one place.

Evidence is `entry.leaf` under a signed checkpoint, and nothing else. Every other column is derived from leaves, checked by
verify, and must never be believed without it. Triggers guard against mistakes, not against somebody who can write the file.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

__all__ = [
    "ANCHORED_BY_PIN",
    "METADATA",
    "REVISION",
    "TRIGGERS",
    "anchor",
    "checkpoint",
    "create_triggers",
    "derived",
    "entry",
    "event_index",
    "head",
    "payload",
    "tile",
]

REVISION = "0001"
"""Newest migration that this release knows."""

METADATA = MetaData()

_INDEX = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere; on SQLite the row id itself."""

entry = Table(
    "entry",
    METADATA,
    Column("idx", _INDEX, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("event_id", Text, nullable=False, unique=True),
)

event_index = Table(
    "event_index",
    METADATA,
    Column("idx", _INDEX, ForeignKey("entry.idx"), primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("run", Text),
    Column("actor", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("seq", BigInteger),
    Index("event_index_run", "run", "seq", unique=True),
    Index("event_index_kind", "kind", "time_us"),
    Index("event_index_actor", "actor", "time_us"),
    Index("event_index_time", "time_us"),
)
"""What can be asked for without reading every leaf."""

head = Table(
    "head",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="head_is_one_row"), primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

tile = Table(
    "tile",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)
"""Full tiles only; `root` is the hash that the tile adds to the level above."""

checkpoint = Table(
    "checkpoint",
    METADATA,
    Column("size", _INDEX, primary_key=True, autoincrement=False),
    Column("previous", BigInteger),
    Column("note", Text, nullable=False),
)
"""`previous` is the size of the checkpoint before, so that a missing one shows."""

anchor = Table(
    "anchor",
    METADATA,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("evidence", Text, nullable=False),
)
"""What is known of checkpoints being kept elsewhere; as yet only that custody itself kept one, which is the evidence, as a pin."""

ANCHORED_BY_PIN = "pin"
"""The kind of such an anchor; others can come without a new schema."""

payload = Table(
    "payload",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("idx", BigInteger, ForeignKey("entry.idx"), nullable=False),
    Column("hmac_key", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""Bytes outside the leaves; `idx` is the first entry that refers to them."""

derived = Table(
    "derived",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("upto", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""Disposable results of reading the ledger; deleting them loses time and nothing else."""


def _refusal(table: str, action: str) -> str:
    return (
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


TRIGGERS = tuple(
    _refusal(table, action)
    for table, actions in {
        "entry": ("UPDATE", "DELETE"),
        "tile": ("UPDATE", "DELETE"),
        "checkpoint": ("UPDATE", "DELETE"),
        "anchor": ("UPDATE", "DELETE"),
        "payload": ("UPDATE", "DELETE"),
        "head": ("DELETE",),
    }.items()
    for action in actions
)
"""SQLite's form; `INSERT OR REPLACE` passes them unless `recursive_triggers` is on, which every connection sets."""


def create_triggers(connection: Connection) -> None:
    """Put the append-only triggers on the tables."""
    for statement in TRIGGERS:
        connection.execute(text(statement))
