"""The latest versions as an index says them, and `unknown` with a reason for everything that an index can do wrong."""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from custody.dependencies import check_freshness
from custody.dependencies.types import Freshness
from tests.conftest import OwnAuthority

Reply = tuple[int, Mapping[str, str], bytes]
Serve = Callable[[Callable[[str, bytes], Reply]], str]
_JSON = {"Content-Type": "application/vnd.pypi.simple.v1+json"}


def _page(name: str, *versions: str, yanked: Mapping[str, object] | None = None, **fields: object) -> dict[str, object]:
    files = [
        {
            "filename": f"{name}-{version}{end}",
            "url": f"/{version}",
            "hashes": {},
            "yanked": (yanked or {}).get(version + end, False),
        }
        for version in versions
        for end in ("-py3-none-any.whl", ".tar.gz")
    ]
    return {"meta": {"api-version": "1.1"}, "name": name, "files": files, "versions": list(versions), **fields}


def _ask(
    serve: Serve, reply: Reply | dict[str, object], now: datetime, *, used: str = "1.0", seconds: float = 10
) -> Freshness:
    answer = (200, _JSON, json.dumps(reply).encode()) if isinstance(reply, dict) else reply
    address = serve(lambda _path, _body: answer)
    [found] = check_freshness([("six", used)], index_url=address, now=now, timeout_seconds=seconds)
    assert (found.name, found.used, found.as_of) == ("six", used, now)
    return found


def test_the_latest_is_the_newest_final_version_that_is_not_yanked(serve: Serve, now: datetime) -> None:
    """Versions come unsorted, and one file of a release may be yanked while the release is not."""
    gone = {"3.0-py3-none-any.whl": "broken", "3.0.tar.gz": True, "2.10.tar.gz": "broken"}
    found = _ask(serve, _page("six", "2.9", "3.0", "2.10", "4.0rc1", "1.0", yanked=gone), now)
    assert (found.latest, found.reason, found.yanked) == ("2.10", "", False)


def test_a_yanked_version_in_use_is_said(serve: Serve, now: datetime) -> None:
    gone = {"1.0-py3-none-any.whl": "broken", "1.0.tar.gz": "broken"}
    found = _ask(serve, _page("six", "1.0", "1.1", yanked=gone), now)
    assert (found.latest, found.yanked) == ("1.1", True)


def test_a_version_that_vanished_is_not_said_to_be_fine(serve: Serve, now: datetime) -> None:
    found = _ask(serve, _page("six", "1.1"), now)
    assert (found.latest, found.yanked) == ("1.1", None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((404, {}, b""), "the index answers with status 404"),
        ((429, {"Retry-After": "3600"}, b""), "the index answers with status 429"),
        ((500, {}, b""), "the index answers with status 500"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "the index does not answer in JSON but in `text/html`"),
        ((200, {}, b"{}"), "the index does not answer in JSON but in `nothing`"),
        ((200, _JSON, b"<html>"), "the index's answer cannot be read"),
        ((200, _JSON, b"[]"), "the index's answer cannot be read"),
        ((200, _JSON, b'{"files": 5}'), "the index's answer cannot be read"),
        ((200, {**_JSON, "Content-Length": "500"}, b'{"files": ['), "the index cannot be asked"),
        ((302, {"Location": "/again"}, b""), "the index cannot be asked"),
        (_page("six"), "the index lists no versions"),
        (_page("six", "1.0rc1", "2.0.dev3"), "the index lists only pre-releases"),
        (
            _page("six", "1", yanked={"1-py3-none-any.whl": True, "1.tar.gz": True}),
            "the index lists only yanked versions",
        ),
        (_page("seven", "2.0"), "the index answers about `seven` instead"),
        (_page("six", "0.9"), "the index knows nothing as new as the version in use"),
        (_page("six", "2.0", meta={"api-version": "2.0"}), "the index speaks a newer version of its protocol"),
    ],
)
def test_an_index_without_an_answer_leaves_it_unknown(
    serve: Serve, now: datetime, reply: Reply | dict[str, object], reason: str
) -> None:
    found = _ask(serve, reply, now)
    assert found.latest is None
    assert found.reason.startswith(reason)
    assert found.yanked is None


def test_a_version_in_use_that_is_none_leaves_it_unknown(serve: Serve, now: datetime) -> None:
    assert _ask(serve, _page("six", "1.0"), now, used="one").reason == "the version in use is no version (PEP 440)"


def test_a_slow_index_leaves_it_unknown(serve: Serve, now: datetime) -> None:
    asked = threading.Event()

    def slow(_path: str, _body: bytes) -> Reply:
        asked.wait(30)
        return 200, _JSON, b"{}"

    [found] = check_freshness([("six", "1.0")], index_url=serve(slow), now=now, timeout_seconds=0.2)
    asked.set()
    assert (found.latest, found.reason) == (None, "the index does not answer in time")


def test_an_index_that_is_not_there_leaves_it_unknown(now: datetime) -> None:
    for address in ("http://127.0.0.1:9/simple", "not an address", "http://[::1", "ftp://127.0.0.1/"):
        [found] = check_freshness([("six", "1.0")], index_url=address, now=now, timeout_seconds=5)
        assert found.latest is None
        assert found.reason.startswith("the index cannot be asked")


def test_what_is_no_version_is_passed_over(serve: Serve, now: datetime) -> None:
    page = _page("six", "1.0", "1.1")
    files = page["files"]
    assert isinstance(files, list)
    odd = ("six-2.0.egg", "six-one.tar.gz", "six.exe", "", "six-" + "9" * 5000 + ".tar.gz")
    files.extend({"filename": name, "url": "/x", "hashes": {}} for name in odd)
    assert _ask(serve, page, now).latest == "1.1"


def test_answers_come_in_the_order_of_the_questions(serve: Serve, now: datetime) -> None:
    def respond(path: str, _body: bytes) -> Reply:
        name = path.strip("/")
        return (
            (404, {}, b"") if name == "p3" else (200, _JSON, json.dumps(_page(name, "1.0", f"{name[1:]}.0")).encode())
        )

    pins = [(f"p{number}", "1.0") for number in range(2, 12)]
    found = check_freshness(pins, index_url=serve(respond) + "/", now=now, timeout_seconds=10)
    assert [item.name for item in found] == [name for name, _ in pins]
    assert [item.latest for item in found] == [None if name == "p3" else f"{name[1:]}.0" for name, _ in pins]


def test_no_pins_ask_nothing(now: datetime) -> None:
    assert check_freshness([], index_url="http://127.0.0.1:9", now=now, timeout_seconds=1) == ()


@pytest.mark.online
def test_the_default_index_knows_a_newer_version(now: datetime) -> None:
    [found] = check_freshness([("urllib3", "1.26.4")], index_url=None, now=now, timeout_seconds=60)
    assert found.reason == ""
    assert found.latest is not None
    assert int(found.latest.split(".")[0]) >= 2
    assert found.yanked is False


def test_the_certificate_authority_of_an_organisation_is_believed_where_it_is_given(
    now: datetime, own_authority: OwnAuthority, tmp_path: Path
) -> None:
    """Else `pip install` would work there, and every freshness be unknown."""
    with own_authority.serving(json.dumps(_page("six", "1.0", "1.1")).encode(), _JSON["Content-Type"]) as address:
        own, systems, none = (
            check_freshness(
                [("six", "1.0")], index_url=address, certificates=certificates, now=now, timeout_seconds=10
            )[0]
            for certificates in (own_authority.certificate, None, tmp_path / "none.pem")
        )
    assert (own.latest, own.reason) == ("1.1", "")
    assert systems.latest is none.latest is None
    assert "certificate verify failed" in systems.reason
    assert "none.pem` cannot be read: `No such file or directory`" in none.reason
