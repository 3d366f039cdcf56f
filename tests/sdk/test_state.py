import copy
import dataclasses
import json
import pickle
from typing import Any

import pytest

from aethersdk import (
    ExecutionContext,
    Mutation,
    NodeState,
    NodeStatus,
    PipelineState,
    Report,
)
from aethersdk.state import FrozenDict, freeze, thaw

PIPELINE = {
    "id": "pipeline_01H3XYZ9",
    "version": "2.1.0",
    "start_timestamp": 1689876543.212,
    "config_hash": "e3b0c44298fc1cd",
}
NODE = {
    "node_id": "transform_csv_01H3XZAB",
    "status": "executing",
    "input_payload": {"path": "/data/raw.csv", "columns": ["a", {"b": [1]}]},
    "output_payload": None,
    "error": None,
    "retry_count": 0,
    "execution_time": 0.87,
}
CONTEXT = {
    "environment_vars": {"DEBUG": "true"},
    "secret_store": "vault://aether-prod",
    "active_plugins": ["DataValidator@1.4.0", "SlackNotifier@3.2.1"],
    "artifacts": {"raw_data": "/tmp/aether/raw_data.bin"},
}
REPORT = {
    "status": "failed",
    "end_timestamp": 1689876550.0,
    "duration": 6.788,
    "nodes": {"succeeded": 2, "failed": 1},
    "retries": 1,
    "failed": ["load"],
    "version": 17,
    "cleanup": {"files": 3},
}
OBJECTS = [
    (PipelineState, PIPELINE),
    (NodeState, NODE),
    (ExecutionContext, CONTEXT),
    (Report, REPORT),
]


@pytest.mark.parametrize(
    ("kind", "record"), OBJECTS, ids=lambda part: getattr(part, "__name__", "")
)
def test_an_object_gives_back_its_json_in_the_documented_order(kind: Any, record: Any) -> None:
    state = kind.from_dict(record)
    assert json.dumps(state.to_dict()) == json.dumps(record)


@pytest.mark.parametrize(
    ("kind", "record"), OBJECTS, ids=lambda part: getattr(part, "__name__", "")
)
def test_no_attribute_can_be_set_or_deleted(kind: Any, record: Any) -> None:
    state = kind.from_dict(record)
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(state, field.name, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(state, field.name)


CHANGES = [
    lambda value: value.__setitem__("k", 1),
    lambda value: value.__delitem__("path"),
    lambda value: value.update(k=1),
    lambda value: value.pop("path"),
    lambda value: value.popitem(),
    lambda value: value.clear(),
    lambda value: value.setdefault("k", 1),
    lambda value: value.__ior__({"k": 1}),
    lambda value: value["columns"].__setitem__(0, "x"),
    lambda value: value["columns"].append("x"),
    lambda value: value["columns"][1].__setitem__("b", 2),
    lambda value: value["columns"][1]["b"].append(2),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", [NodeState.from_dict, lambda r: NodeState(**r)])
def test_nothing_inside_can_be_changed_however_it_was_made(make: Any, change: Any) -> None:
    state = make(NODE)
    with pytest.raises((TypeError, AttributeError)):
        change(state.input_payload)
    assert state.to_dict() == NODE


def test_what_it_was_made_from_can_still_change_and_is_not_seen() -> None:
    record = copy.deepcopy(NODE)
    state = NodeState.from_dict(record)
    record["input_payload"]["columns"].append("c")
    assert state.to_dict() == NODE


def test_a_copy_as_dict_can_be_changed_and_is_not_seen() -> None:
    state = NodeState.from_dict(NODE)
    state.to_dict()["input_payload"]["columns"].append("c")
    assert state.to_dict() == NODE


def test_a_frozen_object_is_still_json_and_goes_between_processes() -> None:
    state = NodeState.from_dict(NODE)
    assert json.loads(json.dumps(state.input_payload)) == NODE["input_payload"]
    for other in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state)):
        assert other == state
        assert isinstance(other.input_payload, FrozenDict)
    assert dataclasses.asdict(state)["input_payload"]["path"] == "/data/raw.csv"


def test_freezing_and_thawing_meet() -> None:
    value = {"a": [1, {"b": [True, None]}], "c": {}}
    assert thaw(freeze(value)) == value
    assert freeze(value)["a"][1]["b"] == (True, None)
    assert (freeze(value) | {"d": 1})["d"] == 1


@pytest.mark.parametrize(
    ("kind", "record"), OBJECTS[:3], ids=lambda part: getattr(part, "__name__", "")
)
def test_an_unknown_member_is_an_error(kind: Any, record: Any) -> None:
    with pytest.raises(TypeError, match="colour"):
        kind.from_dict(record | {"colour": "red"})


def test_a_status_reads_and_compares_as_its_word() -> None:
    status = NodeState.from_dict(NODE).status
    assert status is NodeStatus.EXECUTING
    assert f"{status}" == str(status) == "executing"
    assert status == "executing"
    assert [*NodeStatus] == ["pending", "executing", "succeeded", "failed", "retrying"]


def test_a_status_of_ones_own_is_refused() -> None:
    with pytest.raises(ValueError, match="skipped"):
        NodeState(node_id="a_01H3XZAB", status="skipped")


def test_attempts_are_counted_from_1() -> None:
    assert NodeState.from_dict(NODE).attempt == 1
    assert NodeState.from_dict(NODE | {"retry_count": 2}).attempt == 3


def test_a_reports_further_members_are_its_details() -> None:
    report = Report.from_dict(REPORT)
    assert report.details == {"cleanup": {"files": 3}}
    assert report.failed == ("load",)


def test_a_mutation_is_frozen_but_for_the_live_value() -> None:
    frame = ["a table", "which a validator looks at"]
    mutation = Mutation(["nodes.a.output_payload"], {}, {"nodes.a.output_payload": [1]}, frame)
    assert mutation.paths == ("nodes.a.output_payload",)
    assert mutation.after["nodes.a.output_payload"] == (1,)
    with pytest.raises(TypeError):
        mutation.after["nodes.a.output_payload"] = 2
    assert mutation.value is frame
