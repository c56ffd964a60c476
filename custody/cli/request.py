"""From what was typed to a request: files are read here, once, and what was read is what is judged and run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..caller_files import CallerFiles, read_standard_input
from ..errors import UsageError

if TYPE_CHECKING:
    from ..flows.house import House
    from ..policies.types import HostRequest, Limits, MountRequest, Principal, RunRequest

__all__ = ["Asked", "make_request"]

_LANGUAGES = {".py": "python", ".sh": "bash", ".js": "node"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed, option by option."""

    program: str
    arguments: Sequence[str] | None
    requirements: Path | None
    inputs: Sequence[Path] | None
    hosts: Sequence[str] | None
    mounts: Sequence[str] | None
    profile: str | None
    limits: Sequence[str] | None
    purpose: str
    ticket: str


def make_request(house: "House", caller: "Principal", asked: Asked) -> "RunRequest":
    """The request of this caller.

    Raises:
        UsageError: a file cannot be read, or an option cannot be understood.
    """
    from ..dependencies import parse_requirements, read_inline
    from ..flows.intake import resolve_mounts
    from ..flows.pipeline import python_version
    from ..policies.types import InputFile, RunRequest

    files = house.settings.caller_files
    file_name, code = _read_program(files, asked.program)
    language = _language(house, file_name)
    inline = read_inline(code, python=lambda: python_version(house)) if language == "python" else None
    declared = inline.dependencies if inline else ()
    if declared and asked.requirements is None:
        raise UsageError(
            f"`{file_name}` declares packages, but no lock was given",
            hint="make one with `uv pip compile --generate-hashes`, and give it with --requirements",
        )
    requirements = b"" if asked.requirements is None else files.read(asked.requirements)
    lock = parse_requirements(requirements, name=str(asked.requirements))  # a mistake is named by its own file and line
    if asked.requirements is not None and not lock.pins:
        raise UsageError(
            f"`{asked.requirements}` names no package", hint="leave it out, or pin what is needed: NAME==VERSION"
        )
    profile = asked.profile or house.settings.profile
    return RunRequest(
        principal=caller,
        code=code,
        file_name=file_name,
        language=language,
        arguments=tuple(asked.arguments or ()),
        files=tuple(InputFile(path.name, files.read(path)) for path in asked.inputs or ()),
        requirements=requirements,
        declared=tuple(declared),
        hosts=tuple(_host(text) for text in asked.hosts or ()),
        mounts=resolve_mounts([_mount(text) for text in asked.mounts or ()]),
        limits=_limits(house, profile, asked.limits or ()),
        profile=profile,
        purpose=asked.purpose,
        ticket=asked.ticket,
    )


def _language(house: "House", file_name: str) -> str:
    """What the name of a program says about its language; Python if it says nothing."""
    declared = {r.suffix: name for name, r in house.settings.sandbox.runtimes.items() if r.suffix}
    return (declared | _LANGUAGES).get(Path(file_name).suffix, "python")


def _read_program(files: CallerFiles, program: str) -> tuple[str, bytes]:
    if program == "-":
        return "stdin.py", read_standard_input()
    path = Path(program)
    return path.name, files.read(path)


def _host(text: str) -> "HostRequest":
    from ..policies.types import HostRequest

    name, _, port = text.rpartition(":")
    if not name or not port.isdecimal() or len(port) > 5:  # noqa: PLR2004 - digits of the highest port
        raise UsageError(
            f"`{text}` is not a host and port", hint="give it as NAME:PORT, for example api.example.org:443"
        )
    return HostRequest(name.strip("[]").lower(), int(port))


def _mount(text: str) -> "MountRequest":
    from ..policies.types import Access, MountRequest

    path, _, access = text.partition(":")
    if access not in {"", "read", "write"}:
        raise UsageError(f"`{access}` is not a way to mount", hint="give PATH, PATH:read or PATH:write")
    return MountRequest(path, Access(access or "read"), Path(path).name or "root")


def _limits(house: "House", profile: str, given: Sequence[str]) -> "Limits":
    from ..policies.types import Limits

    known = house.gate.profiles.get(profile)
    # an unknown profile is refused where the whole request is looked at
    limits = Limits() if known is None else known.defaults
    return replace(limits, **_numbers(given, {field.name for field in fields(limits)}))


def _numbers(given: Sequence[str], names: set[str]) -> Mapping[str, int]:
    numbers = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in names:
            raise UsageError(f"there is no limit `{name}`", hint=f"known are {', '.join(sorted(names))}")
        if not value.isdecimal() or len(value) > 9:  # noqa: PLR2004 - digits; no limit is near that
            raise UsageError(f"limit `{name}` needs a whole number, not `{value}`", hint="give it as NAME=NUMBER")
        numbers[name] = int(value)
    return numbers
