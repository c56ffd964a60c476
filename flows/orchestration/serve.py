"""The program that is Prefect's server: `python -m custody.flows.orchestration.serve DESCRIPTOR`.

It serves on a socket that its parent bound, so no other process can take the port in between, and it ends with its parent.
It must never listen anywhere else.
"""

import signal
import socket
import sys

import uvicorn
from prefect.server.api.server import create_app

from .lifeline import end_with_parent

_GRACE_SECONDS = 10.0


def main(descriptor: int) -> None:
    """Serve Prefect's API and page on an inherited socket until a signal comes or the parent is gone."""
    end_with_parent(signal.SIGTERM, grace_seconds=_GRACE_SECONDS)
    listener = socket.socket(fileno=descriptor)
    # `final` says that no other server of this process will use the application: Prefect's own command does the same
    config = uvicorn.Config(create_app(final=True), log_level="warning", timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
