import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.state.ids import (
    CROCKFORD,
    decode_suffix,
    delta_id,
    encode_suffix,
    next_pipeline_number,
    node_id,
    pipeline_id,
    pipeline_number,
)

numbers = st.integers(0, 32**8 - 1)


@given(numbers)
def test_a_suffix_is_8_crockford_characters_and_comes_back(number: int) -> None:
    suffix = encode_suffix(number)
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{8}", suffix)
    assert decode_suffix(suffix) == number


@given(numbers, numbers)
def test_suffixes_sort_as_their_numbers(a: int, b: int) -> None:
    assert (a < b) == (encode_suffix(a) < encode_suffix(b))


def test_suffixes_wrap_at_2_to_the_40() -> None:
    assert encode_suffix(32**8 - 1) == "ZZZZZZZZ"
    assert encode_suffix(32**8) == "00000000"


def test_the_alphabet_has_no_letter_which_is_misread() -> None:
    assert len(CROCKFORD) == 32
    assert not set("ILOU") & set(CROCKFORD)


@pytest.mark.parametrize(
    "suffix", ["", "01H3XYZ", "01H3XYZ99", "01H3XYZI", "01h3xyz9", "01H3 YZ9", "٠١٢٣٤٥٦٧"]
)
def test_what_is_no_suffix_is_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match="Crockford"):
        decode_suffix(suffix)


@pytest.mark.parametrize(
    ("unix_ms", "ulid"),
    [
        (1469918176385, "01ARYZ6S41TSV4RRFFQ69G5FAV"),  # from the reference implementation's tests
        (1469922850259, "01ARZ3NDEKTSV4RRFFQ69G5FAV"),  # from the specification
    ],
)
def test_the_suffix_is_the_beginning_of_a_ulid_of_that_time(unix_ms: int, ulid: str) -> None:
    assert encode_suffix(next_pipeline_number(unix_ms, None)) == ulid[:8]


@given(st.integers(0, 2**42), st.lists(st.integers(-(10**7), 10**7), max_size=20))
def test_numbers_grow_whatever_the_clock_does(start: int, jumps: list[int]) -> None:
    last: int | None = None
    now = start
    for jump in jumps:
        now = max(0, now + jump)
        number = next_pipeline_number(now, last)
        assert number >= now // 1024
        assert last is None or number > last
        last = number


def test_two_executions_of_one_second_are_neighbours() -> None:
    first = next_pipeline_number(1689876543212, None)
    assert next_pipeline_number(1689876543212, first) == first + 1


def test_an_id_is_its_prefix_and_suffix() -> None:
    number = pipeline_number("pipeline_01H3XYZ9")
    assert pipeline_id(number) == "pipeline_01H3XYZ9"
    with pytest.raises(ValueError, match="does not begin with 'pipeline_'"):
        pipeline_number("01H3XYZ9")


def test_node_suffixes_follow_the_pipelines_own() -> None:
    assert node_id("pipeline_01H3XYZ9", "transform_csv", 0) == "transform_csv_01H3XYZA"
    assert node_id("pipeline_01H3XYZ9", "load", 21) == "load_01H3XYZZ"
    assert node_id("pipeline_01H3XYZ9", "load", 22) == "load_01H3XZ00"
    assert node_id("pipeline_ZZZZZZZZ", "load", 0) == "load_00000000"


@given(st.lists(st.text() | st.integers()), st.lists(st.text() | st.integers()))
def test_delta_ids_are_equal_exactly_where_their_parts_are(
    a: list[str | int], b: list[str | int]
) -> None:
    assert (delta_id(*a) == delta_id(*b)) == (a == b)
    assert delta_id(*a) == delta_id(*a)


def test_a_delta_id_does_not_confuse_where_its_parts_end() -> None:
    assert delta_id("a\x1fb", "c") != delta_id("a", "b\x1fc")
    assert delta_id("a", 1) != delta_id("a", "1")


def test_a_delta_id_stays_the_same_in_later_releases() -> None:
    assert (
        delta_id("pipeline_01H3XYZ9", "load", 1, "succeeded", 3)
        == "223cd55b46df95f2d3749ec09667fcf4"
    )
