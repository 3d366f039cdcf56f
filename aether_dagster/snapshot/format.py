"""The bytes of a snapshot: the same state gives the same bytes (spec 3).

JSON in UTF-8, characters as themselves, two spaces, a final newline. Members which the
specification names stand in its order; payloads as they were given. A number without a fraction
is written without one (`2.0` as `2`), because such numbers are equal in spec 1.1.
"""

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
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
# `json.dumps` makes an encoder for each of them.
_WORDS: Mapping[bool | None, str] = {None: "null", True: "true", False: "false"}


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
    return f"{_text(value, chr(10))}\n".encode()


def _text(value: Any, margin: str) -> str:
    """Returns what `json.dumps(indent=2)` does, which is slow where it indents.

    Args:
        value: A JSON value.
        margin: A line's end, and the next line's beginning.
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or type(value) is bool:
        return _WORDS[value]
    if type(value) is int:
        return repr(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_INTEGER:
        return repr(int(value))
    # Nearly all are plain; to ask an abstract class takes longer.
    if type(value) is dict or isinstance(value, Mapping):
        members = cast(Mapping[Any, Any], value)
        inner = f"{margin}  "
        lines = [f"{_key(key)}: {_text(each, inner)}" for key, each in members.items()]
        return f"{{{inner}{f',{inner}'.join(lines)}{margin}}}" if lines else "{}"
    if isinstance(value, list | tuple):
        inner = f"{margin}  "
        lines = [_text(item, inner) for item in cast(list[Any], value)]
        return f"[{inner}{f',{inner}'.join(lines)}{margin}]" if lines else "[]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _key(key: Any) -> str:
    return encode_basestring(key if isinstance(key, str) else json.dumps(key))
