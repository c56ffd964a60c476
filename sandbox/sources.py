"""The kernel's own sources about one run: audit records, process events or a trace, openings of files.

It must never leave one open when the run is over, nor pretend to have one that could not be had.
"""

from collections.abc import Collection, Iterable
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
    silent: AuditReader | None = None
    """A reader to whom nothing is delivered; it is only closed."""
    no_audit: str = "the runner may not read kernel audit records"
    """Why there are none, if there are none."""
    commands: CommandWatch | None = None
    unheard: CommandWatch | None = None
    """One that nothing was heard of; it is only closed."""
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
        """Makes sure, before the first process has its job, that audit records come and whatever tells of the programs it starts will.

        That nsjail started it is the first thing that process events must tell. They are only for the first namespaces: anywhere
        else they can be asked for, and nothing ever comes. Then, or where one was lost, it is a trace.
        """
        if self.audit is not None and (reason := self.audit.prove()):
            self.silent, self.audit, self.no_audit = self.audit, None, reason
        unheard = ""
        if self.commands is not None and not self.commands.knows(first):
            self.unheard, self.commands, self.trace = self.commands, None, CommandTrace()
            unheard = "the kernel's process events do not reach this process, and "
        if self.trace is not None and (reason := self.trace.follow(first)):
            self.trace, self.no_commands = None, unheard + reason

    def missing(self, demanded: Collection[str]) -> str:
        """Why a layer that is demanded cannot be had, once that is known; empty if none is."""
        if "command_watch" in demanded and self.starts is None:
            return self.no_commands
        return self.no_audit if "kernel_audit" in demanded and self.audit is None else ""

    @property
    def filter_is_cleared(self) -> bool:
        """Whether it is certain that the filter killed no process of which there is no record; to be asked when all is finished."""
        if self.audit is not None and self.audit.complete:
            return True
        return self.trace is not None and not self.trace.lost and self.trace.bad_calls == 0

    def polled(self) -> tuple[AuditReader | CommandWatch, ...]:
        """Those that are to be polled and drained."""
        return tuple(source for source in (self.audit, self.commands) if source is not None)

    def end(self) -> None:
        """Marks the end of what the program made, while the jail still falls apart: the mark is back before that has ended."""
        if self.audit is not None:
            self.audit.end()

    def finish(self) -> None:
        """Takes over all that was made until now; to be called when the jail is dead."""
        if self.commands is not None:
            self.commands.drain_all()
        if self.audit is not None:
            self.audit.settle()
        if self.files is not None:
            self.files.finish()

    def close(self) -> None:
        """Closes them all."""
        for source in (self.audit, self.silent, self.commands, self.unheard, self.files, self.trace):
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
        match open_audit(uid):
            case AuditReader() as audit:
                sources.audit = audit
            case reason:
                sources.no_audit = reason
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
