"""How a value becomes bytes and comes back: JSON, text, bytes, Parquet; pickle last (spec 7)."""

import io
import json
import pickle
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from aether_dagster.errors import ValueStoreError
from aether_dagster.values.expressible import is_json

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
PARQUET = "application/vnd.apache.parquet"
PICKLE = "application/x-python-pickle"

_FRAMES = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "Table"}


@dataclass(frozen=True)
class Encoded:
    """A value as bytes.

    Args:
        data: The bytes.
        media_type: How to read them; Parquet's parameter `frame` names the library of the table.
        extension: For a file's name, with the dot.
    """

    data: bytes
    media_type: str
    extension: str


def encode(value: Any) -> Encoded:
    """Encode a value by its type (spec 7, "Values").

    Text, bytes, JSON and the tables of pandas, polars and pyarrow have formats which anything can
    read. A table which Parquet cannot hold, and every other object, is pickled. No table library
    is imported unless the value is one of its tables.

    Raises:
        ValueStoreError: The value cannot even be pickled.
    """
    if type(value) is bytes:
        return Encoded(value, BYTES, ".bin")
    if is_json(value):
        if isinstance(value, str):
            return Encoded(value.encode(), TEXT, ".txt")
        return Encoded(to_json_bytes(value), JSON, ".json")
    frame = _frame_library(value)
    if frame is not None:
        data = _to_parquet(value, frame)
        if data is not None:
            return Encoded(data, f"{PARQUET}; frame={frame}", ".parquet")
    return Encoded(_to_pickle(value), PICKLE, ".pickle")


def decode(data: bytes, media_type: str) -> Any:
    """Give back the value which `encode` was given.

    Never call it with bytes from outside the own store: a pickle runs code when it is read.

    Raises:
        ValueStoreError: The media type is unknown, or the bytes are not of it.
    """
    kind, _, parameter = media_type.partition("; ")
    try:
        if media_type == TEXT:
            return data.decode()
        if kind == BYTES:
            return data
        if kind == JSON:
            return json.loads(data)
        if kind == PARQUET:
            return _from_parquet(data, parameter.removeprefix("frame="))
        if kind == PICKLE:
            return pickle.loads(data)  # noqa: S301 - the store reads what it wrote, nothing else
    except Exception as error:
        raise ValueStoreError(
            f"A stored value of type {media_type!r} cannot be read: {type(error).__name__}: {error}"
        ) from error
    raise ValueStoreError(
        f"Unknown media type {media_type!r}; a newer version of aether-dagster may have stored it."
    )


def to_json_bytes(value: Any) -> bytes:
    """Compact UTF-8 JSON of a value which `is_json`, its keys in their order."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    ).encode()


def _frame_library(value: Any) -> str | None:
    for library, class_name in _FRAMES.items():
        module = sys.modules.get(library)
        table = getattr(module, class_name, None)
        # Exactly the library's own class: a subclass would come back as its base.
        if table is not None and type(value) is table:
            return library
    return None


def _to_parquet(value: Any, library: str) -> bytes | None:
    buffer = io.BytesIO()
    try:
        if library == "pandas":
            value.to_parquet(buffer)
        elif library == "polars":
            value.write_parquet(buffer)
        else:
            import_module("pyarrow.parquet").write_table(value, buffer)
    except Exception:  # noqa: BLE001 - a column of odd objects fails differently in each library
        return None
    return buffer.getvalue()


def _from_parquet(data: bytes, library: str) -> Any:
    buffer = io.BytesIO(data)
    if library not in _FRAMES:
        raise ValueError(f"no table library is called {library!r}")
    if library == "pyarrow":
        return import_module("pyarrow.parquet").read_table(buffer)
    return import_module(library).read_parquet(buffer)


def _to_pickle(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise ValueStoreError(
            f"A value of type {type(value).__module__}.{type(value).__qualname__} cannot be "
            f"stored: {type(error).__name__}: {error}. Return JSON, text, bytes, a table, or an "
            "object which pickle can write."
        ) from error
