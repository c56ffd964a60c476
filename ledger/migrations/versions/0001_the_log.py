"""The log: entries, their index, the tree, checkpoints, anchors, payloads, derived state and the append-only triggers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

APPEND_ONLY = {
    "entry": ("UPDATE", "DELETE"),
    "tile": ("UPDATE", "DELETE"),
    "checkpoint": ("UPDATE", "DELETE"),
    "anchor": ("UPDATE", "DELETE"),
    "payload": ("UPDATE", "DELETE"),
    "head": ("DELETE",),
}


def upgrade() -> None:
    """From nothing."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    _make_entries(row_id)
    _make_tree(row_id)
    _make_companions()
    for table, actions in APPEND_ONLY.items():
        for action in actions:
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _make_entries(row_id: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "entry",
        sa.Column("idx", row_id, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "event_index",
        sa.Column("idx", row_id, sa.ForeignKey("entry.idx"), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("run", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger),
    )
    op.create_index("event_index_run", "event_index", ["run", "seq"], unique=True)
    op.create_index("event_index_kind", "event_index", ["kind", "time_us"])
    op.create_index("event_index_actor", "event_index", ["actor", "time_us"])
    op.create_index("event_index_time", "event_index", ["time_us"])


def _make_tree(row_id: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "head",
        sa.Column(
            "id",
            sa.Integer,
            sa.CheckConstraint("id = 1", name="head_is_one_row"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tile",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", row_id, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.BigInteger),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "anchor",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("evidence", sa.Text, nullable=False),
    )


def _make_companions() -> None:
    op.create_table(
        "payload",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("idx", sa.BigInteger, sa.ForeignKey("entry.idx"), nullable=False),
        sa.Column("hmac_key", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "derived",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("upto", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
