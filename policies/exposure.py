"""What a grant could do at worst, and what of it this principal never used before.

Computed from the grant, the audit and the ledger's history alone: nothing that the program or its text says about itself goes in.
"""

from collections.abc import Sequence

from .bundle import Classes
from .locations import Host
from .settings_files import Lists
from .types import Access, DependencyFacts, Exposure, History, HostRequest, Limits, MountRequest, PackageFacts

__all__ = ["classes_of", "exposure_of"]

UNCLASSIFIED = "unclassified"
"""Class of a path that stands in no data set."""


def exposure_of(
    *,
    hosts: Sequence[HostRequest],
    mounts: Sequence[MountRequest],
    limits: Limits,
    dependencies: DependencyFacts,
    history: History,
    lists: Lists,
) -> Exposure:
    """The exposure of a grant with these hosts, mounts, limits and packages."""
    names = sorted({_host(host) for host in hosts})
    pins = {f"{package.name}=={package.version}": package.name for package in dependencies.packages}
    known_packages, known_hosts = set(history.known_packages), set(history.known_hosts)
    new_packages = [
        pin for pin, name in sorted(pins.items()) if pin not in known_packages and name not in known_packages
    ]
    new_hosts = [host for host in names if host not in known_hosts]
    known_paths = set(history.known_paths)
    # who wrote to a place has read what lies there
    new_paths = sorted(
        {f"{m.access} {m.path}" for m in mounts if not known_paths & {f"{m.access} {m.path}", f"write {m.path}"}}
    )
    return Exposure(
        hosts=tuple(names),
        readable=_described(mounts, Access.READ, lists),
        writable=_described(mounts, Access.WRITE, lists),
        limits=limits,
        packages_with_findings=tuple(
            sorted({f"{p.name}=={p.version}" for p in dependencies.packages if _has_findings(p)})
        ),
        new=(*new_paths, *(f"host {host}" for host in new_hosts), *(f"package {pin}" for pin in new_packages)),
    )


def classes_of(mounts: Sequence[MountRequest], lists: Lists) -> Classes:
    """Classifications of the data behind mounts; what may be written may be read."""
    writable = frozenset(
        name for mount in mounts if mount.access is Access.WRITE for name in _classes(mount.path, lists)
    )
    readable = frozenset(name for mount in mounts for name in _classes(mount.path, lists))
    return Classes(readable, writable)


def _described(mounts: Sequence[MountRequest], access: Access, lists: Lists) -> tuple[str, ...]:
    return tuple(
        sorted(f"{mount.path} ({', '.join(_classes(mount.path, lists))})" for mount in mounts if mount.access is access)
    )


def _classes(path: str, lists: Lists) -> tuple[str, ...]:
    return tuple(sorted({data_set.classification for data_set in lists.data_sets_of(path)})) or (UNCLASSIFIED,)


def _host(request: HostRequest) -> str:
    host = Host.of(request.name, request.port)
    return f"{host.name}:{host.port}"


def _has_findings(package: PackageFacts) -> bool:
    counts = (package.critical, package.high, package.medium, package.low, package.unknown, package.waived)
    return package.malicious or package.undetermined or any(counts)
