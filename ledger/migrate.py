"""Brings a database to the newest schema by Alembic, without a configuration file and from wherever the package lies.

Loaded only where a ledger is made: Alembic costs as much at import as all else together. It must never touch an entry, and never
go back to an older schema: what a newer release wrote is for that release.
"""

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from ..errors import LedgerError

__all__ = ["migrate"]

_SCRIPTS = f"{__package__}:migrations"


def migrate(connection: Connection) -> None:
    """Run every migration that the database has not seen, all of them within the connection's transaction.

    Raises:
        LedgerError: the database is of a schema that this release does not know.
    """
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerError(
            f"the ledger's schema cannot be brought up to date: {error}",
            hint="use the release of custody that wrote it, or a newer one",
        ) from error
