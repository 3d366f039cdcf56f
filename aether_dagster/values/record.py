"""Fits a node's record under its size limit by spilling payloads and cutting texts (spec 1.4)."""

from collections.abc import Callable
from typing import Any, cast

import rfc8785

from aether_dagster.values.codecs import to_json_bytes
from aether_dagster.values.expressible import is_json
from aether_dagster.values.reference import is_reference

RECORD_LIMIT = 16_384
MESSAGE_LIMIT = 2_048
TRACEBACK_LIMIT = 5_120
OTHER_TEXT_LIMIT = 256
UPSTREAM_LIMIT = 20
OTHER_MEMBERS_LIMIT = 4
NAME_LIMIT = 140

_PAYLOADS = ("input_payload", "output_payload")
# About what a reference takes; to spill a smaller member would gain nothing.
_REFERENCE_BYTES = 400
_MOST_SPILLED_MEMBERS = 16

Spill = Callable[[Any], dict[str, Any]]


def fit_node_record(record: dict[str, Any], spill: Spill, *, reserve: int = 0) -> dict[str, Any]:
    """Give a node's record as it may stand in state: JSON, and under 16 384 bytes (spec 1.4).

    What is not JSON is spilled always; then members of the payloads, largest first, while that is
    enough; then whole payloads. A payload or member which is a reference already stays one. In
    `error`, the message keeps 2 KB, a traceback loses its middle, and `upstream` keeps 20 names
    and gains `upstream_count`. Size never fails a run.

    Args:
        record: A Node State (spec 1.1), its payloads any Python values. It is not changed.
        spill: Stores a value and gives the reference object to put in its place; called once for
            each value which is spilled.
        reserve: Bytes to leave free, for members which a later change of the record brings.
    """
    fitted = dict(record)
    if isinstance(fitted.get("error"), dict):
        fitted["error"] = _fit_error(fitted["error"])
    for field in _PAYLOADS:
        if field in fitted:
            fitted[field] = _spill_what_is_not_json(fitted[field], spill)
    limit = RECORD_LIMIT - reserve
    if not _fits(fitted, limit):
        _spill_members(fitted, spill, limit)
    for field in sorted(_PAYLOADS, key=lambda name: -_size(fitted.get(name))):
        # Nothing is gained where the payload is no larger than the reference to it.
        if not _fits(fitted, limit) and _size(fitted.get(field)) > _REFERENCE_BYTES:
            fitted[field] = spill(fitted[field])
    return fitted


def _fits(record: dict[str, Any], limit: int) -> bool:
    plain = to_json_bytes(record)
    if len(plain) >= limit:
        return False
    # RFC 8785 writes 1e+20 as 21 digits and 1e-05 as 0.00001, so its own length counts too.
    longer = 16 * plain.count(b"e+") + 2 * plain.count(b"e-0")
    return len(plain) + longer < limit or len(rfc8785.dumps(record)) < limit


def _size(value: Any) -> int:
    return len(to_json_bytes(value))


def _spill_what_is_not_json(payload: Any, spill: Spill) -> Any:
    if is_json(payload):
        return payload
    if not isinstance(payload, dict) or not is_json(dict.fromkeys(cast("Any", payload))):
        return spill(payload)
    members = cast("dict[str, Any]", payload)
    # Judged inside a list, since a member may be nested one level less deep than a payload.
    return {name: value if is_json([value]) else spill(value) for name, value in members.items()}


def _spill_members(record: dict[str, Any], spill: Spill, limit: int) -> None:
    members = [
        (_size(value), field, name)
        for field in _PAYLOADS
        if isinstance(record.get(field), dict) and not is_reference(record[field])
        for name, value in record[field].items()
        if not is_reference(value)
    ]
    members.sort(key=lambda member: member[0], reverse=True)
    excess = _size(record) - limit
    chosen = 0
    while chosen < min(len(members), _MOST_SPILLED_MEMBERS) and excess >= 0:
        excess -= members[chosen][0] - _REFERENCE_BYTES
        chosen += 1
    if excess >= 0:
        return
    for _, field, name in members[:chosen]:
        record[field] = {**record[field], name: spill(record[field][name])}


def _fit_error(error: dict[str, Any]) -> dict[str, Any]:
    fitted: dict[str, Any] = {}
    others = 0
    for name, value in error.items():
        if name == "attempt":
            fitted[name] = value
        elif name in _TEXTS:
            fitted[name] = None if value is None else _TEXTS[name](str(value))
        elif name == "upstream":
            fitted[name] = [_cut_end(str(step), NAME_LIMIT) for step in value[:UPSTREAM_LIMIT]]
            if len(value) > UPSTREAM_LIMIT:
                fitted["upstream_count"] = len(value)
        elif others < OTHER_MEMBERS_LIMIT:
            others += 1
            small = is_json(value) and _size(value) <= OTHER_TEXT_LIMIT
            kept = value if small else _cut_end(str(value), OTHER_TEXT_LIMIT)
            fitted[_cut_end(name, OTHER_TEXT_LIMIT)] = kept
    return fitted


def _cut_end(text: str, limit: int) -> str:
    return _cut(text, limit, lambda kept: kept)


def _cut_middle(text: str, limit: int) -> str:
    # The end of a traceback says more than its beginning, so it keeps two thirds.
    return _cut(text, limit, lambda kept: kept // 3)


def _cut(text: str, limit: int, head: Callable[[int], int]) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= limit and _size(text) <= limit:
        return text

    def shortened(kept: int) -> str:
        start = head(kept)
        left_out = f"… [{len(text) - kept} characters left out]"
        tail = text[len(text) - (kept - start) :] if kept > start else ""
        return f"{text[:start]}{left_out}{' …' if tail else ''}{tail}"

    fewest, most = 0, min(len(text), limit)
    while fewest < most:
        kept = (fewest + most + 1) // 2
        if _size(shortened(kept)) <= limit:
            fewest = kept
        else:
            most = kept - 1
    return shortened(fewest)


_TEXTS: dict[str, Callable[[str], str]] = {
    "type": lambda text: _cut_end(text, OTHER_TEXT_LIMIT),
    "message": lambda text: _cut_end(text, MESSAGE_LIMIT),
    "traceback": lambda text: _cut_middle(text, TRACEBACK_LIMIT),
}
