"""The whole state, frozen."""

import pytest

from aethersdk import NodeState, State

DOCUMENT = {
    "pipeline": {
        "id": "pipeline_01H3XYZ9",
        "version": "2.1.0",
        "start_timestamp": 1689876543.212,
        "config_hash": "e3b0c44298fc1cd",
    },
    "nodes": {
        "load": {
            "node_id": "load_01H3XZAB",
            "status": "executing",
            "input_payload": {"rows": [1, 2]},
            "output_payload": None,
            "error": None,
            "retry_count": 0,
            "execution_time": 0.0,
        }
    },
    "context": {
        "environment_vars": {"DEBUG": "true"},
        "secret_store": None,
        "active_plugins": ["DataValidator@1.4.0"],
        "artifacts": {"raw": "/tmp/raw"},
    },
}


def test_it_has_the_three_state_objects():
    state = State(DOCUMENT)
    assert state.pipeline.id == "pipeline_01H3XYZ9"
    assert state.context.artifacts["raw"] == "/tmp/raw"
    assert isinstance(state.nodes["load"], NodeState)
    assert state.nodes["load"].status == "executing"
    assert list(state.nodes) == ["load"]
    assert len(state.nodes) == 1
    assert state.to_dict() == DOCUMENT


def test_nothing_of_it_can_be_changed():
    state = State(DOCUMENT)
    for change in (
        lambda: setattr(state, "context", None),
        lambda: delattr(state, "context"),
        lambda: state.nodes.__setitem__("load", None),
        lambda: setattr(state.nodes["load"], "status", "failed"),
        lambda: state.nodes["load"].input_payload.__setitem__("rows", 1),
        lambda: state.nodes["load"].input_payload["rows"].append(3),
        lambda: state.context.artifacts.update(raw="x"),
        lambda: setattr(state.pipeline, "id", "x"),
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()
    state.to_dict()["nodes"].clear()
    assert state.to_dict() == DOCUMENT
