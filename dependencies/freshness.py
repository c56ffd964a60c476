"""Asks the package index for the latest version of each pin.

It must never say or suggest that a package is up to date without an answer: what is not known is unknown, with a reason.
"""

import ssl
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import orjson
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pypi_simple import ACCEPT_JSON_ONLY, PYPI_SIMPLE_ENDPOINT, ProjectPage
from pypi_simple.errors import UnsupportedRepoVersionError

from .quoting import shown
from .types import Freshness

_AT_ONCE = 4
"""Polite: an index serves many."""
_LARGEST_ANSWER = 64 * 1024 * 1024
_LONGEST_VERSION = 128


class _UnknownError(Exception):
    """Why the index's word is not known."""


@dataclass(frozen=True, slots=True)
class _Release:
    version: Version
    yanked: bool


def check_freshness(
    pins: Iterable[tuple[str, str]],
    *,
    index_url: str | None,
    certificates: Path | None = None,
    now: datetime,
    timeout_seconds: float,
) -> tuple[Freshness, ...]:
    """The latest version of each (name, version), neither yanked nor a pre-release; in the order given.

    Args:
        pins: canonical names and versions.
        index_url: a simple index that answers in JSON (PEP 691); None for the library's own default.
        certificates: the file of certificate authorities to believe; None for those of the system.
        now: the time that the answers carry.
        timeout_seconds: for each package as a whole.
    """
    wanted = list(pins)
    endpoint = (index_url or PYPI_SIMPLE_ENDPOINT).rstrip("/")
    try:
        believed = ssl.create_default_context(cafile=certificates) if certificates is not None else True
    except OSError as error:
        reason = (
            f"the certificates {shown(str(certificates))} cannot be read: {shown(error.strerror or 'no certificates')}"
        )
        return tuple(Freshness(name=name, used=used, latest=None, reason=reason, as_of=now) for name, used in wanted)
    with (
        httpx.Client(
            verify=believed,
            timeout=timeout_seconds,
            follow_redirects=True,
            max_redirects=5,
            headers={"Accept": ACCEPT_JSON_ONLY},
        ) as client,
        ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="freshness") as pool,
    ):
        return tuple(pool.map(lambda pin: _check(client, endpoint, pin[0], pin[1], now, timeout_seconds), wanted))


def _check(client: httpx.Client, endpoint: str, name: str, used: str, now: datetime, seconds: float) -> Freshness:
    version = _read_version(used)
    if version is None:
        return Freshness(
            name=name, used=used, latest=None, reason="the version in use is no version (PEP 440)", as_of=now
        )
    try:
        releases = _releases(_fetch(client, f"{endpoint}/{canonicalize_name(name)}/", seconds), name)
        latest = _latest(releases, version)
    except _UnknownError as error:
        return Freshness(name=name, used=used, latest=None, reason=str(error), as_of=now)
    yanked = next((release.yanked for release in releases if release.version == version), None)
    return Freshness(name=name, used=used, latest=str(latest), yanked=yanked, as_of=now)


def _fetch(client: httpx.Client, url: str, seconds: float) -> bytes:
    """The index's answer as bytes of JSON."""
    deadline = time.monotonic() + seconds
    try:
        with client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise _UnknownError(f"the index answers with status {response.status_code}")
            kind = response.headers.get("Content-Type", "").split(";")[0].strip()
            if not kind.endswith("json"):
                raise _UnknownError(f"the index does not answer in JSON but in {shown(kind or 'nothing')}")
            return b"".join(_bounded(response, deadline))
    except httpx.TimeoutException as error:
        raise _UnknownError("the index does not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _UnknownError(f"the index cannot be asked: {shown(str(error) or type(error).__name__)}") from error


def _bounded(response: httpx.Response, deadline: float) -> Iterator[bytes]:
    left = _LARGEST_ANSWER
    for block in response.iter_bytes():
        left -= len(block)
        if left < 0:
            raise _UnknownError("the index's answer is too large")
        if time.monotonic() > deadline:
            raise _UnknownError("the index does not answer in time")
        yield block


def _releases(answer: bytes, name: str) -> list[_Release]:
    """The versions of which the index has files; one is yanked if all its files are."""
    try:
        page = ProjectPage.from_json_data(orjson.loads(answer))
    except UnsupportedRepoVersionError as error:
        raise _UnknownError("the index speaks a newer version of its protocol") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # the library reads with a model that raises a kind of ValueError; the others come from shapes it does not expect
        raise _UnknownError("the index's answer cannot be read") from error
    if canonicalize_name(page.project) != canonicalize_name(name):
        raise _UnknownError(f"the index answers about {shown(page.project)} instead")
    yanked: dict[Version, bool] = {}
    for package in page.packages:
        version = _read_version(package.version)
        if version is not None and package.package_type in {"wheel", "sdist"}:
            yanked[version] = yanked.get(version, True) and package.is_yanked
    return [_Release(version, state) for version, state in yanked.items()]


def _read_version(text: str | None) -> Version | None:
    if text is None or len(text) > _LONGEST_VERSION:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _latest(releases: list[_Release], used: Version) -> Version:
    if not releases:
        raise _UnknownError("the index lists no versions")
    offered = [release.version for release in releases if not release.yanked]
    if not offered:
        raise _UnknownError("the index lists only yanked versions")
    final = [version for version in offered if not version.is_prerelease]
    if not final:
        raise _UnknownError("the index lists only pre-releases")
    if max(release.version for release in releases) < Version(used.public):
        raise _UnknownError("the index knows nothing as new as the version in use")
    return max(final)
