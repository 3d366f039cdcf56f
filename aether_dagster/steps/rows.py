"""Rows of a query as JSON mappings (spec 2, `sql/query` with `format: records`)."""

import base64
import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

_LARGEST_INTEGER = 2**53 - 1


def records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Give rows as mappings from column to a JSON value."""
    return [
        {column: json_safe(value) for column, value in zip(columns, row, strict=True)}
        for row in rows
    ]


def json_safe(value: Any) -> Any:
    """Give a database's value as JSON.

    A Decimal becomes a number where one of the same digits exists, else text; so does an integer
    beyond 2^53 - 1. NaN and infinities become null. Dates and times become ISO 8601 text, a
    duration its seconds, bytes base64, anything else its text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= _LARGEST_INTEGER else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value.encode("utf-8", "backslashreplace"), "utf-8")
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(cast("bytes", value))).decode()
    return _container(value)


def _number(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) <= _LARGEST_INTEGER:
        return int(value)
    number = float(value)
    return number if math.isfinite(number) and Decimal(repr(number)) == value else str(value)


def _container(value: Any) -> Any:
    if isinstance(value, Mapping):
        members = cast("Mapping[Any, Any]", value)
        return {str(key): json_safe(member) for key, member in members.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_safe(member) for member in cast("Iterable[Any]", value)]
    return str(value)
