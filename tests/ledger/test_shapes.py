"""Looking at a column of bodies never says yes where the strict validator of the kind would say no."""

import copy
import dataclasses

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import ValidationError

from custody.ledger.events import CATALOGUE, Event
from custody.ledger.leaf import CANONICAL
from custody.ledger.schemas import validator_of
from custody.ledger.shapes import shape_of

from .test_codec import EVENTS

ODDITIES: list[object] = [None, True, 0, -1, 1, 1.0, "", "x", [], [None], [1], ["x"], {}, {"a": 1}, [{}]]
ODD = st.sampled_from(ODDITIES)


def body_of(event: object) -> dict[str, object]:
    body: dict[str, object] = orjson.loads(orjson.dumps(event, option=CANONICAL))
    return body


@given(st.lists(EVENTS, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_body_that_can_be_written_has_the_shape_of_its_kind(events: list[object]) -> None:
    for event in events:
        kind: type = type(event)
        assert shape_of(kind)([body_of(event), body_of(event)])


@given(EVENTS, st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_changed_body_has_it_only_if_the_validator_takes_it(event: object, data: st.DataObject) -> None:
    body = copy.deepcopy(body_of(event))
    place: object = body
    steps: list[object] = []
    while isinstance(place, dict | list) and place and (not steps or data.draw(st.booleans())):
        keys: list[object] = sorted(place) if isinstance(place, dict) else [*range(len(place))]
        steps.append(data.draw(st.sampled_from(keys)))
        inner = place[steps[-1]]  # type: ignore[call-overload]  # because either kind of key fits its container
        if not isinstance(inner, dict | list):
            break
        place = inner
    holder: object = body
    for step in steps[:-1]:
        holder = holder[step]  # type: ignore[index]  # the same
    if steps:
        how = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "replace" or not isinstance(holder, dict):
            holder[steps[-1]] = data.draw(ODD)  # type: ignore[index]  # the same
        elif how == "remove":
            del holder[str(steps[-1])]
        else:
            holder["unheard_of"] = data.draw(ODD)
    kind: type = type(event)
    taken = True
    try:
        validator_of(kind).validate_python(body)
    except ValidationError:
        taken = False
    assert shape_of(kind)([body_of(event), body]) == taken


def test_every_kind_has_a_shape_and_no_other_value_has_it() -> None:
    kinds: list[type] = [*CATALOGUE.values()]
    for kind in kinds:
        for wrong in ODDITIES:
            assert not shape_of(kind)([wrong]), kind
        assert shape_of(kind)([])


@dataclasses.dataclass(frozen=True, slots=True)
class Loose(Event):
    """Nothing that may stand in the catalogue."""

    share: float


def test_a_type_outside_the_grammar_has_no_shape() -> None:
    kind: type = Loose
    with pytest.raises(TypeError, match="is no type of the catalogue"):
        shape_of(kind)
