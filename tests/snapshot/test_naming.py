import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.snapshot import (
    FINAL,
    INIT,
    SnapshotName,
    attempt_name,
    folder_name,
    node_final_name,
    parse_folder,
    parse_name,
)

STEP = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", fullmatch=True)
SUFFIX = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=8, max_size=8)


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_the_folder_is_named_after_the_start_in_utc_and_the_pipeline() -> None:
    name = folder_name(1689860092.999, "pipeline_01H3XYZ9")
    assert name == "2023-07-20_133452_pipeline_01H3XYZ9"
    assert parse_folder(name) == "pipeline_01H3XYZ9"


@pytest.mark.parametrize(
    "name",
    ["", "latest", "2023-07-20_133452_other_01H3XYZ9", "2023-07-20_133452_pipeline_01H3XYZI"],
)
def test_other_folders_are_no_executions(name: str) -> None:
    assert parse_folder(name) is None


def test_files_have_the_documented_names() -> None:
    assert (INIT, FINAL) == ("state_init.json", "state_final.json")
    node_id = "transform_csv_01H7XZAB"
    assert attempt_name(node_id, 1) == "state_node_transform_csv_01H7XZAB_attempt1.json"
    assert node_final_name(node_id) == "state_node_transform_csv_01H7XZAB_final.json"


@given(STEP, SUFFIX, st.integers(1, 1000))
def test_a_name_says_what_it_was_made_of(step: str, suffix: str, attempt: int) -> None:
    node_id = f"{step}_{suffix}"
    assert parse_name(attempt_name(node_id, attempt)) == SnapshotName("attempt", node_id, attempt)
    assert parse_name(node_final_name(node_id)) == SnapshotName("node_final", node_id)


@pytest.mark.parametrize(
    "name",
    [
        "state_final.json.tmp",
        ".state_init.json",
        "state_node_a_01H7XZAB_attempt0.json",
        "state_node_a_attempt1.json",
        "state_node_a_01H7XZAB.json",
    ],
)
def test_other_names_are_no_snapshots(name: str) -> None:
    assert parse_name(name) is None
