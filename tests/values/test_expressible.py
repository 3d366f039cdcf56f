import math
from enum import IntEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.values import is_json

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53 - 3, max_value=2**53 + 3)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Ll"]), max_size=3)
    | st.binary(max_size=3)
    | st.decimals()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def rfc8785_can_express(value: Any) -> bool:
    try:
        rfc8785.dumps(value)
    # Keys with lone surrogates leave the library as the codec's own error.
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return False
    return True


@given(values)
def test_agrees_with_rfc_8785(value: Any):
    assert is_json(value) == rfc8785_can_express(value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        2**53,
        -(2**53),
        "\ud800",
        {"\udfff": 1},
        {1: "a"},
        {None: "a"},
        (1, 2),
        [(1,)],
        {1, 2},
        b"bytes",
        object(),
        1j,
    ],
)
def test_what_json_would_lose_is_not_json(value: Any):
    assert not is_json(value)
    assert not is_json({"deep": [value]})


def test_numbers_and_text_of_a_subclass_are_json():
    class Level(IntEnum):
        HIGH = 3

    assert is_json({"level": Level.HIGH, "limit": 2**53 - 1, "pair": "\U0001f600"})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_nesting_is_bounded_and_never_crashes():
    assert is_json(nested(200))
    assert not is_json(nested(201))
    assert not is_json(nested(200_000))


def test_a_value_which_holds_itself_is_not_json():
    loop: dict[str, Any] = {}
    loop["again"] = [loop, loop]
    assert not is_json(loop)


def test_a_value_which_shares_its_parts_is_walked_once_per_level():
    value: list[Any] = [1]
    for _ in range(150):
        value = [value, value]
    assert is_json(value)
