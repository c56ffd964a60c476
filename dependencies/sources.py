"""Reads advisory records from a file, one by one and bounded: .json, .jsonl, .jsonl.gz and .zip.

It must never unpack to disk, and never take half of a damaged file for the whole of it.
"""

import gzip
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO

import orjson

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
_HINT = "give OSV records: one .json, a .jsonl or .jsonl.gz with one record a line, or a .zip of .json files"

_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, struct.error, zlib.error, zipfile.BadZipFile)
"""What gzip and zipfile raise for bytes that are not what they should be."""


class Unreadable:
    """Something in the place of a record that is not JSON."""


def read_records(file: IO[bytes], *, name: str) -> Iterator[object]:
    """Each record of the file as a JSON value, or `Unreadable` in its place.

    Raises:
        UsageError: the file as a whole is damaged, too large, or plays tricks; also after some records were given.
    """
    reader = _reader_for(name)
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
            yield _parse(text)


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The JSON files of an archive, after the whole table of contents was found harmless."""
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS or sum(member.file_size for member in members) > MOST_BYTES:
        raise UsageError("the advisories are too large when unpacked", hint=_HINT)
    seen: set[str] = set()
    for member in members:
        if reason := _what_is_wrong(member, seen):
            raise UsageError(f"the archive holds {reason}: {shown(member.filename)}", hint=_HINT)
        seen.add(member.filename)
    return [member for member in members if member.filename.lower().endswith(".json")]


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
