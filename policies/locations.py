"""Hosts and paths as they are judged: taken apart lexically, never looked up.

It must never guess what a strange name may mean to a resolver or a kernel: what is not plainly one thing is not well formed.
"""

import ipaddress
import posixpath
import re
from dataclasses import dataclass

__all__ = ["Host", "is_plain_path"]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME = 253
_MAX_PORT = 65535
_MAX_PATH = 4096


@dataclass(frozen=True, slots=True)
class Host:
    """A host and port as a request names it."""

    name: str
    port: int
    address: str
    """The address in canonical form if the name is one; empty otherwise."""
    well_formed: bool

    @classmethod
    def of(cls, name: str, port: int) -> "Host":
        """Take a name apart; names are compared in lower case and without a final dot."""
        plain = name.lower().removesuffix(".")
        right_port = 1 <= port <= _MAX_PORT
        try:
            address = ipaddress.ip_address(plain.removeprefix("[").removesuffix("]"))
        except ValueError:
            return cls(plain, port, "", right_port and _is_name(plain))
        if isinstance(address, ipaddress.IPv6Address):
            # an IPv4 address in IPv6 clothes reaches the IPv4 one
            address = address.ipv4_mapped or address
        scoped = isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None
        return cls(str(address), port, "" if scoped else str(address), right_port and not scoped)


def _is_name(name: str) -> bool:
    """A host name whose last label cannot be read as a number: `127.1` and `0x7f.1` are addresses to some resolvers."""
    last = name.rpartition(".")[2]
    return len(name) <= _MAX_NAME and bool(_NAME.fullmatch(name)) and not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last)


def is_plain_path(path: str) -> bool:
    """Whether it is absolute, without dots, double slashes or characters that cannot be shown."""
    return (
        path.startswith("/")
        and not path.startswith("//")
        and posixpath.normpath(path) == path
        and path.isprintable()
        and len(path) <= _MAX_PATH
    )
