import datetime as dt
import subprocess
import sys
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.errors import ValueStoreError
from aether_dagster.values import decode, encode, is_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def roundtrip(value: Any) -> Any:
    encoded = encode(value)
    return decode(encoded.data, encoded.media_type)


@given(json_values)
def test_json_comes_back_as_it_was(value: Any):
    back = roundtrip(value)
    assert (back, repr(back)) == (value, repr(value))


@pytest.mark.parametrize(
    ("value", "media_type", "extension"),
    [
        ({"a": [1, 2.5, None]}, "application/json", ".json"),
        ("Grüße\n", "text/plain; charset=utf-8", ".txt"),
        (b"\x00\xff", "application/octet-stream", ".bin"),
        ((1, 2), "application/x-python-pickle", ".pickle"),
        ("\ud800", "application/x-python-pickle", ".pickle"),
        (float("inf"), "application/x-python-pickle", ".pickle"),
        ({"when": dt.date(2024, 1, 2)}, "application/x-python-pickle", ".pickle"),
        (bytearray(b"x"), "application/x-python-pickle", ".pickle"),
    ],
)
def test_the_codec_follows_from_the_value(value: Any, media_type: str, extension: str):
    encoded = encode(value)
    assert (encoded.media_type, encoded.extension) == (media_type, extension)
    back = decode(encoded.data, encoded.media_type)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_table_is_parquet_and_comes_back_in_its_own_library(library: str):
    columns = {"id": [1, 2], "name": ["a", None]}
    table: Any = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[library](
        columns
    )
    encoded = encode(table)
    assert encoded.media_type == f"application/vnd.apache.parquet; frame={library}"
    assert encoded.data[:4] == b"PAR1"
    back = decode(encoded.data, encoded.media_type)
    assert type(back) is type(table)
    assert back.equals(table)


def test_an_index_of_pandas_comes_back():
    table = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["x", "y"], name="key"))
    assert roundtrip(table).equals(table)
    assert roundtrip(table).index.name == "key"


def test_a_table_which_parquet_cannot_hold_is_pickled():
    table = pd.DataFrame({"odd": [1, "two", {3}]})
    encoded = encode(table)
    assert encoded.extension == ".pickle"
    assert decode(encoded.data, encoded.media_type).equals(table)


def test_what_cannot_be_stored_says_what_can():
    with pytest.raises(ValueStoreError, match=r"type builtins\.generator cannot be .* Return JSON"):
        encode(i for i in range(3))


def test_deep_nesting_and_loops_do_not_crash():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert not is_json(deep)
    with pytest.raises(ValueStoreError, match="RecursionError"):
        encode(deep)
    loop: list[Any] = []
    loop.append(loop)
    back = roundtrip(loop)
    assert back[0] is back


@pytest.mark.parametrize(
    ("media_type", "message"),
    [
        ("application/json", "cannot be read: JSONDecodeError"),
        ("application/vnd.apache.parquet; frame=spark", "no table library is called 'spark'"),
        ("image/png", "Unknown media type 'image/png'"),
    ],
)
def test_bytes_which_are_not_of_their_type_are_refused(media_type: str, message: str):
    with pytest.raises(ValueStoreError, match=message):
        decode(b"{", media_type)


def test_no_table_library_is_imported_for_other_values():
    code = (
        "import sys\n"
        "from aether_dagster.values import decode, encode\n"
        "for value in ({'a': 1}, (1,), 'x', b'y'):\n"
        "    decode(encode(value).data, encode(value).media_type)\n"
        "unwanted = {'pandas', 'polars', 'pyarrow', 'numpy', 'dagster'}\n"
        "print(sorted(unwanted & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
