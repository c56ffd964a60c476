"""The directory file: who there is, who answers for whom, and which roles each has.

It must never let a principal gain anything by being owned (an agent has its own roles, not its owner's), by a claimed name, or by an unknown
one: whoever is not listed is an unknown principal under a name that no listed one can have.
"""

import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import PolicyError
from .types import Principal, PrincipalKind

__all__ = ["Directory"]

_MAX_BYTES = 1024 * 1024
_MAX_OS_USER = 256
_MOST_ABOVE = 100
"""Teams that a team may lie in, near and far."""
_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
_CLOSED = ConfigDict(extra="forbid", strict=True, frozen=True)
_Name = Annotated[str, StringConstraints(pattern=_NAME_PATTERN)]
_Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
_Words = Annotated[tuple[_Word, ...], Field(strict=False)]
_OsUser = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_OS_USER)]


class _Human(BaseModel):
    model_config = _CLOSED
    os_user: _OsUser | None = None
    roles: _Words = ()
    teams: _Words = ()
    enabled: bool = True


class _Owned(_Human):
    owner: _Name


class _Team(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)
    within: Annotated[_Words, Field(alias="in")] = ()


class _DirectoryFile(BaseModel):
    model_config = _CLOSED
    humans: dict[_Name, _Human] = {}
    agents: dict[_Name, _Owned] = {}
    services: dict[_Name, _Owned] = {}
    teams: dict[_Word, _Team] = {}


@dataclass(frozen=True, slots=True)
class Directory:
    """Every principal that there is."""

    principals: Mapping[str, Principal]
    os_users: Mapping[str, str]
    """OS user name -> principal."""

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a directory file.

        Raises:
            PolicyError: it cannot be read, or names something twice, unknown or in a circle.
        """
        try:
            # whoever put a pipe there is not waited for
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor, not a path
                content = file.read(_MAX_BYTES + 1)
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise PolicyError(f"the directory `{path}` is not a plain file", hint="`custody init` writes one")
        except OSError as error:
            raise PolicyError(
                f"cannot read the directory `{path}`: {error.strerror}", hint="`custody init` writes one"
            ) from error
        if len(content) > _MAX_BYTES:
            raise PolicyError(
                f"the directory `{path}` is larger than {_MAX_BYTES // 1024} KiB",
                hint="remove principals that are not used",
            )
        try:
            return cls.from_text(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise PolicyError(f"the directory `{path}` is not UTF-8 text", hint="save it as UTF-8") from error
        except PolicyError as error:
            raise PolicyError(f"the directory `{path}` cannot be used: {error.message}", hint=error.hint) from error

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the text of a directory file.

        Raises:
            PolicyError: it names something twice, unknown or in a circle.
        """
        try:
            read = _DirectoryFile.model_validate(tomllib.loads(text))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _wrong(f"`{_shown(place)}`: {first['msg']}") from error
        except (ValueError, RecursionError) as error:  # not TOML, or with numbers and nesting that nobody needs
            raise _wrong(" ".join(str(error).split())) from error
        _check_names(read)
        teams = {name: _teams_above(name, read.teams) for name in read.teams}
        principals = {
            name: _principal(name, PrincipalKind.HUMAN, human, None, teams) for name, human in read.humans.items()
        }
        for kind, listed in ((PrincipalKind.AGENT, read.agents), (PrincipalKind.SERVICE, read.services)):
            for name, owned in listed.items():
                owner = read.humans.get(owned.owner)
                if owner is None:
                    raise _wrong(f"`{name}` is owned by `{owned.owner}`, who is not among the humans")
                principals[name] = _owned_by(
                    _principal(name, kind, owned, (owned.owner, owner.enabled), teams), principals[owned.owner]
                )
        return cls(principals, _os_users(read))

    @staticmethod
    def starter(os_user: str) -> str:
        """The text of a directory file for one person at their own machine."""
        name = os_user if re.match(_NAME_PATTERN, os_user) and os_user.isascii() else "user"
        return _STARTER.format(name=json.dumps(name), os_user=_toml_string(os_user))

    def principal(self, name: str, *, authentication: str = "os-user") -> Principal | None:
        """The principal of that name, or None."""
        found = self.principals.get(name)
        return None if found is None else replace(found, authentication=authentication)

    def by_os_user(self, user: str, *, authentication: str = "os-user") -> Principal:
        """The principal behind an OS user; an unknown one if none is."""
        name = self.os_users.get(user)
        if name is not None:
            return replace(self.principals[name], authentication=authentication)
        # the colon keeps it apart from every name that the directory can hold
        plain = re.sub(r"[^A-Za-z0-9._@-]", "?", user)[:64]
        return Principal(id=f"os-user:{plain}", kind=PrincipalKind.HUMAN, known=False, authentication=authentication)


_STARTER = """\
# Who may ask custody for something. Roles: developer (run), auditor (read the record, reviews), operator (advisories, schedules),
# policy-admin (policies, principals), project-lead (project layers of the policies), security-reviewer (approve), runner (services under strict profiles), heavy (larger limits).

[humans.{name}]
os_user = {os_user}
roles = ["developer", "auditor", "operator", "policy-admin"]

# An approval always needs another person. One with a login of their own on this machine:
#
# [humans.second-person]
# os_user = "their-login"
# roles = ["security-reviewer"]
#
# An agent has roles of its own, never those of its owner:
#
# [agents.coder]
# owner = {name}
# roles = ["developer"]
"""


def _check_names(read: _DirectoryFile) -> None:
    """Refuse a name that two principals share, in whatever case: people read them, and could not tell them apart."""
    seen: dict[str, str] = {}
    for name in (*read.humans, *read.agents, *read.services):
        if name.casefold() in seen:
            raise _wrong(f"`{name}` and `{seen[name.casefold()]}` are one name")
        seen[name.casefold()] = name
    for name, team in read.teams.items():
        unknown = next((above for above in team.within if above not in read.teams), None)
        if unknown is not None:
            raise _wrong(f"team `{name}` lies in `{unknown}`, which is not among the teams")
    for name, member in (*read.humans.items(), *read.agents.items(), *read.services.items()):
        unknown = next((team for team in member.teams if team not in read.teams), None)
        if unknown is not None:
            raise _wrong(f"`{name}` is in team `{unknown}`, which is not among the teams")


def _teams_above(name: str, teams: Mapping[str, _Team]) -> tuple[str, ...]:
    """A team and every team that it lies in; a circle is refused."""
    above: dict[str, None] = {}
    waiting = [name]
    while waiting:
        team = waiting.pop()
        if team not in above:
            above[team] = None
            waiting.extend(teams[team].within)
            if name in teams[team].within:
                raise _wrong(f"team `{name}` lies in itself")
            if len(above) > _MOST_ABOVE:
                raise _wrong(f"team `{name}` lies in more than {_MOST_ABOVE} teams")
    return tuple(above)


def _principal(
    name: str, kind: PrincipalKind, listed: _Human, owner: tuple[str, bool] | None, teams: Mapping[str, tuple[str, ...]]
) -> Principal:
    return Principal(
        id=name,
        kind=kind,
        enabled=listed.enabled,
        owner=owner[0] if owner else None,
        owner_enabled=owner[1] if owner else listed.enabled,
        roles=tuple(sorted(set(listed.roles))),
        teams=tuple(sorted({above for team in listed.teams for above in teams[team]})),
    )


def _owned_by(principal: Principal, owner: Principal) -> Principal:
    """The principal with what its owner may do beside its own: never added to it, only asked for as well."""
    return replace(principal, owner_roles=owner.roles, owner_teams=owner.teams)


def _os_users(read: _DirectoryFile) -> dict[str, str]:
    users: dict[str, str] = {}
    for name, listed in (*read.humans.items(), *read.agents.items(), *read.services.items()):
        if listed.os_user is None:
            continue
        if listed.os_user in users:
            raise _wrong(f"`{name}` and `{users[listed.os_user]}` have the same OS user `{_shown(listed.os_user)}`")
        users[listed.os_user] = name
    return users


def _toml_string(text: str) -> str:
    """A TOML basic string; control characters and lone surrogates cannot be told apart by people, and become question marks."""
    return json.dumps("".join(c if c.isprintable() else "?" for c in text[:_MAX_OS_USER]) or "?", ensure_ascii=False)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:80])


def _wrong(message: str) -> PolicyError:
    return PolicyError(message[:300], hint="correct the directory file; the format is in docs/policies.md")
