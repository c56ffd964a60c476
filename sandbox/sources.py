"""The kernel's own sources about one run: audit records, process events, openings of files.

It must never leave one open when the run is over, nor pretend to have one that could not be had.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .audit import AuditReader, open_audit
from .commands import CommandWatch, open_commands
from .opens import FileWatch, open_files

__all__ = ["Sources", "open_sources"]


@dataclass(slots=True, kw_only=True)
class Sources:
    """What there is; None for what could not be had."""

    audit: AuditReader | None = None
    commands: CommandWatch | None = None
    files: FileWatch | None = None
    no_files: str = ""
    """Why openings of files are not watched though something was granted."""

    def all(self) -> tuple[AuditReader | CommandWatch | FileWatch, ...]:
        """Those that there are, to be polled and drained."""
        return tuple(source for source in (self.audit, self.commands, self.files) if source is not None)

    def close(self) -> None:
        """Closes them all."""
        for source in self.all():
            source.close()


def open_sources(uid: int, mounts: Iterable[Path], *, root: bool, commands: bool) -> Sources:
    """Opens what this process may, for a run of this outside uid."""
    mounts = tuple(mounts)
    if not root:
        return Sources(no_files="the runner is not root" if mounts else "")
    sources = Sources(audit=open_audit(uid), commands=open_commands() if commands else None)
    if mounts:
        match open_files(mounts):
            case FileWatch() as files:
                sources.files = files
            case reason:
                sources.no_files = reason
    return sources
