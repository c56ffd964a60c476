"""Prefect's own server as a child of this process: loopback, random port, authentication, a home of its own.

It must never listen beyond loopback, never answer its API without the credential (health and documentation are open, by Prefect's choice),
never see an environment variable that it was not given, and never outlive the process that started it.
"""

import base64
import fcntl
import http.client
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from ...errors import ConfigurationError
from . import children
from .surroundings import client_surroundings, server_surroundings

__all__ = ["PrefectServer"]

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 120.0
"""The first start in a new home runs Prefect's 113 migrations: 8 to 20 seconds on two cores; every later one takes about 3."""
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.1

_ERROR_LINE = re.compile(r"^[\w.]+(?:Error|Exception): .*$", re.MULTILINE)

Waiting = Callable[[float], None]


def _say_nothing(waited_seconds: float) -> None:
    del waited_seconds


class PrefectServer:
    """A running server; as a context manager it is up inside and gone after it, however it is left.

    A start takes its time in the background: `start`, do something else, then `wait`.

    Args:
        home: its directory, made with mode 0700; its database, log and page lie there. Nothing else of this process reaches the server.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._credential = f"custody:{secrets.token_urlsafe(32)}"
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.home / "server.log"

    @property
    def database(self) -> Path:
        """Prefect's own records: mutable, and never evidence."""
        return self.home / "prefect.db"

    @property
    def port(self) -> int:
        """The port on loopback; 0 before the start."""
        return self._port

    @property
    def process_id(self) -> int:
        """Of the running server.

        Raises:
            ConfigurationError: it was not started.
        """
        return self._running().pid

    @property
    def client(self) -> Mapping[str, str]:
        """The variables with which a process reaches this server and no other."""
        address = {
            "PREFECT_API_URL": f"http://{_LOOPBACK}:{self._port}/api",
            "PREFECT_API_AUTH_STRING": self._credential,
        }
        return {**client_surroundings(self.home), **address}

    def start(self) -> None:
        """Start the server without waiting for it.

        Raises:
            ConfigurationError: the home cannot be used, or another server is using it.
        """
        lock = self._lock_home()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                # the socket is handed over bound: there is no moment in which another process could take the port
                listener.bind((_LOOPBACK, 0))
                self._port = int(listener.getsockname()[1])
                self._process = children.start(
                    "serve",
                    str(listener.fileno()),
                    environment=server_surroundings(self.home, self._port, self._credential),
                    log=self.log,
                    descriptors=(listener.fileno(), lock),
                )
        finally:
            # the server keeps its own copy: the home is locked until it is gone, even if we die first
            os.close(lock)
        self._began = time.monotonic()

    def _lock_home(self) -> int:
        children.prepare_home(self.home)
        try:
            lock = os.open(self.home / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the Prefect home `{self.home}` cannot be used: {error.strerror}", hint="check its owner and mode"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise ConfigurationError(
                f"another Prefect server is using `{self.home}`",
                hint="wait until it is gone; it ends with the command that started it",
            ) from error
        return lock

    def wait(self, *, timeout_seconds: float = _START_SECONDS, progress: Waiting = _say_nothing) -> None:
        """Wait until the server answers.

        Args:
            timeout_seconds: counted from the start.
            progress: called about ten times a second while waiting, with the seconds since the start.

        Raises:
            ConfigurationError: it ended, or did not answer in time; the last line of its log is in the message.
        """
        while not self._answers():
            waited = time.monotonic() - self._began
            if waited > timeout_seconds:
                raise self._failure(f"did not answer within {timeout_seconds:.0f} seconds")
            progress(waited)
            try:
                status = self._running().wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise self._failure(f"ended with status {status}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(_LOOPBACK, self._port, timeout=2)
        token = base64.b64encode(self._credential.encode()).decode()
        try:
            connection.request("GET", "/api/admin/version", headers={"Authorization": f"Basic {token}"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ConfigurationError("the Prefect server was not started", hint="start it before waiting for it")
        return self._process

    def _failure(self, what: str) -> ConfigurationError:
        said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        causes = (
            _ERROR_LINE.findall(said) or [line for line in said.splitlines() if line.strip()] or ["it said nothing"]
        )
        return ConfigurationError(f"the Prefect server {what}: {causes[-1].strip()[:300]}", hint=f"read `{self.log}`")

    def stop(self) -> None:
        """Stop the server and whatever it started; harmless if it is gone."""
        process, self._process = self._process, None
        if process is not None:
            children.stop(process, asking=signal.SIGTERM, seconds=_STOP_SECONDS)
