"""Inline script metadata (PEP 723): what a program says it needs, and whether the lock gives exactly that.

It must never resolve or install anything, and never hand tool settings of a script to a tool: `[tool.*]` is refused.
"""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from ..errors import UsageError
from .locks import make_lock
from .quoting import shown
from .types import InlineMetadata, Lock

_OPENING = "# /// script"
_CLOSING = "# ///"
_LARGEST_BLOCK = 64 * 1024
_MOST_DECLARED = 500
_LONGEST = 500
_HINT = "see PEP 723: one block `# /// script` with `dependencies` and `requires-python`, closed by `# ///`"


def read_inline(code: bytes, *, python: Callable[[], str] | None = None) -> InlineMetadata | None:
    """What the script block of a program declares; None without one.

    Args:
        code: the program.
        python: gives the version of the interpreter that is to run it; asked only if the program says which it requires.

    Raises:
        UsageError: two blocks, an open one, invalid TOML, tool settings, requirements that are none, or another interpreter required.
    """
    if b"/// script" not in code:
        return None
    # a program in another encoding still has its block in ASCII; wrong bytes outside of it do not matter here
    text = code.decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks = list(_blocks(text.split("\n")))
    if not blocks:
        return None
    if len(blocks) > 1:
        raise UsageError("the program has two inline metadata blocks", hint=_HINT)
    metadata = _read_block(blocks[0])
    if metadata.requires_python is not None and python is not None:
        _check_python(metadata.requires_python, python())
    return metadata


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """The content of each script block; as PEP 723 says, the last closing line of a run of comments closes it."""
    at = 0
    while at < len(lines):
        if lines[at].rstrip() != _OPENING:
            at += 1
            continue
        end = at + 1
        closing = 0
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            closing = end if lines[end].rstrip() == _CLOSING else closing
            end += 1
        if not closing:
            raise UsageError("the inline metadata block of the program is not closed", hint=_HINT)
        yield "\n".join(line[2:] for line in lines[at + 1 : closing])
        at = closing + 1


def _read_block(block: str) -> InlineMetadata:
    if len(block) > _LARGEST_BLOCK:
        raise UsageError("the inline metadata block of the program is too large", hint=_HINT)
    try:
        block.encode("utf-8")
        table: dict[str, object] = tomllib.loads(block)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the inline metadata of the program is not TOML: {shown(str(error))}", hint=_HINT) from error
    for key in table:
        if key not in {"dependencies", "requires-python"}:
            raise UsageError(f"inline metadata may not set {shown(key)}", hint=_HINT)
    return InlineMetadata(
        dependencies=_read_dependencies(table.get("dependencies", [])),
        requires_python=_read_python(table.get("requires-python")),
    )


def _read_dependencies(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_DECLARED:
        raise UsageError(f"`dependencies` must be a list of at most {_MOST_DECLARED} requirements", hint=_HINT)
    for item in value:
        if not isinstance(item, str):
            raise UsageError("`dependencies` must be a list of texts", hint=_HINT)
        _requirement(item)
    return tuple(value)


def _read_python(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise UsageError("`requires-python` must be a short text", hint=_HINT)
    try:
        SpecifierSet(value)
    except InvalidSpecifier as error:
        raise UsageError(f"`requires-python` is not a version specifier: {shown(value)}", hint=_HINT) from error
    return value


def _requirement(text: str) -> Requirement:
    hint = "write it as a name and a version range (PEP 508)"
    # the length also bounds the nesting that the recursive parser of markers meets
    if len(text) > _LONGEST:
        raise UsageError(f"the declared requirement is too long: {shown(text)}", hint=hint)
    try:
        requirement = Requirement(text)
    except (InvalidRequirement, RecursionError) as error:
        raise UsageError(f"not a requirement: {shown(text)}", hint=hint) from error
    if requirement.url is not None:
        raise UsageError(f"an address is not taken as a requirement: {shown(text)}", hint="name a package of the index")
    return requirement


def _check_python(wanted: str, version: str) -> None:
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        raise UsageError(
            f"the program declares `requires-python` {shown(wanted)}, and the jail has Python {shown(version)}",
            hint="name another interpreter with the setting `sandbox.python`, or change what the program declares",
        )


def check_declared(declared: Sequence[str], lock: Lock) -> Lock:
    """The lock with its direct packages marked, after every declared requirement was found in it.

    A requirement whose marker is false here may be absent. Without declarations nobody knows what is direct: all are.

    Raises:
        UsageError: naming the first requirement that the lock does not satisfy.
    """
    versions = {pin.name: pin.version for pin in lock.pins}
    direct: set[str] = set()
    for text in declared:
        requirement = _requirement(text)
        name = canonicalize_name(requirement.name)
        if name not in versions:
            if _is_for_others(requirement):
                continue
            raise UsageError(f"the lock does not have the declared requirement {shown(text)}", hint=_lock_hint())
        if not requirement.specifier.contains(versions[name], prereleases=True):
            raise UsageError(
                f"the lock has {shown(f'{name}=={versions[name]}')}, which is outside the declared {shown(text)}",
                hint=_lock_hint(),
            )
        direct.add(name)
    if not declared:
        return lock
    return make_lock((replace(pin, direct=pin.name in direct) for pin in lock.pins), source=lock.source)


def _is_for_others(requirement: Requirement) -> bool:
    """Whether the requirement's marker says that it is not for this interpreter; a marker that cannot be judged is for all."""
    try:
        return requirement.marker is not None and not requirement.marker.evaluate()
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return False


def _lock_hint() -> str:
    return "make the lock from what the program declares: `uv pip compile --generate-hashes FILE`"
