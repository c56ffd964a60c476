"""The directory of principals, changed through a door: decided, on record, and the file replaced as a whole.

It must never leave half a file or a changed one that nothing records: the new text is checked completely first, then the change is recorded,
then the file is replaced by one rename. Only plain tables are edited; comments and everything else stay as people wrote them.
"""

import fcntl
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConfigurationError, CustodyError, Exit, PolicyError, UsageError
from ..ledger import events
from ..policies import Directory
from ..policies.types import Denied, Principal, PrincipalKind
from .access import authorise
from .house import House, new_id
from .record import clean, record

__all__ = ["Listed", "NewPrincipal", "add_principal", "disable_principal", "list_principals"]

_TABLES = {PrincipalKind.HUMAN: "humans", PrincipalKind.AGENT: "agents", PrincipalKind.SERVICE: "services"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_WORD = re.compile(r"[a-z][a-z0-9-]{0,63}")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[")
_ENABLED = re.compile(r"\s*enabled\s*=")
_BY_HAND = "edit directory.toml by hand; the format is in docs/policies.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One principal as the directory lists it."""

    name: str
    kind: str
    owner: str | None
    os_user: str | None
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    enabled: bool
    effective: bool
    """Whether it may do anything at all: it and whoever answers for it are enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrincipal:
    """Somebody who is to be entered."""

    name: str
    kind: PrincipalKind
    owner: str | None = None
    os_user: str | None = None
    roles: Sequence[str] = ()
    teams: Sequence[str] = ()


def list_principals(house: House, caller: Principal) -> tuple[Listed, ...]:
    """Everybody in the directory, by name; the reading is on record.

    Raises:
        CustodyError: this caller may not see it (exit 3); the attempt is on record.
    """
    authorise(house, caller, "readPrincipals", subject="directory")
    users = {name: user for user, name in house.directory.os_users.items()}
    return tuple(
        Listed(
            name=name,
            kind=known.kind.value,
            owner=known.owner,
            os_user=users.get(name),
            roles=known.roles,
            teams=known.teams,
            enabled=known.enabled,
            effective=known.enabled and known.owner_enabled,
        )
        for name, known in sorted(house.directory.principals.items())
    )


def add_principal(house: House, caller: Principal, new: NewPrincipal) -> int:
    """Enter somebody into the directory; the index of the entry that says so.

    Raises:
        CustodyError: this caller may not (exit 3); the attempt is on record.
        UsageError: it cannot be entered as asked; nothing was changed.
    """
    authorise(house, caller, "managePrincipals", subject=f"add {new.name}"[:120])
    _check(new)
    with _editing(house) as (text, before):
        if any(new.name.casefold() == known.casefold() for known in before.principals):
            raise UsageError(f"`{new.name}` is in the directory already", hint="`custody principals list` shows it")
        after = _read(f"{text.rstrip()}\n\n{_table(new)}")
        added = after.directory.principals[new.name]
        if {name: p for name, p in after.directory.principals.items() if name != new.name} != before.principals:
            raise PolicyError("the directory would have changed in other places too", hint=_BY_HAND)
        event = events.PrincipalAdded(
            principal=added.id,
            principal_kind=added.kind,
            owner=added.owner,
            roles=added.roles,
            teams=added.teams,
            by=caller.id,
        )
        entry = record(house, event, actor=caller.id).index
        _replace(house.places.directory, after.text)
    return entry


def disable_principal(house: House, caller: Principal, name: str, *, reason: str) -> int:
    """Take every right from somebody from now on; the index of the entry that says so.

    Raises:
        CustodyError: this caller may not (exit 3); the attempt is on record.
        UsageError: there is nobody of that name, it is disabled already, or nobody could change the directory afterwards.
    """
    authorise(house, caller, "managePrincipals", subject=f"disable {name}"[:120])
    with _editing(house) as (text, before):
        known = before.principals.get(name)
        if known is None:
            raise UsageError(f"there is no principal `{name[:64]}`", hint="`custody principals list` shows them")
        if not known.enabled:
            raise UsageError(f"`{name}` is disabled already", hint="`custody principals list` shows who is enabled")
        after = _read(_disabled(text, _TABLES[known.kind], name))
        if after.directory.principals != _without(before.principals, name):
            raise PolicyError("the directory would have changed in other places too", hint=_BY_HAND)
        if not _somebody_may_manage(house, after.directory):
            raise UsageError(
                f"without `{name}` nobody could change the directory any more",
                hint="give somebody else the role policy-admin first",
            )
        event = events.PrincipalDisabled(principal=name, by=caller.id, reason=clean(house.redactor, reason, 300))
        entry = record(house, event, actor=caller.id).index
        _replace(house.places.directory, after.text)
    return entry


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    directory: Directory


def _read(text: str) -> _Text:
    return _Text(text, Directory.from_text(text))


def _check(new: NewPrincipal) -> None:
    if not _NAME.fullmatch(new.name) or not new.name.isascii():
        raise UsageError(
            "a principal's name is 1 to 64 letters, digits and `.`, `_`, `@`, `-`", hint="choose another name"
        )
    wrong = next((word for word in (*new.roles, *new.teams) if not _WORD.fullmatch(word)), None)
    if wrong is not None:
        raise UsageError(
            f"`{wrong[:64]}` is no name of a role or team", hint="they are lower-case words, joined by hyphens"
        )
    if (new.owner is None) != (new.kind is PrincipalKind.HUMAN):
        raise UsageError(
            "a human answers for itself, and an agent or service needs an owner",
            hint="give --owner NAME for agents and services, and only for them",
        )
    if new.os_user is not None and not (new.os_user.isprintable() and 1 <= len(new.os_user) <= 64):  # noqa: PLR2004 - longer than any login
        raise UsageError("that is no OS user", hint="give the login name")


def _table(new: NewPrincipal) -> str:
    """The table of a new principal."""
    key = new.name if _BARE.fullmatch(new.name) else _quoted(new.name)
    lines = [f"[{_TABLES[new.kind]}.{key}]"]
    lines += [f"owner = {_quoted(new.owner)}"] if new.owner is not None else []
    lines += [f"os_user = {_quoted(new.os_user)}"] if new.os_user is not None else []
    lines += [f"roles = [{', '.join(map(_quoted, new.roles))}]"] if new.roles else []
    lines += [f"teams = [{', '.join(map(_quoted, new.teams))}]"] if new.teams else []
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string of printable text."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def _disabled(text: str, table: str, name: str) -> str:
    """The text with `enabled = false` in one table.

    Raises:
        PolicyError: the principal does not stand in a table of its own.
    """
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if _HEADER.match(line) and _opens(line, table, name)), None)
    if start is None:
        raise PolicyError(f"`{name}` does not stand in a table of its own in the directory", hint=_BY_HAND)
    stop = next((i for i in range(start + 1, len(lines)) if _HEADER.match(lines[i])), len(lines))
    body = [line for line in lines[start + 1 : stop] if not _ENABLED.match(line)]
    head = lines[start] if lines[start].endswith("\n") else f"{lines[start]}\n"
    return "".join([*lines[:start], head, "enabled = false\n", *body, *lines[stop:]])


def _opens(line: str, table: str, name: str) -> bool:
    """Whether a line is the header of that table."""
    try:
        return tomllib.loads(line) == {table: {name: {}}}
    except tomllib.TOMLDecodeError:
        return False


def _without(principals: Mapping[str, Principal], name: str) -> dict[str, Principal]:
    """The principals when one of them is disabled: it, and what it answers for."""
    return {
        known: replace(
            principal,
            enabled=principal.enabled and known != name,
            owner_enabled=principal.owner_enabled and name != (principal.owner or known),
        )
        for known, principal in principals.items()
    }


def _somebody_may_manage(house: House, directory: Directory) -> bool:
    now = house.clock()
    return any(
        not isinstance(house.gate.act(who, "managePrincipals", now=now, decision=new_id("dec", now)), Denied)
        for who in directory.principals.values()
    )


@contextmanager
def _editing(house: House) -> Iterator[tuple[str, Directory]]:
    """The directory as it is now, while nobody else edits it through a door."""
    path = house.places.directory
    try:
        lock = os.open(house.places.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(
            f"`{path.parent}` cannot be opened: {error.strerror}", hint="check its owner"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = Directory.from_file(path)
        yield path.read_text(encoding="utf-8"), before
    finally:
        os.close(lock)


def _replace(path: Path, text: str) -> None:
    """The file as a whole, by one rename.

    Raises:
        CustodyError: it cannot be written; the entry says what was meant to happen.
    """
    try:
        descriptor, beside = tempfile.mkstemp(prefix=".directory-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except OSError as error:
        raise CustodyError(
            f"the directory could not be replaced: {error.strerror}; the entry stands, the file does not say so yet",
            hint="make the home writable and do it again",
            exit_code=Exit.FAILURE,
        ) from error
