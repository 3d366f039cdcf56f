"""JSON as the journal stores it, and its times."""

import json
import time
from typing import Any

from aether_dagster.errors import JournalError

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def to_text(value: Any) -> str:
    """Returns compact JSON in ASCII, which every engine stores whatever characters are in it."""
    try:
        return _encode(value)
    except (TypeError, ValueError) as error:
        raise JournalError(
            f"Only JSON can be committed to the journal: {error}. "
            "Store such a value beside it and commit the reference."
        ) from error


def from_text(text: str | None) -> Any:
    """Returns the value of stored JSON; None for none."""
    return None if text is None else json.loads(text)


def unix_ms() -> int:
    """Returns the wall clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000
