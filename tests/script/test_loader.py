"""YAML 1.2 as the loader reads it: values, places, and what it refuses."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.script.loader import MAX_BYTES, MAX_VALUES, Unreadable, dump, load


def value(text):
    loaded = load(text, "x.yaml")
    assert loaded.problems == []
    return loaded.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on", "on"),
        ("No", "No"),
        ("y", "y"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("0b11", "0b11"),
        ("017", 17),
        ("0o17", 15),
        ("0xFF", 255),
        ("-12", -12),
        ("+3", 3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("''", ""),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        ("!!float 1", 1),
        ("=", "="),
        (".", "."),
        ("+", "+"),
    ],
)
def test_plain_scalars_mean_what_the_core_schema_of_yaml_1_2_says(text, expected):
    found = value(f"a: {text}")["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_every_key_and_value_has_its_line_and_column():
    loaded = load("a: 1\nb:\n  - c: 'x y'\n    dé: [1, 2]\n", "x.yaml")
    assert loaded.keys["b",] == (2, 1)
    assert loaded.values["b", 0][:2] == (3, 5)
    assert loaded.keys["b", 0, "dé"] == (4, 5)
    assert loaded.values["b", 0, "dé", 1][:2] == (4, 13)
    line, column, start, end = loaded.values["b", 0, "c"]
    assert (line, column, loaded.text[start:end]) == (3, 8, "'x y'")


def test_a_byte_order_mark_moves_no_column():
    loaded = load(b"\xef\xbb\xbfa: 1", "x.yaml")
    assert loaded.value == {"a": 1}
    assert loaded.keys["a",] == (1, 1)


def test_aliases_give_equal_values_which_are_not_one_object():
    found = value("a: &x {list: [1]}\nb: *x\n")
    assert found["b"] == found["a"]
    assert found["b"]["list"] is not found["a"]["list"]


# YAML ends a key after 1,024 characters, and an escaped one may need twelve for each.
SHORT = st.text(max_size=80)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(SHORT, inner),
        max_leaves=20,
    )
)
def test_json_and_what_dump_writes_are_read_back_as_they_were(data):
    as_json = json.dumps({"data": data})
    assert value(as_json)["data"] == data
    assert value(dump({"data": data}))["data"] == data


def test_json_may_write_characters_as_pairs_of_escapes():
    assert value('{"a": "\\ud83d\\ude80", "b": "\\\\ud83d\\\\ude80"}') == {
        "a": "\U0001f680",
        "b": "\\ud83d\\ude80",
    }


def refusal(source):
    with pytest.raises(Unreadable) as caught:
        load(source, "x.yaml")
    return str(caught.value.problem)


def test_a_billion_laughs_are_refused_before_they_are_expanded():
    rows = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    begin = time.process_time()
    assert "too many values" in refusal("\n".join(rows))
    assert time.process_time() - begin < 5


def test_deep_nesting_is_refused_in_flow_and_in_blocks():
    assert "nested too deeply" in refusal("[" * 100_000 + "]" * 100_000)
    assert "nested too deeply" in refusal("- " * 100_000 + "x")
    assert "nested too deeply" in refusal("{a: 1, a: " * 100_000)
    assert "nested too deeply" in refusal("? " * 100_000)


def test_too_many_values_are_refused():
    assert "too many values" in refusal("- a\n" * (MAX_VALUES + 1))


def test_a_document_over_the_limit_is_refused_with_its_size():
    problem = refusal(b"#" * (10 * 1024 * 1024))
    assert f"found {10 * 1024 * 1024} bytes; expected at most {MAX_BYTES} bytes" in problem


def test_half_of_a_surrogate_pair_is_refused_with_its_place():
    assert refusal("a: b\nc: \ud800").startswith("x.yaml:2:4: ")


def test_a_number_of_any_length_is_refused_without_reading_it():
    problems = load("a: " + "9" * 100_000, "x.yaml").problems
    assert [problem.line for problem in problems] == [1]
    assert "2^53 - 1" in str(problems[0])


def test_what_is_wrong_with_a_key_hides_nothing_else():
    loaded = load("1: one\n2: .nan\nx: .inf\ny: 1\ny: {z: -.inf}\n", "x.yaml")
    assert [problem.line for problem in loaded.problems] == [1, 2, 2, 3, 5, 5]
    assert loaded.value == {"x": 0, "y": 1}
    assert not any(isinstance(v, float) and math.isinf(v) for v in loaded.value.values())
