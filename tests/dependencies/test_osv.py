"""Reading OSV records: what is kept, and that nothing is dropped without a trace."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.dependencies.osv import Foreign, Quarantined, Record, read_record, version_key
from custody.dependencies.severity import Rating
from custody.dependencies.types import Severity

Make = Callable[..., dict[str, object]]
_VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
_EMPTY_RANGE = [{"type": "ECOSYSTEM", "events": [{}]}]


def _affected(**entry: object) -> list[dict[str, object]]:
    return [{"package": {"ecosystem": "PyPI", "name": "six"}, **entry}]


def test_a_record_is_read_with_what_matters(osv_record: Make) -> None:
    value = osv_record(
        "PYSEC-2026-1",
        "Zope.Interface",
        aliases=["CVE-2026-1", "PYSEC-2026-1"],
        details="first line\nsecond line",
        summary=None,
        severity=[{"type": "CVSS_V3", "score": _VECTOR}],
    )
    record = read_record(value)
    assert isinstance(record, Record)
    assert (record.aliases, record.summary, record.withdrawn) == (("CVE-2026-1",), "first line", False)
    assert record.rating == Rating(Severity.CRITICAL, "cvss3")
    assert [extent.package for extent in record.extents] == ["zope-interface"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "no usable `id`"),
        ({"id": "x" * 200}, "no usable `id`"),
        ({"id": "a/../b"}, "no usable `id`"),
        ({"schema_version": "2.0.0"}, "a schema version other than 1"),
        ({"affected": None}, "nothing is said to be affected"),
        ({"affected": "six"}, "`affected` is not a list of objects"),
        ({"affected": [{}]}, "an affected entry without a package"),
        ({"affected": [{"package": {"name": "six"}}]}, "an affected entry without an ecosystem"),
        ({"affected": [{"package": {"ecosystem": "PyPI", "name": "s i x"}}]}, "an unusable package name"),
        ({"affected": _affected(versions=[1])}, "`versions` is not a list of texts"),
        ({"affected": _affected(versions=["1" * 500])}, "too many or too long versions"),
        ({"affected": _affected(ranges=[1])}, "`ranges` is not a list of objects"),
        ({"aliases": "CVE-1"}, "`aliases` is not a list of texts"),
    ],
)
def test_a_broken_record_is_quarantined_with_its_reason(
    osv_record: Make, fields: dict[str, object], reason: str
) -> None:
    found = read_record({**osv_record("X-1", "six"), **fields})
    assert isinstance(found, Quarantined)
    assert found.reason == reason


def test_a_quarantined_record_still_names_the_packages_that_it_seems_to_be_about(osv_record: Make) -> None:
    found = read_record(osv_record("X-1", "Six", schema_version="2.0.0"))
    assert found == Quarantined("X-1", "a schema version other than 1", ("six",))


@pytest.mark.parametrize(
    ("affected", "problem"),
    [
        (_affected(), "the advisory gives neither versions nor ranges"),
        (
            _affected(ranges=[{"type": "GIT", "events": [{"introduced": "0"}]}]),
            "the advisory gives neither versions nor ranges",
        ),
        (_affected(ranges=_EMPTY_RANGE), "a range has an empty event"),
        (_affected(ranges=[{"type": "ECOSYSTEM", "events": []}]), "a range without events"),
        (_affected(ranges=[{"type": "OTHER", "events": []}]), "a range of an unknown type"),
        (_affected(ranges=[{"type": "ECOSYSTEM", "events": [{"fixed": "1"}]}]), "a range does not say where it begins"),
        (
            _affected(ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.2.0-n653"}]}]),
            "a range has a bound that is not a version (PEP 440)",
        ),
    ],
)
def test_an_extent_that_cannot_be_judged_says_so(
    osv_record: Make, affected: list[dict[str, object]], problem: str
) -> None:
    record = read_record(osv_record("X-1", "six", affected=affected))
    assert isinstance(record, Record)
    assert [extent.unevaluable for extent in record.extents] == [problem]


def test_entries_about_one_package_are_one_extent(osv_record: Make) -> None:
    affected = [*_affected(versions=["1.0"]), *_affected(versions=["2.0.0", "not-a-version"])]
    record = read_record(osv_record("X-1", "six", affected=affected))
    assert isinstance(record, Record)
    assert [extent.versions for extent in record.extents] == [("1", "2", "not-a-version")]


def test_a_record_about_another_ecosystem_is_foreign(osv_record: Make) -> None:
    affected = [{"package": {"ecosystem": "npm", "name": "six"}, "versions": ["1"]}]
    assert isinstance(read_record(osv_record("X-1", "six", affected=affected)), Foreign)


def test_a_time_without_sense_is_no_time(osv_record: Make) -> None:
    for time in ("0001-01-01T00:00:00Z", "soon", 5, None):
        record = read_record(osv_record("X-1", "six", modified=time))
        assert isinstance(record, Record)
        assert record.modified is None


@pytest.mark.parametrize(("identity", "aliases"), [("MAL-2026-1", []), ("X-1", ["mal-2026-1"])])
def test_malware_ids_are_seen(osv_record: Make, identity: str, aliases: list[str]) -> None:
    record = read_record(osv_record(identity, "six", aliases=aliases))
    assert isinstance(record, Record)
    assert record.malicious


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "1"), ("1.0.0RC1", "1rc1"), ("v2.0.post1", "2-1"), ("1!3.0", "1!3.0.0"), ("0", "0.0"), ("007", "7")],
)
def test_spellings_of_one_version_have_one_key(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["PyPI", "six", "ECOSYSTEM", "0", "1.0", "X-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "id",
                        "affected",
                        "package",
                        "name",
                        "ecosystem",
                        "ranges",
                        "type",
                        "events",
                        "introduced",
                        "fixed",
                    ),
                    *(
                        "versions",
                        "aliases",
                        "severity",
                        "score",
                        "database_specific",
                        "modified",
                        "summary",
                        "withdrawn",
                    ),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None)  # a busy machine is no fault
@given(_JSON)
def test_any_json_is_a_record_or_quarantined_or_foreign(value: object) -> None:
    assert isinstance(read_record(value), Record | Quarantined | Foreign)


@settings(deadline=None)  # a busy machine is no fault
@given(
    _JSON,
    st.sampled_from(["affected", "aliases", "severity", "modified", "database_specific", "summary", "schema_version"]),
)
def test_any_json_in_one_field_is_survived(value: object, field: str) -> None:
    record = {"id": "X-1", "affected": _affected(versions=["1"]), field: value}
    assert isinstance(read_record(record), Record | Quarantined | Foreign)
