import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from custody.ledger.types import Problem
from custody.reports import Review, render
from custody.reports.shown import shown
from custody.reports.types import Limit
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
    assert "7 of 9 attempts are shown, the worst first" in html
    assert "5 of 14 runs are shown, the first that were submitted" in html
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
    assert b"350 of 3,000 attempts are shown" in files.html
    assert len(json.loads(files.json)["review"]["attempts"]) == 3_000


def test_a_window_of_thousands_of_runs_and_hundreds_of_packages_stays_a_page() -> None:
    world = World()
    for number in range(1_000):
        run = f"run-{number:05}"
        world.submit(run, f"agent-{number % 9}", f"program_{number}.py", requirements=1)
        world.resolve(run, (f"package-{number % 500:03}", "1.0"))
        world.audit(run, 1)
        world.decide(run, "allowed")
        world.start(run)
        world.finish(run, "failed" if number % 3 else "succeeded", exit_code=1)
    world.freshness(*((f"package-{number:03}", "1.0", "2.0", "") for number in range(500)))
    review = reviewed(world)
    html = render(review).html.decode()
    assert len(html) < 1_500_000
    for total in ("350 of 666 attempts", "250 of 1,000 runs", "250 of 500 package versions", "1,000 of 6,001 entries"):
        assert f"{total} are shown" in html


def test_what_decisions_rest_on_is_shown_before_other_evidence(review: Review) -> None:
    rows = {row.index for row in shown(review, rows=20, cards=100)}
    assert len(rows) == 20
    assert {index for decision in review.decisions[:3] for index in decision.entries} <= rows


def test_evidence_stands_under_its_run_and_repeats_no_day(review: Review) -> None:
    html = render(review).html.decode()
    evidence = html.split('<table class="evidence">', 1)[1].split("</table>", 1)[0]
    assert evidence.count('scope="rowgroup"') == len({row.run for row in review.evidence})
    assert evidence.count("2026-11-19") == evidence.count('scope="rowgroup"')
    assert "executed: killed memory" in evidence


def test_a_rule_never_reads_as_the_cause_of_a_failure(review: Review) -> None:
    says = {row.says for row in review.evidence}
    assert "executed: failed" in says
    assert "denied (by demo-has-no-network)" in says
    world = World()
    world.submit("run-1", "agent-analyst", "a.py")
    world.decide("run-1", "allowed", rules=("r",))
    world.start("run-1")
    world.finish("run-1", "failed", exit_code=1, rules=("r",))
    world.submit("run-2", "agent-analyst", "b.py")
    world.decide("run-2", "needs_approval", rules=("look",))
    told = {row.says for row in reviewed(world).evidence}
    assert {"executed: failed (allowed by r)", "run: needs approval (by look)"} <= told


def test_the_date_of_a_decision_has_a_column(review: Review) -> None:
    html = render(review).html.decode()
    assert '<th scope="col">By</th>' in html
    assert '<span class="nw">2026-11-20</span> <span class="why nw">12:00 UTC</span>' in html
    on_screen = html.split('<table class="decisions stack">', 1)[1].split("</table>", 1)[0]
    assert on_screen.count('data-label="By"><span class="soft nw">no date</span>') == sum(
        not d.by for d in review.decisions
    )


def test_what_messages_quote_is_set_as_code_and_stays_text(review: Review) -> None:
    limits = (*review.limits, Limit(text="look at `a<b` and `c"))
    html = render(replace(review, limits=limits)).html.decode()
    assert "look at <code>a&lt;b</code> and `c" in html


def test_the_command_under_the_seal_says_what_its_word_stands_for(review: Review) -> None:
    text = " ".join(" ".join(parsed(render(review).html).text).split())
    assert "custody verify --pin FILE where FILE is a pin that was kept somewhere else" in text


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
    assert all(th.get("scope") in {"col", "row", "rowgroup"} for th in page.named("th"))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("thead")
    assert page.named("title")
    assert len([m for m in page.named("meta") if m.get("name") == "viewport"]) == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    for svg in page.named("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label")
    assert [tag for tag, _ in page.tags].count("h1") == 1
