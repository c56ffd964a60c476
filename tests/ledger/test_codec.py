"""Events to leaves and back: one spelling, strict in both directions."""

import dataclasses
import types
import typing
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.errors import EvidenceError, LedgerError
from custody.ledger import Draft, PayloadRef
from custody.ledger.codec import decode_leaf, encode_draft, parse_leaf
from custody.ledger.events import CATALOGUE, Event, LedgerHeartbeat, OutputRecord, RunHeld
from custody.ledger.leaf import MAX_LEAF_BYTES, payload_refs
from custody.ledger.projection import microseconds, project, project_draft
from custody.ledger.schemas import validator_of

from .drafts import START, Drafts, artefact, egress, end

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
MAX_INT = (1 << 53) - 1


def values_of(hint: object) -> st.SearchStrategy[object]:
    """Anything that a field of the type may hold."""
    if hint is str:
        return TEXT
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(-MAX_INT, MAX_INT)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{f.name: values_of(hints[f.name]) for f in dataclasses.fields(hint)})
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    assert typing.get_origin(hint) is types.UnionType
    return st.one_of(*[st.none() if a is types.NoneType else values_of(a) for a in arguments])


EVENTS = st.sampled_from(sorted(CATALOGUE.values(), key=lambda cls: cls.KIND.name)).flatmap(values_of)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - because the zone is added by the strategy
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


def draft_of(event: Event) -> Draft:
    return Draft(id="id", event=event, actor="actor", time=START)


@given(EVENTS, NAMES, NAMES, TIMES, st.none() | NAMES, st.integers(0, 1 << 40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_event_comes_back_as_it_was_given(
    event: object, name: str, actor: str, time: datetime, run: str | None, number: int
) -> None:
    assert isinstance(event, Event)
    sequence = None if run is None else number
    draft = Draft(id=name, event=event, actor=actor, time=time, run=run)
    leaf = encode_draft(draft, sequence)
    entry = decode_leaf(7, leaf)
    assert (entry.event, entry.id, entry.actor, entry.time) == (event, name, actor, time)
    assert (entry.run, entry.sequence) == (run, sequence)
    assert leaf == encode_draft(draft, sequence)
    assert project(7, parse_leaf(7, leaf)) == project_draft(7, draft, sequence)


def test_every_kind_of_the_catalogue_has_a_codec_and_a_bound_within_the_largest() -> None:
    assert len(CATALOGUE) >= 54
    for (name, version), cls in CATALOGUE.items():
        assert (name, version) == (cls.KIND.name, cls.KIND.version)
        assert 0 < cls.KIND.max_bytes <= MAX_LEAF_BYTES
        with pytest.raises(EvidenceError, match=r"missing|required"):
            decode_leaf(0, leaf_with(kind=name, v=version, body={"unknown": 1}))


def leaf_with(**changes: object) -> bytes:
    """A canonical leaf of a heartbeat, with changes to its header."""
    header: dict[str, object] = orjson.loads(encode_draft(draft_of(LedgerHeartbeat(interval_seconds=60)), None))
    return orjson.dumps(header | changes, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    "wrong",
    [
        1.0,
        float("nan"),
        1 << 53,
        -(1 << 53),
        True,
        "60",
        None,
        b"60",
        [60],
        START,
    ],
)
def test_what_is_not_a_plain_whole_number_is_refused_at_the_door(wrong: object) -> None:
    event = LedgerHeartbeat(interval_seconds=wrong)  # type: ignore[arg-type]  # because that is what is refused
    with pytest.raises(LedgerError, match="ledger:heartbeat version 1"):
        encode_draft(draft_of(event), None)


@pytest.mark.parametrize("wrong", ["\ud800", 1, None, b"x", ("x",), True])
def test_what_is_not_plain_text_is_refused_at_the_door(wrong: object) -> None:
    event = egress(host=wrong)  # type: ignore[arg-type]  # because that is what is refused
    with pytest.raises(LedgerError, match="egress:attempted version 1"):
        encode_draft(draft_of(event), None)


def test_a_list_where_a_tuple_belongs_is_refused_as_it_would_not_come_back_equal() -> None:
    event = replace(end(), rules=["a"])  # type: ignore[arg-type]  # because that is what is refused
    with pytest.raises(LedgerError, match="would not come back"):
        encode_draft(draft_of(event), None)


def test_a_path_names_the_field_that_is_wrong() -> None:
    event = replace(end(), stdout=OutputRecord(sha256="", seen="9", truncated=False, redactions=0, payload=None))  # type: ignore[arg-type]  # because that is what is refused
    with pytest.raises(LedgerError, match=r"`stdout\.seen`: input should be a valid integer"):
        encode_draft(draft_of(event), None)
    with pytest.raises(EvidenceError, match=r"entry 4: `body\.interval_seconds`"):
        decode_leaf(4, leaf_with(body={"interval_seconds": "60"}))


def test_text_that_is_longer_than_its_kind_allows_is_refused_whole() -> None:
    held = RunHeld(decision="d", roles=(), binding="x" * 8192, expires="")
    with pytest.raises(LedgerError, match=r"would take 83[0-9][0-9] bytes where 8192 are allowed"):
        encode_draft(draft_of(held), None)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "\u202e", 7, None])
def test_identifiers_are_short_and_printable(name: object) -> None:
    draft = Drafts().make()
    for field in ("id", "actor", "run"):
        if (field, name) != ("run", None):
            with pytest.raises(LedgerError, match=f"the {field} is not printable text"):
                encode_draft(replace(draft, **{field: name}), 0)  # type: ignore[arg-type]  # because that is what is refused


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "valid dictionary"),
        (b"null", "valid dictionary"),
        (b"{}", "required"),
        (b"\xff", "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (leaf_with() + b"\n", "canonical"),
        (b" " + leaf_with(), "canonical"),
        (leaf_with().replace(b'"actor":"actor"', b'"actor":"other","actor":"actor"'), "canonical"),
        (leaf_with().replace(b'"actor"', b'"\\u0061ctor"', 1), "canonical"),
        (leaf_with().replace(b":60", b":60.0"), "valid integer"),
        (leaf_with().replace(b":60", b":6e1"), "canonical"),
        (leaf_with().replace(b":60", b":-0"), "canonical"),
        (leaf_with().replace(b":60", b":9007199254740992"), "53-bit|less than"),
        (leaf_with().replace(b":60", b":NaN"), "not JSON"),
        (leaf_with(extra=1), "extra"),
        (leaf_with(v=True), "`v`"),
        (leaf_with(v=0), "`v`"),
        (leaf_with(v="1"), "`v`"),
        (leaf_with(seq=1), "run and seq"),
        (leaf_with(run="r"), "run and seq"),
        (leaf_with(seq=-1, run="r"), "`seq`"),
        (leaf_with(id=""), "`id`|identifier"),
        (leaf_with(actor="a\u0000"), "`id`|identifier"),
        (leaf_with(time="2026-03-01T12:00:00Z"), "`time`"),
        (leaf_with(time="2026-03-01T12:00:00.000000+00:00"), "`time`"),
        (leaf_with(time="2026-02-30T12:00:00.000000Z"), "`time`"),
        (leaf_with(time="2026-03-01T12:00:00.000000Z\n"), "`time`"),
        (leaf_with(body=[]), "`body`"),
        (leaf_with(body={"interval_seconds": 60, "more": 1}), r"`body\.more`"),
        (leaf_with(body={"interval_seconds": None}), "interval_seconds`"),
        (leaf_with(body={"interval_seconds": 60, "a\n\u202e": 1}), r"`body\.a\?\?`"),
        (leaf_with(body={"interval_seconds": "x" * MAX_LEAF_BYTES}), "longer than its kind"),
        (leaf_with(kind="moon:landed", body={"a": [{"b": 1.5}]}), "fraction"),
        (leaf_with(kind="moon:landed", body={"ä": 1}), "ASCII"),
    ],
)
def test_what_would_not_be_written_is_not_read(leaf: bytes, why: str) -> None:
    with pytest.raises(EvidenceError, match=why) as error:
        decode_leaf(3, leaf)
    assert "\n" not in error.value.message


@given(
    st.binary(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT, lambda c: st.lists(c) | st.dictionaries(TEXT, c)
    ).map(lambda v: repr(v).encode())
)
@settings(deadline=None)
def test_nothing_that_is_read_makes_the_reader_fall_over(noise: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode_leaf(0, noise)


@given(st.data())
@settings(deadline=None)
def test_one_changed_byte_of_a_leaf_is_either_refused_or_another_entry(data: st.DataObject) -> None:
    leaf = encode_draft(draft_of(end()), None)
    position = data.draw(st.integers(0, len(leaf) - 1))
    changed = leaf[:position] + bytes([data.draw(st.integers(0, 255))]) + leaf[position + 1 :]
    try:
        entry = decode_leaf(0, changed)
    except EvidenceError:
        return
    assert entry.leaf == changed
    if entry.event is not None:
        rendered = Draft(id=entry.id, event=entry.event, actor=entry.actor, time=entry.time, run=entry.run)
        assert encode_draft(rendered, entry.sequence) == changed


def test_unknown_kinds_and_versions_are_kept() -> None:
    for changes in ({"kind": "moon:landed", "body": {"any": [1, "x", None]}}, {"v": 2}):
        entry = decode_leaf(0, leaf_with(**changes))
        assert entry.event is None
        assert entry.leaf == leaf_with(**changes)


def test_references_to_payloads_are_found_wherever_they_stand() -> None:
    ref = PayloadRef("0" * 32, "c", 1, "text/plain", 0)
    other = replace(ref, id="1" * 32)
    out = OutputRecord(sha256="", seen=0, truncated=False, redactions=0, payload=ref)
    assert list(payload_refs(artefact(ref))) == [ref]
    assert list(payload_refs(replace(end(), stdout=out, overflow=other))) == [ref, other]
    assert list(payload_refs(end())) == list(payload_refs(egress())) == []


def test_a_leaf_of_exactly_its_bound_is_taken_and_one_of_a_byte_more_is_not() -> None:
    held = RunHeld(decision="d", roles=(), binding="", expires="")
    bound = RunHeld.KIND.max_bytes
    exact = replace(held, binding="x" * (bound - len(encode_draft(draft_of(held), None))))
    leaf = encode_draft(draft_of(exact), None)
    assert len(leaf) == bound
    assert decode_leaf(0, leaf).event == exact
    larger = replace(exact, binding=exact.binding + "x")
    with pytest.raises(LedgerError, match=f"would take {bound + 1} bytes where {bound} are allowed"):
        encode_draft(draft_of(larger), None)
    with pytest.raises(EvidenceError, match="longer than its kind"):
        decode_leaf(0, leaf.replace(b'"binding":"', b'"binding":"x'))


def test_a_leaf_of_an_unknown_kind_has_at_most_32_kib() -> None:
    empty = leaf_with(kind="moon:landed", body={"a": ""})
    exact = leaf_with(kind="moon:landed", body={"a": "x" * (32 * 1024 - len(empty))})
    assert decode_leaf(0, exact).leaf == exact
    with pytest.raises(EvidenceError, match="longer than its kind"):
        decode_leaf(0, exact.replace(b'"a":"', b'"a":"x'))


@pytest.mark.parametrize("body", [{"a": 1 << 53}, {"a": -(1 << 53)}, {"a": [{"b": 1 << 60}]}])
def test_a_number_past_53_bits_is_refused_in_an_unknown_kind_too(body: object) -> None:
    content = orjson.loads(leaf_with(kind="moon:landed"))
    with pytest.raises(EvidenceError, match="53-bit"):
        decode_leaf(0, orjson.dumps(content | {"body": body}, option=orjson.OPT_SORT_KEYS))


@dataclasses.dataclass(frozen=True, slots=True)
class Accented(Event):
    """A field that is no ASCII."""

    größe: int  # noqa: PLC2401 - because that is what is refused


def test_a_field_outside_ascii_has_no_codec() -> None:
    with pytest.raises(TypeError, match="`größe` is no name of a field"):
        validator_of(Accented)


def test_the_catalogue_has_every_kind_of_the_design() -> None:
    design = """
        run:submitted run:held run:claimed run:started run:finished run:late_result run:cancelled run:withdrawn
        policy:decided policy:changed policy:rejected approval:granted approval:refused approval:expired approval:consumed
        dependencies:resolved dependencies:audited dependencies:freshness dependencies:reaudited
        environment:built environment:reused environment:rejected environment:removed slot:discarded
        principal:added principal:disabled notification:sent notification:failed reconciliation:completed
        egress:attempted command:observed file:observed artefact:collected syscall:denied output:redacted
        advisories:imported review:completed review:signed finding:raised finding:marked
        ledger:opened ledger:heartbeat ledger:verified ledger:read ledger:exported ledger:erased ledger:key_rotated
        service:started service:stopped schedule:registered stop:ordered stop:released access:denied doctor:refused
    """
    assert {*design.split()} <= {name for name, _version in CATALOGUE}


@dataclasses.dataclass(frozen=True, slots=True)
class Loose(Event):
    """Nothing that may stand in the catalogue."""

    share: float


def test_a_type_outside_the_grammar_has_no_codec() -> None:
    with pytest.raises(TypeError, match="is no type of the catalogue"):
        validator_of(Loose)


def test_microseconds_are_exact() -> None:
    assert microseconds(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert microseconds(datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)) % 1_000_000 == 123457
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1
