"""Brings a database to the newest schema by Alembic, without a configuration file and from wherever the package lies.

Loaded only where a ledger is made: Alembic costs as much at import as all else together. It must never touch an entry.
"""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from .tables import REVISION

__all__ = ["migrate"]


def migrate(connection: Connection, revision: str = REVISION) -> None:
    """Run every migration up to the revision on the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
