import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.values.naming import pointer_key, segment

names = st.text(max_size=300) | st.sampled_from(
    ["", ".", "..", "a/b", "a b", "CON", "~", "x" * 400]
)


@given(names)
def test_a_segment_is_safe_for_file_systems_and_urls(name: str):
    assert re.fullmatch(r"[A-Za-z0-9_.=~-]{1,140}", segment(name))
    assert segment(name).strip(".")


@given(names, names)
def test_two_names_never_share_a_segment(one: str, other: str):
    assert (segment(one) == segment(other)) == (one == other)


def test_ordinary_names_stay_readable():
    assert segment("transform_csv") == "transform_csv"
    assert segment("2024-01-01|eu").startswith("2024-01-01_eu~")


@given(st.lists(names, min_size=1, max_size=3), st.none() | names)
def test_a_pointer_stays_inside_its_folder(asset_key: list[str], partition: str | None):
    key = pointer_key(tuple(asset_key), partition)
    assert Path("/root", key).resolve().is_relative_to("/root/latest")
