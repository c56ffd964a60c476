"""The two settings files of a policy folder: profiles.toml (named ways to run) and lists.toml (hosts, data sets and packages by name).

They hold no rules: which list allows or forbids what is said in Cedar. Unknown fields are refused, so that a misspelt cap is not no cap.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from packaging.utils import canonicalize_name
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from .locations import Host, is_plain_path
from .policy_set import PolicySet
from .types import Limits, PolicyProblem, Profile

__all__ = ["Lists", "ListsFile", "PolicySettings", "read_settings"]

PROFILES = "profiles.toml"
LISTS = "lists.toml"

_CLOSED = ConfigDict(extra="forbid", strict=True, frozen=True)
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
_LayerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,39}$")]
_Amount = Annotated[int, Field(ge=1, le=10**12)]


def _host(text: str) -> str:
    name, separator, port = text.rpartition(":")
    host = Host.of(name, int(port)) if separator and port.isdecimal() else None
    if host is None or not host.well_formed:
        message = f"`{text}` is not `name:port`"
        raise ValueError(message)
    return text


def _data_path(text: str) -> str:
    if text == "/" or not is_plain_path(text):
        message = f"`{text}` is not an absolute path without dots, or it is all of the machine"
        raise ValueError(message)
    return text


class _LimitsFile(BaseModel):
    """Limits, of which any may be left out; the names are those of `Limits`."""

    model_config = _CLOSED
    wall_seconds: _Amount | None = None
    cpu_seconds: _Amount | None = None
    memory_mib: _Amount | None = None
    processes: _Amount | None = None
    output_kib: _Amount | None = None
    disk_mib: _Amount | None = None
    files: _Amount | None = None
    open_files: _Amount | None = None
    artefact_mib: _Amount | None = None
    artefacts: _Amount | None = None

    def given(self) -> dict[str, int]:
        """Those that stand in the file."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class _ProfileFile(BaseModel):
    """One table of profiles.toml."""

    model_config = _CLOSED
    description: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    layers: Annotated[tuple[_LayerName, ...], Field(min_length=1, strict=False)]
    seccomp: _Name = "default"
    shell: bool = False
    network: bool = False
    strict: bool = False
    demo: bool = False
    live_output: bool = False
    defaults: _LimitsFile = _LimitsFile()
    caps: _LimitsFile


class _DataSetFile(BaseModel):
    """One data set of lists.toml."""

    model_config = _CLOSED
    classification: _Name
    paths: Annotated[tuple[Annotated[str, AfterValidator(_data_path)], ...], Field(strict=False)]


class ListsFile(BaseModel):
    """All of lists.toml."""

    model_config = _CLOSED
    hosts: dict[_Name, Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Field(strict=False)]] = {}
    data_sets: dict[_Name, _DataSetFile] = {}
    packages: dict[_Name, Annotated[tuple[str, ...], Field(strict=False)]] = {}

    def lists(self) -> "Lists":
        """As they are judged by."""
        return Lists(
            hosts=self.hosts,
            data_sets=tuple(
                DataSet(name=name, classification=file.classification, paths=file.paths)
                for name, file in self.data_sets.items()
            ),
            packages={
                name: tuple(str(canonicalize_name(package)) for package in names)
                for name, names in self.packages.items()
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Paths of one classification."""

    name: str
    classification: str
    paths: tuple[str, ...]

    def holds(self, path: str) -> bool:
        """Whether the path is one of them or lies below one."""
        return any(path == root or path.startswith(f"{root}/") for root in self.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What stands on which list."""

    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data_sets: tuple[DataSet, ...] = ()
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def host_lists(self, host: Host) -> tuple[str, ...]:
        """Lists that a host and port stand on, by exact name."""
        return tuple(name for name, hosts in self.hosts.items() if f"{host.name}:{host.port}" in hosts)

    def data_sets_of(self, path: str) -> tuple[DataSet, ...]:
        """Data sets that a path belongs to."""
        return tuple(data_set for data_set in self.data_sets if data_set.holds(path))

    def package_lists(self, name: str) -> tuple[str, ...]:
        """Lists that a package stands on, by canonical name."""
        return tuple(list_ for list_, names in self.packages.items() if canonicalize_name(name) in names)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Both files, and what is wrong with them."""

    profiles: Mapping[str, Profile]
    lists: Lists
    problems: tuple[PolicyProblem, ...]


def read_settings(policies: PolicySet) -> PolicySettings:
    """Profiles and lists of a policy set; a set without profiles cannot be used."""
    problems: list[PolicyProblem] = []
    profiles: dict[str, Profile] = {}
    lists = Lists()
    try:
        profiles = read_profiles(policies.files.get(PROFILES, ""))
    except ValueError as error:
        problems.append(_problem(PROFILES, error))
    try:
        lists = read_lists(policies.files.get(LISTS, ""))
    except ValueError as error:
        problems.append(_problem(LISTS, error))
    problems += [
        PolicyProblem(
            file=name,
            line=0,
            rule="",
            text=f"is not a file that custody knows; settings stand in `{PROFILES}` and `{LISTS}`",
        )
        for name in policies.texts(".toml")
        if name not in {PROFILES, LISTS}
    ]
    return PolicySettings(profiles, lists, tuple(problems))


def read_profiles(text: str) -> dict[str, Profile]:
    """Profiles by name.

    Raises:
        ValueError: not TOML, an unknown field, a default above its cap, or no profile at all.
    """
    read = TypeAdapter(dict[_Name, _ProfileFile]).validate_python(tomllib.loads(text))
    if not read:
        message = "there is no profile"
        raise ValueError(message)
    return {name: _profile(name, file) for name, file in read.items()}


def read_lists(text: str) -> Lists:
    """The lists; empty ones for an empty text.

    Raises:
        ValueError: not TOML, an unknown field, or a path or host that is not one.
    """
    return ListsFile.model_validate(tomllib.loads(text)).lists()


def _profile(name: str, file: _ProfileFile) -> Profile:
    usual = asdict(Limits())
    caps = usual | file.caps.given()
    asked = file.defaults.given()
    above = next((limit for limit, value in asked.items() if value > caps[limit]), None)
    if above is not None:
        message = f"profile `{name}`: the default of {above} is above its cap"
        raise ValueError(message)
    defaults = {limit: min(value, caps[limit]) for limit, value in (usual | asked).items()}
    return Profile(
        name=name,
        description=file.description,
        defaults=Limits(**defaults),
        caps=Limits(**caps),
        layers=file.layers,
        seccomp=file.seccomp,
        shell=file.shell,
        network=file.network,
        strict=file.strict,
        demo=file.demo,
        live_output=file.live_output,
    )


def _problem(file: str, error: ValueError) -> PolicyProblem:
    """The first thing that is wrong with a settings file, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return PolicyProblem(file=file, line=0, rule="", text=" ".join(f"`{place}`: {first['msg']}".split()))
    return PolicyProblem(file=file, line=0, rule="", text=" ".join(str(error).split()))
