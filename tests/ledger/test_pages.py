"""Reading a page of leaves at once never says yes where reading one by one would say no, or something else."""

from datetime import datetime, timedelta

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.errors import EvidenceError
from custody.ledger import Draft
from custody.ledger.codec import encode_draft, parse_leaf
from custody.ledger.events import Event
from custody.ledger.leaf import CANONICAL, Parsed, payload_refs
from custody.ledger.pages import Page, PageReader
from custody.ledger.projection import project

from .drafts import START, Drafts, egress, end
from .test_codec import EVENTS, NAMES, draft_of


def one_by_one(leaves: list[bytes]) -> list[Parsed] | None:
    try:
        parsed = [parse_leaf(place, leaf) for place, leaf in enumerate(leaves)]
    except EvidenceError:
        return None
    return parsed


def assert_agrees(page: Page | None, leaves: list[bytes]) -> None:
    """A page that was read holds what the leaves hold."""
    if page is None:
        return
    parsed = one_by_one(leaves)
    assert parsed is not None
    rows = zip(page.kinds, page.runs, page.actors, page.outcomes, page.times_us, page.sequences, strict=True)
    assert [*rows] == [project(place, leaf)[1:] for place, leaf in enumerate(parsed)]
    assert page.ids == [leaf.id for leaf in parsed]
    referring = {place: [*payload_refs(event)] for place, event in page.referring}
    for place, leaf in enumerate(parsed):
        assert leaf.event is not None
        assert referring.get(place, []) == [*payload_refs(leaf.event)]


def leaves_of(count: int) -> list[bytes]:
    drafts = Drafts()
    return [encode_draft(draft, number) for number, draft in enumerate(drafts.several(count))]


@given(st.lists(st.tuples(EVENTS, NAMES), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_pages_of_all_kinds_say_what_their_leaves_say(made: list[tuple[object, str]]) -> None:
    leaves = []
    for event, _name in made:
        assert isinstance(event, Event)
        leaves.append(encode_draft(draft_of(event), None))
    page = PageReader().read(leaves)
    assert page is not None
    assert_agrees(page, leaves)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_refused_or_read_alike(data: st.DataObject) -> None:
    reader, leaves = PageReader(), leaves_of(3)
    assert reader.read(leaves) is not None  # whatever it remembers must not soften it
    place = data.draw(st.integers(0, 2))
    position = data.draw(st.integers(0, len(leaves[place]) - 1))
    changed = bytearray(leaves[place])
    changed[position] = data.draw(st.integers(0, 255))
    leaves[place] = bytes(changed)
    assert_agrees(reader.read(leaves), leaves)


WRONG: dict[str, list[object]] = {
    "actor": [None, 7, "", "a" * 201, "a\n", ["a"], "\u202e"],
    "id": [None, 7, "", "a" * 201, "a\x00", {}],
    "kind": [None, 7, "egress", "moon:landed", ["egress:attempted"], {}],
    "run": [7, "", "a" * 201, "\t", False],
    "seq": [None, -1, True, "0", [0]],
    "time": [
        None, 7, "", "2026-03-01T12:00:00.000000", "2026-03-01T12:00:00.000000+", "2026-02-30T12:00:00.000000Z",
        "2026-03-01 12:00:00.000000Z", "2026-03-01T12:00:00,000000Z", "2026-03-01T12:00:00.00000\u0661Z", "\u0662026-03-01T12:00:00.00000Z",
        "2026-03-01T12:00:00.0_0000Z", "2026-03-01T24:00:00.000000Z",
    ],
    "v": [None, True, 0, 2, 99, "1"],
    "body": [None, [], "x", 7, {}, {"host": 1}],
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_of_the_frame_is_refused(field: str) -> None:
    for value in WRONG[field]:
        reader, leaves = PageReader(), leaves_of(3)
        assert reader.read(leaves) is not None
        leaves[1] = orjson.dumps(orjson.loads(leaves[1]) | {field: value}, option=CANONICAL)
        assert reader.read(leaves) is None, value


@pytest.mark.parametrize("value", [1 << 53, -(1 << 53), 1.0, True, None, "1", [1], {"a": 1}])
def test_a_wrong_value_of_a_body_is_refused_though_its_shape_was_good_before(value: object) -> None:
    reader, leaves = PageReader(), leaves_of(3)
    assert reader.read(leaves) is not None
    content = orjson.loads(leaves[1])
    content["body"]["count"] = value
    leaves[1] = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    assert reader.read(leaves) is None


def test_leaves_that_only_together_are_json_are_refused() -> None:
    first, second, third = leaves_of(3)
    for split in (
        [first[:50], first[50:] + b"," + second, third],
        [first + b"," + second, b"", third],
        [first + b"," + second, third, b'""'],
        [b"[" + first, second + b"]", third],
        [first + b" ", second, third],
        [b"", second, third],
        [first, second + b",", third],
    ):
        assert PageReader().read(split) is None


def test_a_leaf_that_is_too_long_for_its_kind_is_refused() -> None:
    (leaf,) = leaves_of(1)
    content = orjson.loads(leaf)
    content["body"]["reason"] = "x" * 40_000
    assert PageReader().read([orjson.dumps(content, option=CANONICAL)]) is None


def test_what_is_nested_without_end_is_refused() -> None:
    assert PageReader().read([b"[" * 1000 + b"]" * 1000]) is None
    assert PageReader().read([b"[" * 100_000 + b"]" * 100_000]) is None


def test_the_furthest_step_back_in_time_is_told() -> None:
    def page(*seconds: int) -> Page:
        made = [Drafts(str(i)).make(egress()) for i in range(len(seconds))]
        times: list[datetime] = [START + timedelta(seconds=second) for second in seconds]
        leaves = [encode_draft(_at(draft, time), i) for i, (draft, time) in enumerate(zip(made, times, strict=True))]
        read = PageReader().read(leaves)
        assert read is not None
        return read

    first = page(0).times_us[0]
    assert page(0, 5, 3, 9).furthest_back(first) == -2_000_000
    assert page(0, 5).furthest_back(first) == 0
    assert page(0, 5).furthest_back(first + 7_000_000) == -7_000_000


def _at(draft: Draft, time: datetime) -> Draft:
    return Draft(id=draft.id, event=draft.event, actor=draft.actor, time=time, run=draft.run)


def test_the_outcome_of_an_end_is_read() -> None:
    made = [Drafts().make(end("executed", "failed")), Drafts().make(end("denied"))]
    page = PageReader().read([encode_draft(draft, number) for number, draft in enumerate(made)])
    assert page is not None
    assert page.outcomes == ["failed", "denied"]
