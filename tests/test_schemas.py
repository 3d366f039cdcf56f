"""The published JSON Schemas accept the specification's own examples and refuse what breaks it."""

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.schemas import SCHEMAS, Kind, errors, misplaced

PIPELINE: dict[str, Any] = {
    "id": "pipeline_01H3XYZ9",
    "version": "2.1.0",
    "start_timestamp": 1689876543.212,
    "config_hash": "e3b0c44298fc1cd",
}
NODE: dict[str, Any] = {
    "node_id": "transform_csv_01H3XZAB",
    "status": "executing",
    "input_payload": {"path": "/data/raw.csv"},
    "output_payload": None,
    "error": None,
    "retry_count": 0,
    "execution_time": 0.87,
}
CONTEXT: dict[str, Any] = {
    "environment_vars": {"DEBUG": "true"},
    "secret_store": "vault://aether-prod",
    "active_plugins": ["DataValidator@1.4.0", "SlackNotifier@3.2.1"],
    "artifacts": {"raw_data": "/tmp/aether/raw_data.bin"},
}
STATE = {"pipeline": PIPELINE, "nodes": {"transform_csv": NODE}, "context": CONTEXT}
FAILURE = {"type": "ValueError", "message": "no", "attempt": 1, "traceback": None}
UPSTREAM = {"type": "UpstreamFailed", "message": "no", "attempt": 0, "upstream": ["a"]}
SUCCEEDED = NODE | {"status": "succeeded", "output_payload": {"rows": 3}}
REPORT = {
    "status": "succeeded",
    "end_timestamp": 1689876544.0,
    "duration": 0.788,
    "nodes": {"succeeded": 1},
    "retries": 0,
    "failed": [],
    "version": 5,
}
FINAL = STATE | {"nodes": {"transform_csv": SUCCEEDED}, "report": REPORT}


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.schema.json")), ids=lambda path: path.name)
def test_each_schema_is_a_schema(path: Any) -> None:
    Draft202012Validator.check_schema(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        ("pipeline", PIPELINE),
        ("node", NODE),
        ("context", CONTEXT),
        ("state", STATE),
        ("final", FINAL),
        ("final", FINAL | {"report": REPORT | {"resumed_from": "pipeline_01H3XYZ8"}}),
        ("node", NODE | {"status": "failed", "error": FAILURE}),
        ("node", NODE | {"status": "pending", "error": UPSTREAM, "execution_time": 0}),
        (
            "node",
            SUCCEEDED
            | {
                "output_payload": {
                    "$artifact": "file:///v/1",
                    "sha256": "0" * 64,
                    "bytes": 20000,
                    "media_type": "application/json",
                }
            },
        ),
    ],
)
def test_documented_examples_are_valid(kind: Kind, example: Any) -> None:
    assert errors(kind, example) == []


def _changed(document: Any, path: str, value: Any) -> Any:
    document = copy.deepcopy(document)
    *parents, last = path.split(".")
    target = document
    for key in parents:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return document


@pytest.mark.parametrize(
    ("kind", "example", "path", "value"),
    [
        ("pipeline", PIPELINE, "id", "pipeline_01H3XYZI"),
        ("pipeline", PIPELINE, "version", "2.1"),
        ("pipeline", PIPELINE, "start_timestamp", "2023-07-20"),
        ("pipeline", PIPELINE, "config_hash", "e3b0c44298fc1c"),
        ("pipeline", PIPELINE, "name", "nightly"),
        ("node", NODE, "status", "cancelled"),
        ("node", NODE, "error", ...),
        ("node", NODE, "input_payload", [1]),
        ("node", NODE, "retry_count", -1),
        ("node", NODE, "retry_count", 0.5),
        ("node", NODE, "error", FAILURE),
        ("node", NODE, "attempt", 1),
        ("node", NODE | {"status": "succeeded"}, "error", FAILURE),
        ("node", NODE | {"status": "failed"}, "error", None),
        ("node", NODE | {"status": "retrying"}, "error", FAILURE | {"attempt": 0}),
        ("node", NODE | {"status": "failed"}, "error", FAILURE | {"type": "Vetoed"}),
        ("node", NODE | {"status": "pending"}, "execution_time", 0.87),
        ("node", SUCCEEDED, "output_payload", {"$artifact": "file:///v/1"}),
        ("context", CONTEXT, "environment_vars", {"DEBUG": True}),
        ("context", CONTEXT, "secret_store", "hunter2"),
        ("context", CONTEXT, "active_plugins", ["DataValidator"]),
        ("context", CONTEXT, "secrets", {}),
        ("state", STATE, "nodes.transform_csv.node_id", "transform_csv"),
        ("state", STATE, "report", REPORT),
        ("final", FINAL, "report", ...),
        ("final", FINAL, "report.version", 0),
        ("final", FINAL, "report.status", "pending"),
        ("final", FINAL, "nodes.transform_csv", NODE),
    ],
)
def test_what_breaks_the_specification_is_invalid(
    kind: Kind, example: Any, path: str, value: Any
) -> None:
    assert errors(kind, _changed(example, path, value)) != []


@pytest.mark.parametrize("part", ["", "pipeline", "context", "report", "nodes.transform_csv"])
def test_members_in_another_order_are_seen(part: str) -> None:
    state = copy.deepcopy(FINAL)
    assert misplaced("final", state) == []
    found = state
    for name in filter(None, part.split(".")):
        found = found[name]
    first = next(iter(found))
    found[first] = found.pop(first)
    assert len(misplaced("final", state)) == 1


def test_members_of_an_error_in_another_order_are_seen() -> None:
    node = NODE | {"status": "failed", "error": FAILURE}
    assert misplaced("node", node) == []
    assert len(misplaced("node", node | {"error": dict(reversed(FAILURE.items()))})) == 1
