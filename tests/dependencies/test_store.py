"""Importing advisory data: validated, tested, swapped as a whole; a failed import changes nothing."""

import json
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from custody.dependencies import AdvisoryStore
from custody.dependencies.index import AdvisoryIndex
from custody.dependencies.store import OpenData
from custody.dependencies.types import DataClass
from custody.errors import DependencyError, Exit, UsageError

Make = Callable[..., dict[str, object]]
StoreOf = Callable[..., AdvisoryStore]


def _open(store: AdvisoryStore) -> OpenData:
    opened = store.open()
    assert opened is not None
    return opened


def _found(store: AdvisoryStore, package: str, version: str) -> list[str]:
    return [match.id for match in _open(store).index.matches(package, version)]


def test_an_import_says_what_it_took(osv_record: Make, store_of: StoreOf, tmp_path: Path, now: datetime) -> None:
    foreign = {"id": "X-3", "affected": [{"package": {"ecosystem": "npm", "name": "six"}}]}
    store = store_of(osv_record("X-1", "Six"), osv_record("X-2", "six", schema_version="9"), foreign)
    data = store.current()
    assert data is not None
    assert (data.data_class, data.source, data.as_of, data.imported_at) == (DataClass.IMPORTED, "source.json", now, now)
    assert (data.records, data.quarantined) == (1, 1)
    assert _found(store, "six", "1.0") == ["X-1"]
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert not list(store.folder.glob("staging-*"))


def test_an_empty_store_has_no_data(tmp_path: Path) -> None:
    store = AdvisoryStore(tmp_path / "none")
    assert store.current() is None
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "[1, 2]", "not json", '[{"id": "X-1", "affected": [{"package": {"ecosystem": "npm", "name": "a"}}]}]'],
)
def test_an_import_without_a_usable_record_changes_nothing(
    osv_record: Make, store_of: StoreOf, tmp_path: Path, now: datetime, content: str
) -> None:
    store = store_of(osv_record("X-1", "six"))
    before = store.current()
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    with pytest.raises(UsageError) as refused:
        store.import_file(bad, data_class=DataClass.IMPORTED, now=now + timedelta(days=1))
    assert refused.value.exit_code is Exit.USAGE
    assert store.current() == before
    assert not list(store.folder.glob("staging-*"))


def test_what_is_no_file_is_refused(tmp_path: Path, now: datetime) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (tmp_path / "absent.json", pipe, Path("/dev/null")):
        with pytest.raises(UsageError):
            AdvisoryStore(tmp_path / "store").import_file(path, data_class=DataClass.IMPORTED, now=now)
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_one_sentence(osv_record: Make, store_of: StoreOf, tmp_path: Path) -> None:
    (tmp_path / "advisories").write_text("a file")
    with pytest.raises(DependencyError, match="the advisory store cannot be written: File exists"):
        store_of(osv_record("X-1", "six"))


def test_a_folder_is_taken_like_an_archive_of_it(osv_record: Make, tmp_path: Path, now: datetime) -> None:
    """The folder of a database has other files too, hidden ones, and links that lead out of it."""
    checkout = tmp_path / "database.git"
    (checkout / "vulns" / "six").mkdir(parents=True)
    (checkout / ".github" / "vulns").mkdir(parents=True)
    (checkout / "vulns" / "six" / "X-1.yaml").write_text(yaml.safe_dump(osv_record("X-1", "six", withdrawn=None)))
    (checkout / "X-2.json").write_text(json.dumps(osv_record("X-2", "six")))
    (checkout / ".github" / "vulns" / "X-3.yaml").write_text("not: a record")
    (checkout / "README.yaml").write_text("not: a record")
    (checkout / "vulns" / "X-4.json").symlink_to("/etc/hostname")
    (checkout / "vulns" / "pipe.txt").touch()
    store = AdvisoryStore(tmp_path / "store")
    data = store.import_file(checkout, data_class=DataClass.IMPORTED, now=now)
    assert (data.source, data.records, data.quarantined) == ("database.git", 2, 0)
    assert _found(store, "six", "1.0") == ["X-1", "X-2"]
    os.utime(checkout / "X-2.json", (0, 0))
    assert store.import_file(checkout, data_class=DataClass.IMPORTED, now=now).sha256 == data.sha256


def test_an_empty_folder_holds_no_advisory(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="`empty` holds no usable advisory"):
        AdvisoryStore(tmp_path / "store").import_file(tmp_path / "empty", data_class=DataClass.IMPORTED, now=now)


def test_a_file_is_never_live_data(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(UsageError, match="never of class `live`"):
        AdvisoryStore(tmp_path).import_file(tmp_path / "x.json", data_class=DataClass.LIVE, now=now)


def test_data_from_the_future_is_refused(osv_record: Make, store_of: StoreOf, now: datetime) -> None:
    with pytest.raises(UsageError, match="newer than the clock"):
        store_of(osv_record("X-1", "six", modified=(now + timedelta(days=2)).isoformat()))


def test_the_last_three_imports_are_kept(osv_record: Make, store_of: StoreOf) -> None:
    for version in range(1, 6):
        store = store_of(osv_record("X-1", "six", [{"introduced": str(version)}]))
    assert len(list((store.folder / "generations").iterdir())) == 3
    assert _found(store, "six", "5.0") == ["X-1"]
    assert _found(store, "six", "4.0") == []


def test_an_index_that_was_changed_is_not_opened(osv_record: Make, store_of: StoreOf) -> None:
    store = store_of(osv_record("X-1", "six"))
    [index] = store.folder.glob("generations/*/index.sqlite")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    with pytest.raises(DependencyError, match="its digest is wrong"):
        store.current()
    index.unlink()
    with pytest.raises(DependencyError, match="cannot be read"):
        store.current()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"generation": "../x", "index_sha256": "", "data": {}, "shrunk_from": 0}']
)
def test_a_damaged_pointer_is_an_error_and_an_import_mends_it(osv_record: Make, store_of: StoreOf, text: str) -> None:
    store = store_of(osv_record("X-1", "six"))
    (store.folder / "current.json").write_text(text)
    with pytest.raises(DependencyError, match="does not say which data is in use"):
        store.current()
    assert store_of(osv_record("X-1", "six")).current() is not None


def test_what_was_opened_stays_as_it_was_when_the_next_import_comes(osv_record: Make, store_of: StoreOf) -> None:
    opened = _open(store_of(osv_record("X-1", "six")))
    for _ in range(4):
        store_of(osv_record("X-2", "other"))
    assert [match.id for match in opened.index.matches("six", "1.0")] == ["X-1"]


def test_two_imports_at_once_both_end_and_one_is_in_use(osv_record: Make, tmp_path: Path, now: datetime) -> None:
    paths = [tmp_path / f"{n}.json" for n in range(4)]
    for n, path in enumerate(paths):
        path.write_text(json.dumps(osv_record(f"X-{n}", "six")))
    stores = [AdvisoryStore(tmp_path / "store") for _ in paths]
    threads = [
        threading.Thread(target=store.import_file, args=(path,), kwargs={"data_class": DataClass.IMPORTED, "now": now})
        for store, path in zip(stores, paths, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _found(stores[0], "six", "1.0") in [[f"X-{n}"] for n in range(4)]
    assert len(list((tmp_path / "store" / "generations").iterdir())) == 3


def test_an_index_that_does_not_find_its_own_advisories_is_not_used(
    osv_record: Make, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(osv_record("X-1", "six"))
    with monkeypatch.context() as patch:
        patch.setattr(AdvisoryIndex, "matches", lambda *_: ())
        with pytest.raises(DependencyError, match="does not find its own advisory `X-2`"):
            store_of(osv_record("X-2", "six"))
    assert _found(store, "six", "1.0") == ["X-1"]


def test_data_that_shrank_is_marked_until_the_same_file_is_given_again(osv_record: Make, store_of: StoreOf) -> None:
    many = [osv_record(f"X-{n}", "six") for n in range(100)]
    assert _open(store_of(*many)).shrunk_from == 0
    assert _open(store_of(*many[:98])).shrunk_from == 0
    assert _open(store_of(*many[:90])).shrunk_from == 98
    assert _open(store_of(*many[:90])).shrunk_from == 0


def test_the_second_of_two_records_with_one_id_makes_its_packages_undetermined(
    osv_record: Make, store_of: StoreOf
) -> None:
    store = store_of(osv_record("X-1", "six"), osv_record("X-1", "six"), osv_record("X-1", "attrs"))
    opened = _open(store)
    assert (opened.data.records, opened.data.quarantined) == (1, 1)
    assert opened.index.quarantined("attrs") == ("X-1: a second record of this id",)


def test_withdrawn_advisories_are_left_out(osv_record: Make, store_of: StoreOf, now: datetime) -> None:
    store = store_of(osv_record("X-1", "six"), osv_record("X-2", "six", withdrawn=now.isoformat()))
    assert _found(store, "six", "1.0") == ["X-1"]


def test_the_score_of_an_alias_serves_a_record_without_one(osv_record: Make, store_of: StoreOf) -> None:
    score = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]
    store = store_of(
        osv_record("PYSEC-1", "six", aliases=["GHSA-1"]),
        osv_record("GHSA-1", "six", [{"introduced": "9"}], severity=score),
    )
    [match] = _open(store).index.matches("six", "1.0")
    assert match.rating == ("high", "alias_cvss3")


def test_the_demo_data_holds_old_pins_vulnerable_and_new_ones_clean(tmp_path: Path, now: datetime) -> None:
    store = AdvisoryStore(tmp_path / "store")
    data = store.import_demo(now=now)
    assert (data.data_class, data.quarantined) == (DataClass.DEMO, 0)
    assert data.records == 12
    index = _open(store).index
    for package, version in (("urllib3", "1.26.4"), ("jinja2", "2.10"), ("pyyaml", "5.3"), ("requests", "2.19.0")):
        assert {match.rating.severity for match in index.matches(package, version)} & {"high", "critical"}
    for package, version in (("urllib3", "2.8.0"), ("jinja2", "3.1.6"), ("six", "1.17.0"), ("tabulate", "0.9.0")):
        assert index.matches(package, version) == ()


def test_demo_data_never_takes_the_place_of_real_data(osv_record: Make, store_of: StoreOf, now: datetime) -> None:
    store = store_of(osv_record("X-1", "six"))
    with pytest.raises(UsageError, match="cannot take the place of data of class `imported`"):
        store.import_demo(now=now)
    assert _found(store, "six", "1.0") == ["X-1"]
