import json

import pytest
from hypothesis import given

from aether_dagster.state import Authority, Delta, NodeDelta, Outcome
from tests.state.strategies import deltas


@given(deltas())
def test_a_delta_survives_json(delta: Delta) -> None:
    assert Delta.from_json(json.loads(json.dumps(delta.to_json()))) == delta


def test_a_null_input_is_kept_apart_from_none_given() -> None:
    given_null = NodeDelta(outcome=Outcome(1, "executing"), has_input=True)
    not_given = NodeDelta(outcome=Outcome(1, "executing"))
    assert NodeDelta.from_json(given_null.to_json()) == given_null
    assert NodeDelta.from_json(not_given.to_json()) == not_given
    assert given_null != not_given


def test_the_stored_value_travels_with_its_outcome() -> None:
    reference = {"$artifact": "file:///x", "sha256": "00", "bytes": 2, "media_type": "text/plain"}
    node = NodeDelta(outcome=Outcome(1, "succeeded", value=reference))
    assert NodeDelta.from_json(json.loads(json.dumps(node.to_json()))) == node


@pytest.mark.parametrize("more", [{"has_input": True}, {"worker": "boot:1:2"}])
def test_an_input_or_worker_without_its_attempt_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="give the outcome too"):
        NodeDelta(**more)


def test_a_journal_sets_the_clock_once() -> None:
    delta = Delta("d", Authority.RUN)
    assert delta.at(7).clock == 7
    assert delta.at(7).at(9).clock == 7
    assert delta.clock is None
