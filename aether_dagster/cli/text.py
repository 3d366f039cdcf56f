"""How times, errors and tables are written for people."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

# In the order in which a reader wants their counts.
STATUSES = ("succeeded", "failed", "executing", "retrying", "pending")

# What is in an error's message may have come from anywhere, and must not drive the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Returns text without control characters, but for line breaks and tabs."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def seconds(value: float) -> str:
    """Returns a duration in seconds as people write it: `0.87 s`, `4 min 03 s`, `2 h 05 min`."""
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def size(value: int) -> str:
    """Returns a number of bytes as people write it: `812 B`, `3.4 kB`, `1.2 GB`."""
    if value < 1000:
        return f"{value} B"
    amount = float(value)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def moment(timestamp: float) -> str:
    """Returns Unix seconds as a UTC time, such as `2023-07-20T13:34:52Z`."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"


def error_line(error: Mapping[str, Any]) -> str:
    """Returns a node's error on one line: its type and the first line of its message."""
    lines = printable(str(error.get("message") or "")).strip().splitlines()
    kind = printable(str(error.get("type") or "Error"))
    return f"{kind}: {lines[0]}" if lines else kind


def counted(counts: Mapping[str, int]) -> str:
    """Returns `3 succeeded, 1 failed`, always in the same order."""
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts.get(status))


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the rows as lines, their columns aligned to the left."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
