"""Reading files of advisories: four kinds of file, bounded, and damaged ones refused as a whole."""

import gzip
import io
import json
import stat
import zipfile
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.dependencies import sources
from custody.dependencies.sources import Unreadable, read_records
from custody.errors import UsageError


def _zip(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _read(content: bytes, name: str) -> list[object]:
    return list(read_records(io.BytesIO(content), name=name))


_ONE = {"id": "A"}
_LINES = b'{"id": "A"}\n\n{"id": "B"}'


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("one.json", json.dumps(_ONE).encode(), 1),
        ("many.JSON", json.dumps([_ONE, _ONE]).encode(), 2),
        ("lines.jsonl", _LINES, 2),
        ("lines.jsonl.gz", gzip.compress(_LINES), 2),
        ("all.zip", _zip({"A.json": b'{"id": "A"}', "sub/B.json": b'{"id": "A"}', "README.md": b"not a record"}), 2),
    ],
)
def test_each_kind_of_file_gives_its_records(name: str, content: bytes, count: int) -> None:
    found = _read(content, name)
    assert len(found) == count
    assert found[0] == _ONE


def test_yaml_below_vulns_is_read_without_types() -> None:
    """A version that looks like a number stays a text, a time stays a text, and nothing is nothing."""
    text = b"id: X-1\nmodified: 2026-01-02T03:04:05Z\nwithdrawn: null\nsummary: ~\nversions: [1.10, 'a', yes]\n"
    files = {
        "db/vulns/six/X-1.yaml": text,
        "db/.github/other.yaml": b"a: 1",
        "db/vulns/x.yaml": b"a: [",
        "db/vulns/y.yaml": b"[" * 9999,
    }
    first, second, third = _read(_zip(files), "db.zip")
    assert first == {"id": "X-1", "modified": "2026-01-02T03:04:05Z", "versions": ["1.10", "a", "yes"]}
    assert isinstance(second, Unreadable)
    assert isinstance(third, Unreadable)


def test_yaml_makes_no_objects_and_its_references_do_not_multiply() -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 110)
    )
    for text in (b"!!python/object/apply:os.system ['false']", b"a: !!python/name:os.system", bomb, b"&a [*a]"):
        assert len(_read(_zip({"vulns/X.yaml": text}), "db.zip")) == 1


def test_what_is_not_json_is_said_in_its_place() -> None:
    for name, content in (("a.jsonl", b"{}\n{broken\n"), ("a.zip", _zip({"1.json": b"{}", "2.json": b"<html>"}))):
        first, second = _read(content, name)
        assert first == {}
        assert isinstance(second, Unreadable)


@pytest.mark.parametrize("name", ["advisories", "advisories.tar", "advisories.yaml", "advisories.gz"])
def test_an_unknown_kind_of_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no kind of file that holds advisories"):
        _read(b"{}", name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(_LINES * 1000)[:-20]),
        ("a.jsonl.gz", b"not gzip"),
        ("a.jsonl.gz", gzip.compress(_LINES)[:-8] + b"\0" * 8),
        ("a.zip", b"PK not a zip"),
        ("a.zip", _zip({"A.json": b"{}"})[:-30]),
        ("a.zip", _zip({"A.json": b'{"id": "A"}'}, zipfile.ZIP_STORED).replace(b'{"id": "A"}', b'{"id": "X"}')),
        ("a.json", b"{"),
        ("a.json", b"[" * 100_000),
    ],
)
def test_a_damaged_file_is_refused_as_a_whole(name: str, content: bytes) -> None:
    with pytest.raises(UsageError):
        _read(content, name)


def _info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (_info("../A.json", 0), "a path that leads out of it"),
        (_info("a/../../A.json", 0), "a path that leads out of it"),
        (_info("/etc/A.json", 0), "a path that leads out of it"),
        (_info("..\\A.json", 0), "a path that leads out of it"),
        (_info("link.json", stat.S_IFLNK | 0o777), "something that is no plain file"),
        (_info("pipe.json", stat.S_IFIFO | 0o600), "something that is no plain file"),
    ],
)
def test_an_archive_that_plays_tricks_with_paths_is_refused(info: zipfile.ZipInfo, reason: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("good.json", "{}")
        archive.writestr(info, "{}")
    with pytest.raises(UsageError, match=reason):
        _read(packed.getvalue(), "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("A.json", "{}")
        archive.writestr("A.json", "[]")
    with pytest.raises(UsageError, match="two files of one name"):
        _read(packed.getvalue(), "a.zip")


def test_unusual_compressions_are_refused() -> None:
    with pytest.raises(UsageError, match="unusual compression"):
        _read(_zip({"A.json": b"{}"}, zipfile.ZIP_LZMA), "a.zip")


def test_a_bomb_is_refused_before_it_fills_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", 100_000)
    monkeypatch.setattr(sources, "_LONGEST_RECORD", 50_000)
    bombs = {
        "a.zip": _zip({"A.json": b" " * 60_000}),
        "b.zip": _zip({f"{n}.json": b" " * 30_000 for n in range(5)}),
        "c.jsonl.gz": gzip.compress(b" " * 60_000),
        "d.jsonl.gz": gzip.compress((b" " * 30_000 + b"\n") * 5),
    }
    for name, content in bombs.items():
        with pytest.raises(UsageError, match="too large when unpacked"):
            _read(content, name)


def test_an_archive_that_lies_about_its_sizes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", 100_000)
    honest = _zip({"A.json": b" " * 200_000})
    lying = honest.replace((200_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(UsageError):
        _read(lying, "a.zip")


def _mutations(content: bytes) -> Iterator[bytes]:
    for at in range(len(content)):
        yield content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def test_no_single_broken_byte_in_a_zip_ends_in_a_traceback() -> None:
    for mutated in _mutations(_zip({"A.json": b'{"id": "A"}'})):
        try:
            _read(mutated, "a.zip")
        except UsageError:
            continue


@settings(deadline=None)  # a busy machine is no fault
@given(st.binary(max_size=300), st.sampled_from(["a.json", "a.jsonl", "a.jsonl.gz", "a.zip"]))
def test_any_bytes_are_records_or_a_usage_error(content: bytes, name: str) -> None:
    try:
        _read(content, name)
    except UsageError:
        return
