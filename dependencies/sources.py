"""Reads advisory records from a file, one by one and bounded: .json, .jsonl, .jsonl.gz, .zip, or a folder of files.

A .zip holds OSV's own export (.json files), or the advisory database of the PyPA (.yaml files below `vulns/`).
It must never unpack to disk, and never take half of a damaged file for the whole of it.
"""

import gzip
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import orjson
import yaml

from ..errors import UsageError
from .quoting import shown

MOST_BYTES = 1024 * 1024 * 1024
"""Of all records together, unpacked."""
MOST_SOURCE_BYTES = 512 * 1024 * 1024
"""Of the file itself."""
_LONGEST_RECORD = 8 * 1024 * 1024
_LARGEST_JSON = 128 * 1024 * 1024
"""A .json file is read at once."""
_MOST_MEMBERS = 500_000
_HINT = "give OSV records: a .json, a .jsonl or .jsonl.gz with one record a line, a .zip of .json or .yaml files, or their folder"
_LOADER: type[yaml.BaseLoader] | type[yaml.CBaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Builds texts, lists and tables only; the one in C is not in every build of the library."""
_NOTHING = frozenset({"", "null", "~"})

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What gzip and zipfile raise for bytes that are not what they should be."""


class Unreadable:
    """Something in the place of a record that is not JSON."""


def read_records(file: IO[bytes], *, name: str, kind: str = "") -> Iterator[object]:
    """Each record of the file as a JSON value, or `Unreadable` in its place.

    Args:
        file: the bytes.
        name: how the file is called in messages.
        kind: a name that ends like the kind of file it is; that of the file if empty.

    Raises:
        UsageError: the file as a whole is damaged, too large, or plays tricks; also after some records were given.
    """
    reader = _reader_for(kind or name)
    try:
        yield from reader(file)
    except _DAMAGE as error:
        raise UsageError(f"{shown(name)} is damaged: {shown(str(error))}", hint=_HINT) from error


def _reader_for(name: str) -> Callable[[IO[bytes]], Iterator[object]]:
    lower = name.lower()
    for suffix, reader in (
        (".jsonl", _read_lines),
        (".jsonl.gz", _read_packed_lines),
        (".json", _read_json),
        (".zip", _read_zip),
    ):
        if lower.endswith(suffix):
            return reader
    raise UsageError(f"{shown(name)} is no kind of file that holds advisories", hint=_HINT)


def _parse(text: bytes) -> object:
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Unreadable()
    return value


def _parse_yaml(text: bytes) -> object:
    try:
        value: object = yaml.load(text, _LOADER)  # noqa: S506 - because this loader makes nothing but texts, lists and tables
    except (yaml.YAMLError, RecursionError, ValueError):
        return Unreadable()
    if isinstance(value, dict):
        # without types, nothing is a text too
        return {key: item for key, item in value.items() if not (isinstance(item, str) and item in _NOTHING)}
    return value


def _read_json(file: IO[bytes]) -> Iterator[object]:
    text = file.read(_LARGEST_JSON + 1)
    if len(text) > _LARGEST_JSON:
        raise UsageError("the .json file is too large; give the records as .jsonl or .zip", hint=_HINT)
    value = _parse(text)
    if isinstance(value, Unreadable):
        raise UsageError("the .json file is not JSON", hint=_HINT)
    if isinstance(value, list):
        yield from value
    else:
        yield value


def _read_lines(file: IO[bytes]) -> Iterator[object]:
    left = MOST_BYTES
    while line := file.readline(_LONGEST_RECORD + 1):
        left -= len(line)
        if len(line) > _LONGEST_RECORD or left < 0:
            raise UsageError("the advisories are too large when unpacked", hint=_HINT)
        if line.strip():
            yield _parse(line)


def _read_packed_lines(file: IO[bytes]) -> Iterator[object]:
    with gzip.GzipFile(fileobj=file) as unpacked:
        yield from _read_lines(unpacked)  # type: ignore[arg-type]  # because GzipFile is an IO[bytes] in all but its declared bases


def _read_zip(file: IO[bytes]) -> Iterator[object]:
    left = MOST_BYTES
    with zipfile.ZipFile(file) as archive:
        for member in _members(archive):
            with archive.open(member) as opened:
                text = opened.read(min(left, _LONGEST_RECORD) + 1)
            left -= len(text)
            if len(text) > _LONGEST_RECORD or left < 0:
                raise UsageError("the advisories are too large when unpacked", hint=_HINT)
            yield _parse(text) if member.filename.lower().endswith(".json") else _parse_yaml(text)


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The records of an archive, after the whole table of contents was found harmless."""
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS or sum(member.file_size for member in members) > MOST_BYTES:
        raise UsageError("the advisories are too large when unpacked", hint=_HINT)
    seen: set[str] = set()
    for member in members:
        if reason := _what_is_wrong(member, seen):
            raise UsageError(f"the archive holds {reason}: {shown(member.filename)}", hint=_HINT)
        seen.add(member.filename)
    return [member for member in members if _is_record(PurePosixPath(member.filename))]


def _is_record(path: PurePosixPath) -> bool:
    """Whether a file holds a record, by its name; a database has other YAML files beside its `vulns/`."""
    return path.suffix.lower() == ".json" or (path.suffix == ".yaml" and "vulns" in path.parts[:-1])


def _what_is_wrong(member: zipfile.ZipInfo, seen: set[str]) -> str:
    path = PurePosixPath(member.filename)
    mode = member.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or "\0" in member.orig_filename:
        return "a path that leads out of it"
    if member.filename in seen:
        return "two files of one name"
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        return "something that is no plain file"
    if member.flag_bits & 0x1:
        return "an encrypted file"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "a file of an unusual compression"
    return ""


def pack_folder(folder: Path, target: IO[bytes]) -> None:
    """Writes the records of a folder as a .zip that depends on nothing but their names and bytes; links are not followed.

    Raises:
        UsageError: too much, or something that cannot be read.
    """
    left = MOST_SOURCE_BYTES
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in _files_of(folder):
            name = path.relative_to(folder).as_posix()
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    content = file.read(_LONGEST_RECORD + 1)
            except OSError as error:
                raise UsageError(f"cannot read {shown(name)}: {error.strerror}", hint=_HINT) from error
            left -= len(content)
            if len(content) > _LONGEST_RECORD or left < 0:
                raise UsageError("the advisories are too large", hint=_HINT)
            archive.writestr(zipfile.ZipInfo(name), content)


def _files_of(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names)
        found += (
            path
            for path in paths
            if _is_record(PurePosixPath(path.relative_to(folder).as_posix())) and not path.is_symlink()
        )
        if len(found) > _MOST_MEMBERS:
            raise UsageError("the folder holds too many files", hint=_HINT)
    return sorted(found)
