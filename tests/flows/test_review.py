"""A review reads the ledger, says what it found, and is on record itself."""

import json
from datetime import timedelta

import pytest

from custody.errors import UsageError
from custody.flows.house import House, open_house
from custody.flows.record import Batch
from custody.flows.review import find_reviews, read_review, record_freshness, review_window
from custody.ledger import events
from custody.policies.types import HostRequest
from tests.conftest import MakeHome, OwnAuthority

from .conftest import HIDDEN, Ask, go, named


@pytest.mark.jail
def test_a_review_shows_what_happened_and_is_recorded_with_its_digest(house: House, ask: Ask) -> None:
    denied = go(house, ask(hosts=(HostRequest("api.example.org", 443),)))
    held = go(house, ask(HIDDEN, who="scout"))
    until = house.clock() + timedelta(seconds=1)
    done = review_window(house, named(house, "alice"), since=until - timedelta(hours=1), until=until, freshness=False)
    page = done.html.read_text(encoding="utf-8")
    assert denied.run in page
    assert held.run in page
    assert "<script" not in page
    shown = read_review(house, done.review.id)
    assert shown.as_issued
    assert shown.event.size == done.review.window.size
    assert done.review.id in (done.folder / "review.json").read_text()


def test_a_changed_page_is_not_the_one_that_was_issued(house: House) -> None:
    until = house.clock() + timedelta(seconds=1)
    done = review_window(house, named(house, "alice"), since=until - timedelta(hours=1), until=until, freshness=False)
    done.html.write_text("all is well")
    assert not read_review(house, done.review.id).as_issued


def test_a_window_in_which_nothing_happened_never_says_passed(house: House) -> None:
    until = house.clock() - timedelta(days=2)
    done = review_window(house, named(house, "alice"), since=until - timedelta(hours=1), until=until, freshness=False)
    text = done.html.read_text(encoding="utf-8").lower()
    assert "passed" not in text
    assert "nothing" in text


def test_a_window_that_ends_before_it_begins_is_refused(house: House) -> None:
    now = house.clock()
    with pytest.raises(UsageError, match="ends before"):
        review_window(house, named(house, "alice"), since=now, until=now, freshness=False)


def test_reviews_are_found_newest_first(house: House) -> None:
    made = []
    for _ in range(2):
        until = house.clock() + timedelta(seconds=1)
        made.append(
            review_window(
                house, named(house, "alice"), since=until - timedelta(hours=1), until=until, freshness=False
            ).review.id
        )
    assert [review.review for review in find_reviews(house)] == made[::-1]
    assert house.ledger.count(kinds=("review:completed",)) == 2


def test_a_review_that_is_not_there_is_said(house: House) -> None:
    with pytest.raises(UsageError, match="no review"):
        read_review(house, "review-0")


def test_the_index_of_an_organisation_is_asked_under_the_certificate_that_pip_was_told_of(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch, own_authority: OwnAuthority
) -> None:
    page = {
        "meta": {"api-version": "1.1"},
        "name": "six",
        "versions": ["1.17.0"],
        "files": [{"filename": "six-1.17.0-py3-none-any.whl", "url": "/six", "hashes": {}}],
    }
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("PIP_CERT", str(own_authority.certificate))
    with own_authority.serving(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json") as address:
        settings = make_home(configuration=f'\n[dependencies]\nindex_url = "{address}"\n')
        with open_house(settings) as house:
            batch, pin = Batch(house, "alice"), events.PinRecord(name="six", version="1.10.0", direct=True)
            lock = batch.seal(b"", media="text/plain")
            batch.add(
                events.DependenciesResolved(
                    lock_sha256="0" * 64, source="", resolver="given", total=1, pins=(pin,), lock=lock
                )
            )
            batch.write()
            until = house.clock() + timedelta(seconds=1)
            assert record_freshness(house, "alice", since=until - timedelta(hours=1), until=until) == 1
            (fresh,) = [entry.event for entry in house.ledger.entries(kinds=("dependencies:freshness",))]
    assert isinstance(fresh, events.DependenciesFreshness)
    assert [(p.name, p.latest, p.reason) for p in fresh.packages] == [("six", "1.17.0", "")]


@pytest.mark.online
@pytest.mark.jail
def test_outdated_pins_are_asked_of_the_index_and_recorded(house: House, ask: Ask) -> None:
    import hashlib

    fake = hashlib.sha256(b"").hexdigest()
    blocked = go(house, ask(requirements=f"six==1.10.0 --hash=sha256:{fake}\n".encode()))
    assert blocked.end == "blocked"
    until = house.clock() + timedelta(seconds=1)
    review_window(house, named(house, "alice"), since=until - timedelta(hours=1), until=until)
    (fresh,) = [entry.event for entry in house.ledger.entries(kinds=("dependencies:freshness",))]
    assert isinstance(fresh, events.DependenciesFreshness)
    assert [(p.name, p.used) for p in fresh.packages] == [("six", "1.10.0")]
    assert fresh.packages[0].latest not in {None, "1.10.0"}
