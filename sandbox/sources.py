"""The kernel's own sources about one run: audit records, process events or a trace, openings of files.

It must never leave one open when the run is over, nor pretend to have one that could not be had.
"""

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .audit import AuditReader, open_audit
from .commands import CommandWatch, open_commands
from .manifest import Manifest
from .opens import FileWatch, open_files
from .trace import CommandTrace

__all__ = ["Sources", "open_sources"]


@dataclass(slots=True, kw_only=True)
class Sources:
    """What there is; None for what could not be had."""

    audit: AuditReader | None = None
    commands: CommandWatch | None = None
    trace: CommandTrace | None = None
    """Where there are no process events."""
    no_commands: str = ""
    """Why the starts of programs are not watched."""
    files: FileWatch | None = None
    no_files: str = ""
    """Why openings of files are not watched though something was granted."""

    @property
    def starts(self) -> CommandWatch | CommandTrace | None:
        """Whatever tells of the programs that are started."""
        return self.commands if self.commands is not None else self.trace

    def know(self, target: str, listed: Manifest) -> None:
        """Tells the watch on files what was in a writable mount before the run."""
        if self.files is not None:
            self.files.remember(target, listed.names(target), listed.taken_ns)

    def follow(self, first: int) -> None:
        """Seizes the first process of the jail, before it has its job, if there is to be a trace."""
        if self.trace is not None and (reason := self.trace.follow(first)):
            self.trace, self.no_commands = None, reason

    @property
    def filter_is_cleared(self) -> bool:
        """Whether it is certain that the filter killed no process of which there is no record; to be asked when all is finished."""
        if self.audit is not None and self.audit.complete:
            return True
        return self.trace is not None and not self.trace.lost and self.trace.bad_calls == 0

    def polled(self) -> tuple[AuditReader | CommandWatch, ...]:
        """Those that are to be polled and drained."""
        return tuple(source for source in (self.audit, self.commands) if source is not None)

    def finish(self, status: int | None) -> None:
        """Takes over what has arrived until now; to be called when the jail is dead, with the program's wait status."""
        for source in self.polled():
            source.drain()
        ended_so = status is not None and status & 0x7F == signal.SIGSYS
        seen_so = self.starts is not None and self.starts.bad_calls > 0
        if self.audit is not None and (ended_so or seen_so) and not any(denial.killed for denial in self.audit.counts):
            self.audit.settle()
        if self.files is not None:
            self.files.finish()

    def close(self) -> None:
        """Closes them all."""
        for source in (self.audit, self.commands, self.files, self.trace):
            if source is not None:
                source.close()


def open_sources(
    uid: int, mounts: Iterable[Path], *, root: bool, commands: bool, process_events: bool = True
) -> Sources:
    """Opens what this process may, for a run of this outside uid.

    Args:
        uid: the outside uid.
        mounts: what is granted.
        root: whether the runner is root.
        commands: whether programs that are started are watched.
        process_events: whether the kernel's process events may be used for that; else, or without them, it is a trace.
    """
    mounts = tuple(mounts)
    sources = Sources(no_commands="" if commands else "it is switched off")
    if root:
        sources.audit = open_audit(uid)
    elif mounts:
        sources.no_files = "the runner is not root"
    if commands and root and process_events:
        sources.commands = open_commands()
    if commands and sources.commands is None:
        sources.trace = CommandTrace()
    if mounts and root:
        match open_files(mounts):
            case FileWatch() as files:
                sources.files = files
            case reason:
                sources.no_files = reason
    return sources
