import json
import math
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.snapshot import render_final, render_node, render_state
from aether_dagster.state.document import canonical_bytes

NODE: dict[str, Any] = {
    "node_id": "a_01H3XZAB",
    "status": "failed",
    "input_payload": {"z": "Zürich", "a": [1, 2.5, {}]},
    "output_payload": None,
    "error": {"type": "Vetoed", "message": "no", "attempt": 1, "traceback": None, "hook": "h"},
    "retry_count": 0,
    "execution_time": 0.87,
}
STATE: dict[str, Any] = {
    "pipeline": {
        "id": "pipeline_01H3XYZ9",
        "version": "2.1.0",
        "start_timestamp": 1689876543.212,
        "config_hash": "e3b0c44298fc1cd",
    },
    "nodes": {"b": NODE, "a": NODE},
    "context": {
        "environment_vars": {"A": "1", "a": "2"},
        "secret_store": None,
        "active_plugins": [],
        "artifacts": {"x": "1", "y": "2"},
    },
}


def test_a_node_is_one_object_indented_by_two_spaces_with_a_final_newline() -> None:
    assert render_node(NODE).decode() == (
        "{\n"
        '  "node_id": "a_01H3XZAB",\n'
        '  "status": "failed",\n'
        '  "input_payload": {\n'
        '    "z": "Zürich",\n'
        '    "a": [\n'
        "      1,\n"
        "      2.5,\n"
        "      {}\n"
        "    ]\n"
        "  },\n"
        '  "output_payload": null,\n'
        '  "error": {\n'
        '    "type": "Vetoed",\n'
        '    "message": "no",\n'
        '    "attempt": 1,\n'
        '    "traceback": null,\n'
        '    "hook": "h"\n'
        "  },\n"
        '  "retry_count": 0,\n'
        '  "execution_time": 0.87\n'
        "}\n"
    )


def _shuffled(value: Any) -> Any:
    """The same object with its documented members in another order, payloads untouched."""
    if isinstance(value, dict):
        return {
            key: member if key.endswith("payload") else _shuffled(member)
            for key, member in reversed(value.items())
        }
    return value


def test_documented_members_keep_their_order_however_they_come() -> None:
    shuffled = _shuffled(STATE) | {
        "nodes": {name: _shuffled(node) for name, node in STATE["nodes"].items()}
    }
    assert render_state(shuffled) == render_state(STATE)


def test_nodes_and_payloads_keep_the_order_they_were_given() -> None:
    document = json.loads(render_state(STATE))
    assert list(document["nodes"]) == ["b", "a"]
    assert list(document["nodes"]["a"]["input_payload"]) == ["z", "a"]


def test_artifacts_and_variables_are_sorted_by_code_point() -> None:
    context = STATE["context"] | {"artifacts": {"ä": "1", "Z": "2", "a": "3"}}
    document = json.loads(render_state(STATE | {"context": context}))
    assert list(document["context"]["artifacts"]) == ["Z", "a", "ä"]


def test_the_report_comes_last_with_its_further_members_after_the_documented_ones() -> None:
    report = {"resumed_from": "pipeline_01H3XYZ8", "version": 3, "status": "failed"}
    final = json.loads(render_final(STATE, report))
    assert list(final) == ["pipeline", "nodes", "context", "report"]
    assert list(final["report"]) == ["status", "version", "resumed_from"]


def test_frozen_records_give_the_same_bytes() -> None:
    payload = MappingProxyType({"z": "Zürich", "a": (1, 2.5, MappingProxyType({}))})
    assert render_node(MappingProxyType(NODE | {"input_payload": payload})) == render_node(NODE)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_what_is_read_back_equals_what_was_written(payload: Any) -> None:
    state = STATE | {"nodes": {"a": NODE | {"input_payload": {"value": payload}}}}
    assert canonical_bytes(json.loads(render_state(state))) == canonical_bytes(state)


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_numbers_which_are_equal_in_the_specification_give_the_same_bytes(number: int) -> None:
    given_as = [NODE | {"output_payload": value} for value in (number, float(number))]
    assert rfc8785.dumps(given_as[0]) == rfc8785.dumps(given_as[1])
    assert render_node(given_as[0]) == render_node(given_as[1])


def test_a_number_which_json_cannot_express_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        render_node(NODE | {"output_payload": math.nan})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer())
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(VALUES)
def test_payloads_are_laid_out_as_the_standard_library_does(payload: Any) -> None:
    written = render_node({**NODE, "output_payload": payload}).decode()
    expected = {**NODE, "output_payload": payload}
    assert written == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"
