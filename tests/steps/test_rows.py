import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.steps.rows import json_safe, records


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("10.10"), 10.1),
        (Decimal("3.00"), 3),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (Decimal("NaN"), None),
        (2**53, str(2**53)),
        (-(2**53) + 1, -(2**53) + 1),
        (math.nan, None),
        (math.inf, None),
        (True, True),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), "2024-01-02T03:00:00+00:00"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(minutes=1.5), 90.0),
        (b"\x00\xff", "AP8="),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"a": [Decimal(1), {1: b"x"}]}, {"a": [1, {"1": "eA=="}]}),
    ],
)
def test_values_become_json(value: Any, expected: Any):
    got = json_safe(value)
    assert got == expected
    assert type(got) is type(expected)


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats() | st.integers() | st.text())
def test_every_value_is_json_and_no_digit_is_lost(value: Any):
    got = json_safe(value)
    json.dumps(got, allow_nan=False).encode()
    if isinstance(value, Decimal):
        assert Decimal(repr(got) if isinstance(got, float) else got) == value


def test_rows_become_mappings_in_the_order_of_the_columns():
    assert [list(row.items()) for row in records(["b", "a"], [(1, 2), (3, None)])] == [
        [("b", 1), ("a", 2)],
        [("b", 3), ("a", None)],
    ]
