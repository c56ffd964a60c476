"""Names of controls, one dated data file per framework.

The wording is "supports", never "complies": what custody shows is evidence, and what it is worth is for an auditor to say.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

__all__ = ["Framework", "frameworks"]


@dataclass(frozen=True, slots=True)
class Framework:
    """One list of controls, as of a day."""

    name: str
    version: str
    written: date
    """When this list was written down."""
    controls: Mapping[str, str]
    """Id -> name."""


class _FrameworkFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    framework: str
    version: str
    written: date
    controls: dict[str, str]


@cache
def frameworks() -> tuple[Framework, ...]:
    """Every framework that is shipped, by file name."""
    folder = resources.files(__package__ or "custody.policies") / "controls"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    read = [_FrameworkFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))) for file in files]
    return tuple(Framework(file.framework, file.version, file.written, file.controls) for file in read)
