"""Starting the processes that load Prefect: an environment that is given whole, a log of their own, and standard input as their lifeline.

An interrupt at the terminal does not reach them: it is for the process that started them, which says what is to happen.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import ConfigurationError

__all__ = ["prepare_home", "start", "stop"]


def prepare_home(home: Path) -> None:
    """Make the Prefect home, for this user alone.

    Raises:
        ConfigurationError: it cannot be made or used.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(
            f"the Prefect home `{home}` cannot be used: {error.strerror}",
            hint="check its owner, its mode and free space",
        ) from error


def start(
    program: str,
    *arguments: str,
    environment: Mapping[str, str],
    log: Path,
    descriptors: Sequence[int] = (),
    answers: bool = False,
) -> subprocess.Popen[str]:
    """Start one of the programs in this folder.

    Args:
        program: its module here.
        arguments: what it takes.
        environment: all of it.
        log: what it prints, kept; it works in the folder of this file.
        descriptors: open files that it is to have.
        answers: whether its standard output is for us.

    Raises:
        ConfigurationError: the log cannot be written.
    """
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"`{log}` cannot be written: {error.strerror}", hint="check its owner, its mode and free space"
        ) from error
    try:
        return subprocess.Popen(
            # no user's site-packages and not the working directory: only what is installed
            [sys.executable, "-s", "-P", "-m", f"{__package__}.{program}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if answers else descriptor,
            stderr=descriptor,
            cwd=log.parent,
            env=environment,
            pass_fds=descriptors,
            start_new_session=True,
            umask=0o077,
            encoding="utf-8",
        )
    finally:
        os.close(descriptor)


def stop(process: subprocess.Popen[str], *, asking: signal.Signals | None, seconds: float) -> None:
    """End a process and whatever it started: its lifeline first, a signal if one is given, and after the seconds a kill."""
    if process.stdin is not None:
        process.stdin.close()
    if asking is not None:
        _signal_group(process.pid, asking)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # what it may have started has its group id, and is not to be left behind even if it ended well
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _signal_group(group: int, ending: signal.Signals) -> None:
    try:
        os.killpg(group, ending)
    except ProcessLookupError:
        return
