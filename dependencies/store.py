"""The advisory store: imported indexes with their identity, the newest of them in use, the last three kept.

It must never change an index in place, never let a failed import touch the one in use, and never let demo data
take the place of real data.
"""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple

import orjson
from packaging.version import Version

from ..errors import CustodyError, DependencyError, UsageError
from .index import AdvisoryIndex, Built, build_index
from .osv import Extent, Foreign, Quarantined, Record, is_version, read_record
from .quoting import shown
from .sources import MOST_SOURCE_BYTES, Unreadable, pack_folder, read_records
from .types import AdvisoryData, DataClass

Reading = Callable[[], AbstractContextManager[None]]
"""Gives this process the rights of whoever named a file, for as long as it is opened."""
_KEPT = 3
_CANARIES = 5
_SHRINKAGE = 0.02
CLOCK_SKEW = timedelta(hours=1)
"""By how much clocks may differ before the data is from the future."""
_DEMO = Path(__file__).parent / "demo" / "advisories.json"
_HINT = "import advisory data again: `custody advisories import FILE`"


@dataclass(frozen=True, slots=True)
class OpenData:
    """The index in use, its digest checked."""

    data: AdvisoryData
    index: AdvisoryIndex
    shrunk_from: int
    """Number of records of the import before, if this one lost more than it should; else 0."""


class _Pointer(NamedTuple):
    """What the file `current.json` says."""

    generation: str
    index_sha256: str
    data: AdvisoryData
    shrunk_from: int


class AdvisoryStore:
    """Advisory data on disk.

    Args:
        folder: a directory of ours; made with mode 0700 when something is imported.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def import_file(
        self, path: Path, *, data_class: DataClass, now: datetime, reading: Reading = nullcontext
    ) -> AdvisoryData:
        """Makes the OSV records of a file, or of a folder of files, the data in use; it is opened inside `reading`.

        Raises:
            UsageError: no such file, a damaged or hostile one, or none that holds a usable PyPI record. Nothing changes.
            DependencyError: the new index fails its self-test. Nothing changes.
        """
        if data_class is DataClass.LIVE:
            raise UsageError("data from a file is never of class `live`", hint="import it as `imported`")
        with _failing_as_ours(), self._gathered(path, reading) as staging, (staging / "source").open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            with reading():
                name, packed = Path(os.path.realpath(path)).name, _is_folder(path)
            records = _records(source, name, kind=f"{name}.zip" if packed else name)
            return self._install(records, staging, name, sha256, data_class, now)

    @contextmanager
    def _gathered(self, path: Path, reading: Reading) -> Iterator[Path]:
        """A staging directory with our own copy in `source`: the bytes that are named are the bytes that are imported."""
        with reading():
            given = None if _is_folder(path) else _opened(path)
        if given is None:
            with self._locked(), self._staging() as staging:
                with (staging / "source").open("wb") as target, reading():
                    pack_folder(path, target)
                yield staging
        else:
            with given, self._locked(), self._staging() as staging:
                with (staging / "source").open("wb") as target:
                    _copy(given, target)
                yield staging

    def import_demo(self, *, now: datetime) -> AdvisoryData:
        """Makes the shipped demo records the data in use; refused where real data is.

        Raises:
            UsageError: data of another class is in use.
        """
        current = self.current()
        if current is not None and current.data_class is not DataClass.DEMO:
            raise UsageError(
                f"demo data cannot take the place of data of class `{current.data_class}`",
                hint="use another home for a demo: `custody demo` makes its own",
            )
        return self.import_file(_DEMO, data_class=DataClass.DEMO, now=now)

    def current(self) -> AdvisoryData | None:
        """Identity and age of the data in use; None without any.

        Raises:
            DependencyError: the data in use is not what was imported.
        """
        opened = self.open()
        return opened.data if opened is not None else None

    def open(self, before: OpenData | None = None) -> OpenData | None:
        """The data in use, its index open and its digest checked; None without any.

        Args:
            before: what was opened last; given back if it is still in use, as it is read from memory.

        Raises:
            DependencyError: the data in use is not what was imported.
        """
        pointer = self._pointer()
        if pointer is None:
            return None
        if before is not None and (before.data, before.index.sha256) == (pointer.data, pointer.index_sha256):
            return before
        index = AdvisoryIndex(self._generations / pointer.generation / "index.sqlite", sha256=pointer.index_sha256)
        return OpenData(pointer.data, index, pointer.shrunk_from)

    @property
    def _generations(self) -> Path:
        return self.folder / "generations"

    def _pointer(self) -> _Pointer | None:
        try:
            text = (self.folder / "current.json").read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DependencyError("the advisory store cannot be read", hint=_HINT) from error
        try:
            return _read_pointer(orjson.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise DependencyError("the advisory store does not say which data is in use", hint=_HINT) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One import at a time."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "import.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """A directory beside the generations, gone afterwards whatever happened; also those of imports that died."""
        for left in self.folder.glob("staging-*"):
            shutil.rmtree(left)
        staging = Path(tempfile.mkdtemp(prefix="staging-", dir=self.folder))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _install(
        self,
        records: Iterator[Record | Quarantined],
        staging: Path,
        name: str,
        sha256: str,
        data_class: DataClass,
        now: datetime,
    ) -> AdvisoryData:
        built_in = staging / "generation"
        built_in.mkdir(mode=0o700)
        built = build_index(built_in / "index.sqlite", records)
        if built.as_of is None or not _self_test(AdvisoryIndex(built_in / "index.sqlite", sha256=built.sha256)):
            raise UsageError(
                f"{shown(name)} holds no usable advisory about a package of PyPI", hint="give records in the OSV format"
            )
        if built.as_of > now + CLOCK_SKEW:
            raise UsageError(
                "the advisories are newer than the clock of this machine", hint="set the clock, then import again"
            )
        data = AdvisoryData(
            data_class=data_class,
            sha256=sha256,
            source=name,
            as_of=built.as_of,
            imported_at=now,
            records=built.records,
            quarantined=built.quarantined,
        )
        self._swap(built_in, built, data)
        return data

    def _swap(self, built_in: Path, built: Built, data: AdvisoryData) -> None:
        """Puts a finished generation in use: readers see the one before or this one, never half of either."""
        shrunk_from = self._shrunk_from(data)
        self._generations.mkdir(mode=0o700, exist_ok=True)
        number = max((int(found.name.split("-")[0]) for found in self._generations.iterdir()), default=0) + 1
        generation = f"{number:06d}-{built.sha256[:16]}"
        _sync(built_in / "index.sqlite")
        built_in.rename(self._generations / generation)
        _sync(self._generations)
        pointer = {
            "generation": generation,
            "index_sha256": built.sha256,
            "data": {**asdict(data), "as_of": data.as_of.isoformat(), "imported_at": data.imported_at.isoformat()},
            "shrunk_from": shrunk_from,
        }
        new = self.folder / "current.json.new"
        new.write_bytes(orjson.dumps(pointer, option=orjson.OPT_INDENT_2))
        _sync(new)
        new.replace(self.folder / "current.json")
        _sync(self.folder)
        for old in sorted(self._generations.iterdir())[:-_KEPT]:
            shutil.rmtree(old)

    def _shrunk_from(self, data: AdvisoryData) -> int:
        """How many records the data before had, if this has lost more than a fiftieth of them and was not given twice."""
        try:
            before = self._pointer()
        except CustodyError:
            return 0  # a damaged store is mended by an import; there is nothing left to compare with
        if before is None or before.data.data_class is not data.data_class:
            return 0
        if before.data.sha256 == data.sha256:
            return 0  # the same file again: somebody looked and means it
        allowed = before.data.records * (1 - _SHRINKAGE)
        return before.data.records if data.records < allowed else 0


def _read_pointer(value: dict[str, object]) -> _Pointer:
    data = value["data"]
    if not isinstance(data, dict) or not isinstance(value["shrunk_from"], int):
        raise TypeError("not a pointer")
    generation = str(value["generation"])
    if "/" in generation or generation.startswith("."):
        raise ValueError("not a generation")
    return _Pointer(
        generation=generation,
        index_sha256=str(value["index_sha256"]),
        data=AdvisoryData(
            data_class=DataClass(data["data_class"]),
            sha256=str(data["sha256"]),
            source=str(data["source"]),
            as_of=datetime.fromisoformat(data["as_of"]),
            imported_at=datetime.fromisoformat(data["imported_at"]),
            records=int(data["records"]),
            quarantined=int(data["quarantined"]),
        ),
        shrunk_from=value["shrunk_from"],
    )


@contextmanager
def _failing_as_ours() -> Iterator[None]:
    """What the disk and SQLite complain of, as an error of ours."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DependencyError(
            f"the advisory store cannot be written: {reason}", hint="look at its disk and its owner"
        ) from error


def _is_folder(path: Path) -> bool:
    """False, too, for what the caller may not look at; opening it says why."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises there


def _opened(path: Path) -> IO[bytes]:
    hint = "give a file of OSV records: .json, .jsonl, .jsonl.gz or .zip"
    try:
        # not blocking: a named pipe must not hold us
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot read {shown(str(path))}: {error.strerror}", hint=hint) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"not a file: {shown(str(path))}", hint=hint)
    return os.fdopen(descriptor, "rb")


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    left = MOST_SOURCE_BYTES
    while block := source.read(1024 * 1024):
        left -= len(block)
        if left < 0:
            raise UsageError(
                "the file of advisories is too large", hint=f"at most {MOST_SOURCE_BYTES // 1024 // 1024} MiB are taken"
            )
        target.write(block)


def _records(source: IO[bytes], name: str, *, kind: str) -> Iterator[Record | Quarantined]:
    for value in read_records(source, name=name, kind=kind):
        record = Quarantined("", "not JSON") if isinstance(value, Unreadable) else read_record(value)
        if not isinstance(record, Foreign):
            yield record


def _self_test(index: AdvisoryIndex) -> bool:
    """Whether there is an advisory to find; a few of the index's own must be found by a version that they name."""
    tested = 0
    for identity, extent in index.samples(_CANARIES * 20):
        version = _affected_version(extent)
        if version is None:
            continue
        if identity not in {match.id for match in index.matches(extent.package, version)}:
            raise DependencyError(
                f"the new advisory index does not find its own advisory {shown(identity)}", hint=_HINT
            )
        tested += 1
        if tested == _CANARIES:
            break
    return tested > 0


def _affected_version(extent: Extent) -> str | None:
    """A version that the extent names as affected; any will do where it cannot be judged."""
    for version in extent.versions:
        if is_version(version):
            return version
    for bounds in extent.ranges:
        ends = [Version(bound.version) for bound in bounds if bound.kind in {"fixed", "limit"}]
        for bound in bounds:
            if bound.kind == "last_affected" or (bound.kind == "introduced" and Version(bound.version) not in ends):
                return bound.version
    return "1.0" if extent.unevaluable else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
