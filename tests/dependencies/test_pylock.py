"""pylock.toml as input: pins, markers and wheels are taken, everything that leads elsewhere is refused."""

from collections.abc import Mapping

import pytest

from custody.dependencies import parse_requirements
from custody.errors import Exit, UsageError

_HASHES = '{ sha256 = "' + "A1" * 32 + '" }'
_WHEELS = (
    f'wheels = [{{ url = "https://files.invalid/six-1.17.0-py2.py3-none-any.whl", size = 1, hashes = {_HASHES} }}]'
)
_SDIST = 'sdist = { url = "https://files.invalid/six-1.17.0.tar.gz", hashes = { sha256 = "' + "b2" * 32 + '" } }'


def _lock(*packages: str, head: str = 'lock-version = "1.0"\ncreated-by = "uv"') -> bytes:
    return "\n".join([head, *(f"[[packages]]\n{package}" for package in packages)]).encode()


def _package(name: str = "six", version: str = "1.17.0", rest: str = _WHEELS) -> str:
    return f'name = "{name}"\nversion = "{version}"\n{rest}'


def test_pins_come_with_the_hashes_of_their_wheels_only() -> None:
    text = _lock(
        _package("Typing_Extensions", "4.16.0"), _package(rest=f"marker = \"os_name == 'posix'\"\n{_SDIST}\n{_WHEELS}")
    )
    lock = parse_requirements(text, name="pylock.toml")
    assert lock.source == "pylock.toml"
    assert [(pin.name, pin.version, pin.marker) for pin in lock.pins] == [
        ("six", "1.17.0", 'os_name == "posix"'),
        ("typing-extensions", "4.16.0", ""),
    ]
    assert {pin.hashes for pin in lock.pins} == {("sha256:" + "a1" * 32,)}


def test_the_same_pins_are_the_same_lock_whatever_the_file() -> None:
    requirements = f"six==1.17.0 --hash=sha256:{'a1' * 32}".encode()
    one, other = parse_requirements(_lock(_package()), name="a"), parse_requirements(requirements, name="b")
    assert (one.text, one.sha256, one.pins) == (other.text, other.sha256, other.pins)


_CASES: Mapping[str, tuple[bytes, str]] = {
    "toml": (b'lock-version = "1.0"\n[[packages', "is not TOML"),
    "deep": (b'lock-version = "1.0"\nx = ' + b"[" * 5000, "is not TOML"),
    "version": (_lock(_package(), head='lock-version = "2.0"'), "a lock version other than 1"),
    "none": (b'lock-version = "1.0"\npackages = []', "there have to be 1 to 5000 packages"),
    "kind": (b'lock-version = "1.0"\npackages = [1]', "a package is not a table"),
    "vcs": (_lock(_package(rest='vcs = { type = "git", url = "https://evil.invalid" }')), "comes from `vcs`"),
    "directory": (_lock(_package(rest='directory = { path = "." }')), "comes from `directory`"),
    "archive": (_lock(_package(rest=f'archive = {{ path = "x.whl", hashes = {_HASHES} }}')), "comes from `archive`"),
    "sdist": (_lock(_package(rest=_SDIST)), "package `six`: it has no wheels"),
    "hash": (_lock(_package(rest='wheels = [{ url = "x", hashes = { md5 = "abc" } }]')), "a wheel has no sha256 hash"),
    "weak": (_lock(_package(rest='wheels = [{ url = "x", hashes = { sha256 = "abc" } }]')), "only sha256 hashes"),
    "wheel": (_lock(_package(rest="wheels = [1]")), "a wheel has no sha256 hash"),
    "unversioned": (_lock(f'name = "six"\n{_WHEELS}'), "`` is not a version"),
    "wildcard": (_lock(_package(version="1.*")), "`1.*` is not a version"),
    "name": (_lock(_package(name="six --hash")), "is not the name of a package"),
    "number": (_lock(f'name = "six"\nversion = 1\n{_WHEELS}'), "has a field that is no text"),
    "marker": (_lock(_package(rest=f'marker = "nonsense"\n{_WHEELS}')), "is not an environment marker"),
    "injection": (
        _lock(_package(rest=f"marker = \"os_name == 'a' \\\\\\n -r other.txt\"\n{_WHEELS}")),
        "is not an environment marker",
    ),
    "extras": (_lock(_package(rest=f"marker = \"'x' in extras\"\n{_WHEELS}")), "markers about extras"),
    "twice": (_lock(_package(), _package("SIX", "1.16.0")), "`six` is pinned twice"),
    "indexes": (
        _lock(
            _package(rest=f'index = "https://a.invalid"\n{_WHEELS}'),
            _package("attrs", rest=f'index = "https://b.invalid"\n{_WHEELS}'),
        ),
        "packages of more than one index",
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_what_leads_away_from_the_index_is_refused(case: str) -> None:
    text, reason = _CASES[case]
    with pytest.raises(UsageError) as refused:
        parse_requirements(text, name="pylock.toml")
    assert reason in refused.value.message
    assert refused.value.exit_code is Exit.USAGE
    assert "--format pylock.toml" in refused.value.hint
