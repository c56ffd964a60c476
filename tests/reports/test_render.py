import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from custody.ledger.types import Problem
from custody.reports import Review, render
from custody.reports.view import Caps

from .page import parsed
from .world import World, demo, reviewed


def test_the_same_review_gives_the_same_bytes(review: Review) -> None:
    first, second = render(review), render(reviewed(demo()))
    assert first == second
    assert first.html_sha256 == hashlib.sha256(first.html).hexdigest()
    assert first.json_sha256 == hashlib.sha256(first.json).hexdigest()


def test_the_page_stands_alone_and_runs_nothing(review: Review) -> None:
    page = parsed(render(review).html)
    assert not {"script", "iframe", "img", "link", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith("#")


def test_the_policy_of_the_page_allows_its_style_and_nothing_else(review: Review) -> None:
    html = render(review).html.decode()
    (policy,) = [
        m["content"] for m in parsed(html.encode()).named("meta") if m.get("http-equiv") == "Content-Security-Policy"
    ]
    style = html.split("<style>", 1)[1].split("</style>", 1)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_leads_to_something_and_no_id_stands_twice(review: Review) -> None:
    page = parsed(render(review).html)
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    assert {a["href"][1:] for a in page.named("a")} - ids.keys() == set()


def test_every_entry_of_every_claim_is_linked(review: Review) -> None:
    links = {a["href"] for a in parsed(render(review).html).named("a")}
    assert {f"#e{row.index}" for row in review.evidence} <= links


def test_the_verdict_is_the_title(review: Review) -> None:
    html = render(review).html.decode()
    assert f"<title>{review.id}: {review.title}</title>" in html
    assert f"<h1>{review.title}</h1>" in html


def test_html_and_json_tell_the_same_counts(review: Review) -> None:
    files = render(review)
    data = json.loads(files.json)["review"]
    page = parsed(files.html)
    cards = Counter(attributes.get("class") for attributes in page.named("article"))
    assert cards["card attempt"] == len(data["attempts"]) == len(review.attempts)
    assert cards["card anomaly"] == len(data["anomalies"])
    assert len([a for _, a in page.tags if re.fullmatch(r"e\d+", a.get("id", ""))]) == len(data["evidence"])
    assert len([s for s in page.named("span") if s.get("class") == "ended"]) == len(data["runs"])
    text = " ".join(page.text)
    for figure in data["figures"]:
        assert figure["name"] in text


def test_the_json_is_ascii_and_names_its_format(review: Review) -> None:
    data = json.loads(render(review).json.decode("ascii"))
    assert data["format"] == "custody-review/1"
    assert data["review"]["window"]["since"].endswith("Z")


def test_caps_leave_out_with_the_total_stated(review: Review) -> None:
    files = render(review, caps=Caps(cards=2, rows=5))
    html = files.html.decode()
    assert "2 of 9 attempts are shown" in html
    assert "5 of 14 runs are shown" in html
    page = parsed(files.html)
    assert len([a for a in page.named("article") if a.get("class") == "card attempt"]) == 2
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {a["href"][1:] for a in page.named("a")} - ids - {a.id for a in review.anomalies} == set()
    assert len(json.loads(files.json)["review"]["attempts"]) == 9


def test_thousands_of_refusals_stay_under_two_megabytes() -> None:
    world = World()
    for number in range(3_000):
        world.denied(f"run-{number:05}", f"agent-{number % 7}", f"program_{number}.py")
    review = reviewed(world)
    files = render(review)
    assert len(files.html) < 2_000_000
    assert b"500 of 3,000 attempts are shown" in files.html
    assert len(json.loads(files.json)["review"]["attempts"]) == 3_000


def test_a_ledger_that_fails_says_what_is_wrong() -> None:
    html = render(reviewed(demo(), Problem("leaf-changed", "entry 7 differs", 7))).html.decode()
    assert "Does not verify" in html
    assert "leaf-changed: entry 7 differs" in html


def test_only_an_anchored_ledger_is_called_verified(review: Review) -> None:
    assert ">Verified" not in re.sub(r"<[^>]+/>|\s", "", render(review).html.decode())
    anchored = render(reviewed(demo(), anchored_to=80)).html.decode()
    assert "Verified, anchored at 80" in anchored


@pytest.mark.parametrize("name", ['R"; } body { display: none', "R</style><script>", "R\n1", "überprüfung"])
def test_an_odd_id_never_reaches_the_style_sheet(review: Review, name: str) -> None:
    html = render(replace(review, id=name)).html.decode()
    style = html.split("<style>", 1)[1].split("</style>", 1)[0]
    assert '@bottom-left{content:"Review of agent code"' in style


def test_a_plain_id_stands_in_the_foot_of_printed_pages(review: Review) -> None:
    assert b'content:"R-2026-11-19-1 \xc2\xb7 Review of agent code"' in render(review).html


def test_tables_have_heads_and_charts_have_words(review: Review) -> None:
    page = parsed(render(review).html)
    assert page.named("html")[0]["lang"] == "en"
    assert all(th.get("scope") in {"col", "row"} for th in page.named("th"))
    for svg in page.named("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label")
    assert [tag for tag, _ in page.tags].count("h1") == 1
