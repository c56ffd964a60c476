"""The loopback OSV endpoint, asked over real HTTP."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection

import httpx
import pytest

from custody.dependencies import AdvisoryStore
from custody.dependencies.endpoint import Endpoint, serve

Make = Callable[..., dict[str, object]]


@pytest.fixture
def endpoint(osv_record: Make, store_of: Callable[..., AdvisoryStore], now: datetime) -> Iterator[Endpoint]:
    opened = store_of(
        osv_record("X-1", "Jinja2", [{"introduced": "1"}, {"fixed": "2.0"}], aliases=["CVE-1"]),
        osv_record("X-2", "jinja2", [{"introduced": "0"}, {"fixed": "0.2.0-n653"}]),
        osv_record("X-3", "jinja2", withdrawn=now.isoformat()),
    ).open()
    assert opened is not None
    with serve(Endpoint(opened.index)) as served:
        yield served


def _query(name: str, version: str, ecosystem: str = "PyPI") -> dict[str, object]:
    return {"package": {"name": name, "ecosystem": ecosystem}, "version": version}


def test_an_answer_holds_canonical_names_and_sound_bounds_only(endpoint: Endpoint) -> None:
    answer = httpx.post(endpoint.url, json=_query("JINJA2", "1.5"))
    assert answer.status_code == 200
    first, second = answer.json()["vulns"]
    assert (first["id"], first["aliases"], second["id"]) == ("X-1", ["CVE-1"], "X-2")
    assert [item["affected"][0]["package"]["name"] for item in (first, second)] == ["jinja2", "jinja2"]
    assert first["affected"][0]["ranges"][0]["events"] == [{"introduced": "0"}, {"fixed": "2.0"}]
    assert second["affected"][0]["ranges"][0]["events"] == [{"introduced": "0"}]
    assert "next_page_token" not in answer.json()


def test_what_was_answered_is_remembered(endpoint: Endpoint) -> None:
    assert httpx.post(endpoint.url, json=_query("Six", "1.0RC1")).json() == {"vulns": []}
    assert endpoint.asked == {("six", "1.0rc1")}


@pytest.mark.parametrize(
    "query",
    [_query("six", "1.0", "npm"), _query("six", "one"), {"version": "1.0"}, {"package": "six"}, [], "six", None],
)
def test_what_is_no_query_is_refused_and_not_remembered(endpoint: Endpoint, query: object) -> None:
    assert httpx.post(endpoint.url, json=query).status_code == 400
    assert endpoint.asked == frozenset()


def test_without_the_token_there_is_nothing(endpoint: Endpoint) -> None:
    base = httpx.URL(endpoint.url)
    for path in ("/v1/query", "/x/v1/query", base.path + "/", "/"):
        assert httpx.post(base.copy_with(path=path), json=_query("jinja2", "1.5")).status_code == 404
    assert httpx.get(base).status_code == 501
    assert endpoint.asked == frozenset()


def test_a_query_without_a_sensible_length_is_refused(endpoint: Endpoint) -> None:
    url = httpx.URL(endpoint.url)
    for length in ("-1", "many", str(10**9)):
        with closing(HTTPConnection(url.host, url.port)) as connection:
            connection.request("POST", url.path, headers={"Content-Length": length})
            assert connection.getresponse().status == 400


def test_an_index_that_fails_is_no_clean_answer(endpoint: Endpoint) -> None:
    connection: sqlite3.Connection = endpoint._index._connection
    connection.close()
    assert httpx.post(endpoint.url, json=_query("jinja2", "1.5")).status_code == 503
    assert endpoint.asked == frozenset()


def test_it_listens_on_loopback_only(endpoint: Endpoint) -> None:
    assert httpx.URL(endpoint.url).host == "127.0.0.1"
