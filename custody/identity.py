"""Who is calling: the OS user of this process; later socket peers and tokens.

No argument, variable or file of the caller may name a principal. As root, the user who called sudo or logged in is the caller:
that is how a second person approves in a home that belongs to one user. Root can be both; SECURITY.md says so.
"""

import os
import pwd
from pathlib import Path
from typing import NamedTuple

__all__ = ["Caller", "calling_user"]

_NO_LOGIN = 2**32 - 1


class Caller(NamedTuple):
    """The OS user and how it was established."""

    os_user: str
    authentication: str


def calling_user(sudo_uid: int | None) -> Caller:
    """The OS user behind this process.

    Args:
        sudo_uid: what sudo said; believed only if this process is root.
    """
    uid = os.geteuid()
    if uid != 0:
        return Caller(_name(uid), "os-user")
    if sudo_uid:
        return Caller(_name(sudo_uid), "sudo-user")
    login = _login_uid()
    if login:
        return Caller(_name(login), "login-user")
    return Caller(_name(0), "os-user")


def _login_uid() -> int | None:
    """The kernel's login uid (proc(5)), which survives su; None if there was no login."""
    try:
        value = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if value in {0, _NO_LOGIN} else value


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
