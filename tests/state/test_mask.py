import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.state import apply, diff
from aether_dagster.state.document import canonical_bytes
from aether_dagster.state.mask import Path, changes, join_path, same, select, split_path

WEIRD = ["", "*", "`", "``", ".", "a.b", "a`.`b", "status", "ü", "\U0001f600", "ﬀ", "\n", "x-y_Z9"]
keys = st.sampled_from(WEIRD) | st.text(max_size=3)
numbers = st.sampled_from([0, 1, True, False, 1.0, 0.0, -0.0, 1.5, 2**53 - 1])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | numbers | st.sampled_from(["", "1", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)
strings = st.dictionaries(keys, st.sampled_from(["", "x", "y"]), max_size=3)


def _some_of(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


nodes = _some_of({"status": st.sampled_from(["pending", "failed"]), "output_payload": values})
documents = _some_of(
    {
        "pipeline": _some_of({"id": st.sampled_from("pq"), "version": st.none() | values}),
        "nodes": st.none() | st.dictionaries(keys, nodes | values, max_size=3),
        "context": _some_of(
            {
                "environment_vars": st.none() | strings,
                "active_plugins": st.lists(st.sampled_from("ab"), max_size=2),
                "artifacts": strings,
            }
        ),
        "": values,
        "*": values,
    }
)

# As states are: the maps are always there, and a node has its id.
states = st.fixed_dictionaries(
    {
        "pipeline": _some_of({"id": st.just("p")}),
        "nodes": st.dictionaries(
            keys, st.fixed_dictionaries({"node_id": st.just("n")}, optional={"error": values})
        ),
        "context": st.fixed_dictionaries({"environment_vars": strings, "artifacts": strings}),
    }
)


@given(documents, documents)
def test_applying_a_difference_gives_the_new_document(old: Any, new: Any) -> None:
    mask, payload = diff(old, new)
    wire = json.loads(json.dumps(payload))
    assert canonical_bytes(apply(old, mask, wire)) == canonical_bytes(new)


@given(documents, documents)
def test_a_difference_is_sorted_and_no_path_is_an_ancestor(old: Any, new: Any) -> None:
    mask, _ = diff(old, new)
    assert mask == sorted(set(mask))
    paths = {split_path(text) for text in mask}
    assert not any(path[:length] in paths for path in paths for length in range(len(path)))


@given(documents, documents)
def test_a_difference_is_empty_exactly_where_the_documents_are_equal(old: Any, new: Any) -> None:
    equal = _canonical(old) == _canonical(new)
    assert (diff(old, new) == ([], {})) == equal
    assert same(old, new) == equal


@given(documents, documents)
def test_a_difference_holds_nothing_which_did_not_change(old: Any, new: Any) -> None:
    for path in changes(old, new):
        assert _canonical(_at(old, path)) != _canonical(_at(new, path))


@given(states, states, states)
def test_differences_in_a_row_can_be_merged_into_one(a: Any, b: Any, c: Any) -> None:
    mask, payload = select(c, [*changes(a, b), *changes(b, c)])
    assert canonical_bytes(apply(a, mask, payload)) == canonical_bytes(c)


@given(documents, documents)
def test_a_difference_can_be_applied_twice(old: Any, new: Any) -> None:
    mask, payload = diff(old, new)
    once = apply(old, mask, payload)
    assert canonical_bytes(apply(once, mask, payload)) == canonical_bytes(once)


@given(documents, documents, documents)
def test_nothing_given_is_changed(old: Any, new: Any, third: Any) -> None:
    kept = copy.deepcopy((old, new, third))
    mask, payload = diff(old, new)
    payload_kept = copy.deepcopy(payload)
    first = apply(old, mask, payload)
    apply(first, *diff(first, third))
    assert (old, new, third) == kept
    assert payload == payload_kept


@given(documents, documents)
def test_a_star_alone_is_a_snapshot(old: Any, new: Any) -> None:
    assert apply(old, ["*"], new) == new


@given(st.lists(keys, min_size=1, max_size=4))
def test_a_path_survives_writing(segments: list[str]) -> None:
    assert split_path(join_path(tuple(segments))) == tuple(segments)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("nodes", "transform_csv", "status"), "nodes.transform_csv.status"),
        (("context", "artifacts", "raw-Data_9"), "context.artifacts.raw-Data_9"),
        (("context", "artifacts", "a.b"), "context.artifacts.`a.b`"),
        (("context", "artifacts", "*"), "context.artifacts.`*`"),
        (("context", "artifacts", ""), "context.artifacts.``"),
        (("context", "artifacts", "`"), "context.artifacts.````"),
        (("context", "artifacts", "é"), "context.artifacts.`é`"),
    ],
)
def test_a_segment_stands_in_backticks_where_it_must(path: Path, text: str) -> None:
    assert join_path(path) == text
    assert split_path(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "`a", "a`", "`a`b", "```", "é", "*", "a.*"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        split_path(text)
    with pytest.raises(ValueError, match="is not a path"):
        apply({}, ["a", text], {})


RECORD = {"node_id": "a_1", "status": "pending", "output_payload": None, "retry_count": 0}


def test_one_changed_field_never_sends_its_node() -> None:
    old = {"nodes": {"a": RECORD, "b": RECORD}}
    new = {"nodes": {"a": RECORD | {"status": "executing"}, "b": RECORD}}
    assert diff(old, new) == (["nodes.a.status"], {"nodes": {"a": {"status": "executing"}}})


def test_a_new_node_is_sent_by_its_fields() -> None:
    mask, payload = diff({"nodes": {}}, {"nodes": {"a": RECORD}})
    assert mask == [
        "nodes.a.node_id",
        "nodes.a.output_payload",
        "nodes.a.retry_count",
        "nodes.a.status",
    ]
    assert payload == {"nodes": {"a": RECORD}}


def test_payloads_and_errors_are_replaced_whole() -> None:
    old = {"nodes": {"a": {"output_payload": {"x": 1, "y": [1]}}}}
    new = {"nodes": {"a": {"output_payload": {"x": 1, "y": [2]}}}}
    assert diff(old, new) == (["nodes.a.output_payload"], new)
    assert apply(old, *diff(old, new)) == new


def test_maps_of_the_context_are_addressed_by_key() -> None:
    old = {"context": {"artifacts": {"a": "/1", "b": "/2"}, "active_plugins": ["P@1.0.0"]}}
    new = {"context": {"artifacts": {"a": "/1"}, "active_plugins": ["P@1.0.0", "Q@1.0.0"]}}
    assert diff(old, new) == (
        ["context.active_plugins", "context.artifacts.b"],
        {"context": {"active_plugins": ["P@1.0.0", "Q@1.0.0"]}},
    )


def test_an_emptied_map_is_the_deletion_of_its_keys() -> None:
    old, new = {"context": {"artifacts": {"a": "/1", "b": "/2"}}}, {"context": {"artifacts": {}}}
    assert diff(old, new) == (["context.artifacts.a", "context.artifacts.b"], {})
    assert apply(old, *diff(old, new)) == new


def test_a_masked_map_replaces_the_map() -> None:
    old = {"context": {"artifacts": {"a": "/1"}, "secret_store": "s"}}
    new = apply(old, ["context.artifacts"], {"context": {"artifacts": {"b": "/2"}}})
    assert new == {"context": {"artifacts": {"b": "/2"}, "secret_store": "s"}}


def test_null_is_a_value_and_absence_a_deletion() -> None:
    old = {"nodes": {"a": {"error": {"type": "E"}}}}
    assert apply(old, ["nodes.a.error"], {"nodes": {"a": {"error": None}}}) == {
        "nodes": {"a": {"error": None}}
    }
    assert apply(old, ["nodes.a.error"], {}) == {"nodes": {"a": {}}}
    assert apply(old, ["nodes.a"], {}) == {"nodes": {}}


def test_a_deletion_where_even_the_parent_is_absent_changes_nothing() -> None:
    assert apply({}, ["context.artifacts.x", "nodes.a.status"], {}) == {}


def test_the_order_of_a_mask_and_overlapping_paths_do_no_harm() -> None:
    payload = {"context": {"artifacts": {"a": "/1", "b": "/2"}}}
    kept = copy.deepcopy(payload)
    mask = ["context.artifacts.a", "context.artifacts", "context.artifacts.b"]
    old = {"context": {"artifacts": {"c": "/3"}}}
    for order in (mask, mask[::-1]):
        assert apply(old, order, payload) == payload
    assert (payload, old) == (kept, {"context": {"artifacts": {"c": "/3"}}})


def test_a_selection_drops_what_stands_below_another_path() -> None:
    document = {"context": {"artifacts": {"a": "/1"}}}
    paths = [("context", "artifacts", "a"), ("context", "artifacts"), ("context", "artifacts")]
    assert select(document, paths) == (["context.artifacts"], document)


def test_code_points_decide_the_order_and_not_utf_16() -> None:
    mask, _ = diff({"context": {"artifacts": {}}}, {"context": {"artifacts": {"ﬀ": "", "😀": ""}}})
    assert mask == ["context.artifacts.`ﬀ`", "context.artifacts.`😀`"]


def test_booleans_are_no_numbers_at_any_depth() -> None:
    old, new = {"nodes": {"a": {"x": [{"k": 1}]}}}, {"nodes": {"a": {"x": [{"k": True}]}}}
    assert diff(old, new)[0] == ["nodes.a.x"]
    assert diff(old, {"nodes": {"a": {"x": [{"k": 1.0}]}}}) == ([], {})


def _at(document: Any, path: Path) -> list[Any]:
    for segment in path:
        if not isinstance(document, dict) or segment not in document:
            return []
        document = document[segment]
    return [document]


def _canonical(value: Any) -> bytes:
    return canonical_bytes({"value": value})
