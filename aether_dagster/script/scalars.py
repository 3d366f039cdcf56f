"""The core schema of YAML 1.2: what a plain scalar means."""

import re
from typing import Any

MAX_INTEGER = 2**53 - 1
"""The greatest whole number which JSON can carry (RFC 8785)."""

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
MAYBE_NUMBER = frozenset("0123456789+-.")


def scalar(text: str) -> Any:
    """A plain scalar's value by YAML 1.2's core schema."""
    if text and text[0] in MAYBE_NUMBER:
        if INTEGER.fullmatch(text):
            if text.startswith(("0o", "0x")):
                return int(text, 0)
            # Python refuses to read very long numbers; all of them are beyond JSON's limit.
            return int(text) if len(text) < 4000 else MAX_INTEGER + 1
        if FLOAT.fullmatch(text):
            return float(text)
        if _NOT_FINITE.fullmatch(text):
            return float(text.replace(".", ""))
        return text
    if text in _NULL:
        return None
    return _BOOL.get(text, text)


def kind_of(value: Any) -> str:
    """Say what a scalar is which is no string."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the number {value}"
