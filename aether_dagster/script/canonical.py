"""Canonical JSON (RFC 8785): what it can express, and the hash of it (spec 1.1)."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from aether_dagster.script.loader import MAX_DEPTH, Path
from aether_dagster.script.scalars import MAX_INTEGER

HASH_LENGTH = 15


def short_hash(value: Any) -> str:
    """Return the first 15 hex digits of SHA-256 over a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:HASH_LENGTH]


def canonical_json(value: Any) -> bytes:
    """Return a value's canonical JSON.

    Raises:
        ValueError: The value is not JSON.
    """
    import rfc8785

    return rfc8785.dumps(value)


def not_json(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the place and the description of everything which canonical JSON cannot express."""
    if isinstance(value, (str, int, float)) or value is None:
        if (found := _scalar_fault(value)) is not None:
            yield path, found
    elif len(path) > MAX_DEPTH:
        yield path, "a value which is nested too deeply"
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from not_json(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in cast("Mapping[Any, Any]", value).items():
            if not isinstance(key, str):
                yield path, f"the key {key!r}, which is no string"
            elif (found := _scalar_fault(key)) is not None:
                yield path, f"a key with {found}"
            else:
                yield from not_json(item, (*path, key))
    else:
        yield path, f"a value of type {type(value).__name__}"


def _scalar_fault(value: str | float | None) -> str | None:
    if isinstance(value, str):
        broken = not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)
        return "half of a surrogate pair" if broken else None
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a whole number beyond 2^53 - 1"
    if isinstance(value, float) and not math.isfinite(value):
        return f"the number {value}"
    return None
