"""Runs migrations on the connection that custody.ledger.migrate hands over; there is no configuration file."""

from alembic import context

from custody.ledger.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
