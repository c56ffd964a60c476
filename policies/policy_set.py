"""A policy set: the files of a policy folder as one immutable value with a digest; what is in force and what is stored.

It must never hold anything that was not read as a regular file of a known kind, and never read a file again after that.
"""

import difflib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path, PurePath, PurePosixPath
from types import MappingProxyType
from typing import Self

from ..errors import PolicyError

__all__ = ["LOCKED", "PROJECT", "PolicySet", "layer_of"]

LOCKED = "locked"
"""The layer of everything that stands outside the project layers."""
PROJECT = "project"
"""Folder of the project layers, which may tighten only: its own files are one, and each of its folders is one more."""

_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/){0,4}[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""No part begins with a dot: a stored set can be written to a folder, and must not leave it."""
_SCHEMA = ".cedarschema"
_SUFFIXES = (".cedar", _SCHEMA, ".toml")
_TESTS = "tests"
_TEST_SUFFIX = ".yaml"
_MAX_FILES = 500
_MAX_FILE_BYTES = 256 * 1024
_MAX_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 4


class PolicySet:
    """An immutable set of policy files.

    Args:
        files: relative path with `/` -> text.
    """

    __slots__ = ("_bytes", "_files")

    def __init__(self, files: Mapping[str, str]) -> None:
        if not any(name.endswith(".cedar") for name in files):
            raise PolicyError(
                "the policy set holds no rules",
                hint="a policy folder has at least one file that ends in `.cedar`; `custody init` writes one",
            )
        for name in files:
            if not _NAME.fullmatch(name) or not _is_policy_file(PurePosixPath(name)):
                raise PolicyError(
                    f"`{_shown(name)}` is no name of a policy file",
                    hint="names are plain ASCII words below the policy folder, with the endings of policy files",
                )
        self._files = MappingProxyType(dict(sorted(files.items())))
        self._bytes = json.dumps(dict(self._files), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    @classmethod
    def shipped(cls) -> Self:
        """The policy set that comes with custody."""
        return cls.from_folder(cls.shipped_folder())

    @staticmethod
    def shipped_folder() -> Path:
        """The folder of that set in the installed package."""
        return Path(str(resources.files(__package__ or "custody.policies") / "default"))

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read a folder: rules, schema, settings and `tests/*.yaml`; other files are no part of a policy set.

        Raises:
            PolicyError: there is no such folder, no rule in it, or something in it cannot be read as what it claims to be.
        """
        if not folder.is_dir():
            raise PolicyError(
                f"there is no policy folder at `{folder}`", hint="name the folder that holds the `.cedar` files"
            )
        files: dict[str, str] = {}
        total = 0
        for path in _walk(folder, folder, 0):
            name = path.relative_to(folder).as_posix()
            content = _read(path, name)
            total += len(content)
            if len(files) >= _MAX_FILES or total > _MAX_BYTES:
                raise PolicyError(
                    f"the policy folder `{folder}` is larger than {_MAX_FILES} files or {_MAX_BYTES // 1024} KiB",
                    hint="keep only policy files in it",
                )
            files[name] = _text(content, name)
        return cls(files)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The set that `to_bytes` gave.

        Raises:
            PolicyError: these are not such bytes.
        """
        try:
            value = json.loads(data)
        except ValueError as error:
            raise PolicyError(
                "the stored policy set is not JSON", hint="run `custody verify`: the ledger's payloads may be damaged"
            ) from error
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise PolicyError(
                "the stored policy set is not a list of files",
                hint="run `custody verify`: the ledger's payloads may be damaged",
            )
        return cls(value)

    def to_bytes(self) -> bytes:
        """Canonical JSON of path and text."""
        return self._bytes

    def write_to(self, folder: Path) -> None:
        """Write the files into a folder that holds none of them yet.

        Raises:
            PolicyError: one of the files is already there; nothing was written.
        """
        taken = next((name for name in self._files if (folder / name).exists()), None)
        if taken is not None:
            raise PolicyError(
                f"`{folder / taken}` is already there", hint="choose an empty folder, or edit what is there"
            )
        for name, text in self._files.items():
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    @property
    def files(self) -> Mapping[str, str]:
        """Relative path -> text, sorted by path."""
        return self._files

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `to_bytes()`."""
        return hashlib.sha256(self._bytes).hexdigest()

    @property
    def schema_digest(self) -> str:
        """SHA-256 (hex) of the schema's text; of nothing if there is none."""
        return hashlib.sha256("".join(self.texts(_SCHEMA).values()).encode()).hexdigest()

    def texts(self, suffix: str) -> Mapping[str, str]:
        """The files whose names end so."""
        return {name: text for name, text in self._files.items() if name.endswith(suffix)}

    def changes_since(self, previous: "PolicySet") -> str:
        """A unified diff from another set to this one; empty if nothing changed."""
        lines: list[str] = []
        for name in sorted({*previous.files, *self._files}):
            before, after = previous.files.get(name, ""), self._files.get(name, "")
            old, new = f"a/{name}", f"b/{name}"
            lines += difflib.unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm="")
            if before != after and before.splitlines() == after.splitlines():
                lines += [f"--- {old}", f"+++ {new}", "@@ only line ends differ @@"]
        return "\n".join(lines)

    def with_schema_of(self, other: Self) -> Self:
        """This set with the schema of another one in the place of its own."""
        files = {name: text for name, text in self._files.items() if not name.endswith(_SCHEMA)}
        return type(self)({**files, **other.texts(_SCHEMA)})

    def layers_changed_since(self, previous: "PolicySet") -> frozenset[str]:
        """Layers of the files that differ from another set; empty if nothing changed."""
        names = {*previous.files, *self._files}
        return frozenset(layer_of(name) for name in names if previous.files.get(name) != self._files.get(name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PolicySet) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"PolicySet({len(self._files)} files, {self.digest[:12]})"


def layer_of(name: str) -> str:
    """The layer of a file: `locked`, `project`, or `project/NAME` for what lies in a folder of its own there."""
    first, *folders = name.split("/")[:-1] or [""]
    if first != PROJECT:
        return LOCKED
    return f"{PROJECT}/{folders[0]}" if folders and folders[0] != _TESTS else PROJECT


def _walk(root: Path, folder: Path, depth: int) -> Iterator[Path]:
    """Policy files in a folder and below, in a fixed order; hidden names are skipped."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PolicyError(
            f"cannot read the policy folder `{folder}`: {error.strerror}", hint="make it readable"
        ) from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if depth >= _MAX_DEPTH:
                raise PolicyError(f"`{path}` lies deeper than {_MAX_DEPTH} folders", hint="keep the policy folder flat")
            yield from _walk(root, path, depth + 1)
        elif entry.is_dir():
            # not passed over in silence: whoever linked it counts on the rules in it
            raise PolicyError(
                f"`{path.relative_to(root).as_posix()}` is a link to a folder",
                hint="put the files themselves into the policy folder; what a link points to may change",
            )
        elif _is_policy_file(path.relative_to(root)):
            yield path


def _is_policy_file(path: PurePath) -> bool:
    in_tests = _TESTS in path.parts[:-1]
    return path.suffix == _TEST_SUFFIX if in_tests else path.suffix in _SUFFIXES


def _read(path: Path, name: str) -> bytes:
    """The bytes of one regular file; links are refused, because what they point to may change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PolicyError(
            f"cannot read `{name}`: {error.strerror}", hint="policy files are plain files, not links"
        ) from error
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PolicyError(f"`{name}` is not a plain file", hint="policy files are plain files")
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise PolicyError(f"`{name}` is larger than {_MAX_FILE_BYTES // 1024} KiB", hint="split it")
    return content


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(f"`{name}` is not UTF-8 text", hint="save it as UTF-8") from error


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:80])
