"""The bytes of a snapshot: the same state gives the same bytes (spec 3).

JSON in UTF-8, characters as themselves, two spaces, a final newline. Members which the
specification names stand in its order; payloads as they were given. A number without a fraction
is written without one (`2.0` as `2`), because such numbers are equal in spec 1.1.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from aether_dagster.state.document import CONTEXT_FIELDS, NODE_FIELDS, PIPELINE_FIELDS

ERROR_FIELDS = ("type", "message", "attempt", "traceback")
REPORT_FIELDS = (
    "status",
    "end_timestamp",
    "duration",
    "nodes",
    "retries",
    "failed",
    "version",
)

# Beyond this a double stands for more than one integer, and RFC 8785 takes no integer there.
_LARGEST_INTEGER = 2**53 - 1


def render_node(record: Mapping[str, Any]) -> bytes:
    """Returns the content of a node's file: one bare Node State object."""
    return _render(_node(record))


def render_state(document: Mapping[str, Any]) -> bytes:
    """Returns the content of `state_init.json`: a state document."""
    return _render(_state(document))


def render_final(document: Mapping[str, Any], report: Mapping[str, Any]) -> bytes:
    """Returns the content of `state_final.json`: a state document and its report."""
    return _render({**_state(document), "report": _ordered(report, REPORT_FIELDS)})


def _state(document: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = _ordered(document["context"], CONTEXT_FIELDS)
    for key in ("environment_vars", "artifacts"):
        context[key] = dict(sorted(context[key].items()))
    return {
        "pipeline": _ordered(document["pipeline"], PIPELINE_FIELDS),
        "nodes": {name: _node(record) for name, record in document["nodes"].items()},
        "context": context,
    }


def _node(record: Mapping[str, Any]) -> dict[str, Any]:
    node = _ordered(record, NODE_FIELDS)
    if node["error"] is not None:
        node["error"] = _ordered(node["error"], ERROR_FIELDS)
    return node


def _ordered(members: Mapping[str, Any], first: Iterable[str]) -> dict[str, Any]:
    return {key: members[key] for key in first if key in members} | dict(members)


def _render(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_INTEGER:
        return int(value)
    if isinstance(value, Mapping):
        members = cast(Mapping[str, Any], value)
        return {key: _plain(member) for key, member in members.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast(list[Any], value)]
    return value
