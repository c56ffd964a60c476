"""Prefect as conductor, from the side of whoever asks: a process of its own runs the flows, against a server that is given.

It must never read a result from that process: a run's end and a review are read from the ledger, by the caller.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from ...errors import ConfigurationError, CustodyError
from ...settings import Settings
from ..house import Places
from . import children
from .catalogue import Registered
from .orders import Answer, Kind, Order
from .server import PrefectServer
from .surroundings import client_surroundings, home_surroundings

__all__ = ["Performer", "own_conductor", "register"]

_STOP_SECONDS = 20.0
"""Longer than a jail needs to die and its end to become durable."""

Progress = Callable[[str], None]


class Performer:
    """A process that runs flows, one at a time.

    Args:
        settings: of the home that the flows work in; the process gets exactly these.
        client: the variables that lead to a Prefect server.
    """

    def __init__(self, settings: Settings, client: Mapping[str, str]) -> None:
        self._log = Places(settings.home).prefect / "flows.log"
        self._environment = {**home_surroundings(settings), **client}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process; loading Prefect takes it about two seconds, which nobody has to wait for.

        Raises:
            ConfigurationError: its log cannot be written.
        """
        children.prepare_home(self._log.parent)
        self._process = children.start("perform", environment=self._environment, log=self._log, answers=True)

    @property
    def process_id(self) -> int:
        """Of the process.

        Raises:
            ConfigurationError: it was not started.
        """
        return self._running().pid

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ConfigurationError("no process runs flows", hint="start it first")
        return self._process

    def perform(self, order: Order) -> Answer:
        """Have it done; an interrupt meanwhile is passed on, and raised when the flow has come to its end.

        Raises:
            CustodyError: it was not done, or the process broke.
        """
        process = self._running()
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise ConfigurationError("no process runs flows", hint="start it with both pipes")
        try:
            stdin.write(order.line())
            stdin.flush()
            line = _read(process, stdout.readline)
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._broken(process)
        answer = Answer.read(line)
        answer.check()
        return answer

    def _broken(self, process: subprocess.Popen[str]) -> CustodyError:
        self.stop()
        return CustodyError(
            f"the process that runs flows ended with status {process.returncode}",
            hint=f"read `{self._log}`; a run that it had started is closed as unknown by the next command",
        )

    def stop(self) -> None:
        """End the process: at once if nothing runs in it; harmless if it is gone."""
        process, self._process = self._process, None
        if process is not None:
            children.stop(process, asking=None, seconds=_STOP_SECONDS)


def _read(process: subprocess.Popen[str], readline: Callable[[], str]) -> str:
    try:
        return readline()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        readline()  # its answer: the run has its end
        raise


class OwnConductor:
    """A server and a process that runs flows, both ours, started in the background and waited for when they are first needed.

    Args:
        settings: of the home that they belong to.
        progress: told when something has to be waited for.
    """

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self.server = PrefectServer(Places(settings.home).prefect)
        self._settings = settings
        self._progress = progress
        self._performer: Performer | None = None

    def start(self) -> None:
        """Start both without waiting.

        Raises:
            ConfigurationError: the Prefect home cannot be used, or another server is using it.
        """
        self.server.start()
        self._performer = Performer(self._settings, self.server.client)
        self._performer.start()

    def run(self, run: str) -> None:
        """Conduct one received run as a flow.

        Raises:
            CustodyError: the flow broke; the ledger says how far the run came.
        """
        self._perform(Order(kind=Kind.RUN, values={"run": run}))

    def review(self, *, since: datetime, until: datetime, principal: str) -> None:
        """Review a window as a flow, as a service of the directory; empty for the OS user of this process.

        Raises:
            CustodyError: it was not reviewed.
        """
        values = {"since": since.isoformat(), "until": until.isoformat(), "service": principal}
        self._perform(Order(kind=Kind.REVIEW, values=values))

    def _perform(self, order: Order) -> None:
        if self._performer is None:
            raise ConfigurationError("the Prefect conductor was not started", hint="start it first")
        told: list[float] = []

        def tell(waited_seconds: float) -> None:
            if not told:
                self._progress("Prefect server")
            told.append(waited_seconds)

        self.server.wait(progress=tell)
        self._performer.perform(order)

    def stop(self) -> None:
        """Stop both; harmless if they are gone."""
        try:
            if self._performer is not None:
                self._performer.stop()
        finally:
            self.server.stop()


@contextmanager
def own_conductor(settings: Settings, *, progress: Progress) -> Iterator[OwnConductor]:
    """A Prefect server of our own for this home, and flows against it; both are gone afterwards, however this is left."""
    conductor = OwnConductor(settings, progress)
    try:
        conductor.start()
        yield conductor
    finally:
        conductor.stop()


def register(settings: Settings, client: Mapping[str, str]) -> tuple[Registered, ...]:
    """Register every deployment of the catalogue with the Prefect server that these variables lead to; what it acknowledged.

    Args:
        settings: of the home that the flows are to work in.
        client: PREFECT_API_URL, and PREFECT_API_AUTH_STRING or what else that server asks for.

    Raises:
        ConfigurationError: no server is named.
        CustodyError: it cannot be reached, or refused.
    """
    if not client.get("PREFECT_API_URL"):
        raise ConfigurationError(
            "no Prefect server is named", hint="set PREFECT_API_URL, and PREFECT_API_AUTH_STRING if it asks for one"
        )
    performer = Performer(settings, {**client_surroundings(Places(settings.home).prefect), **client})
    performer.start()
    try:
        answer = performer.perform(Order(kind=Kind.REGISTER))
    finally:
        performer.stop()
    return tuple(
        Registered(name=row["name"], entrypoint=row["entrypoint"], schedule=row["schedule"], timezone=row["timezone"])
        for row in answer.rows
    )
