"""What Dagster is told of an output, and where it links to."""

from typing import Any

import pytest

from tests.journals import journal_environment
from tests.orchestration.scenarios import Place, Places
from tests.runs import Left

TABLES = """
    - {id: rows, type: core/echo, args: {message: [{id: 1, of: a}, {id: 2, of: null}]}}
    - {id: ragged, type: core/echo, args: {message: [{id: 1}, {of: a}]}}
    - {id: polars, type: python/call, args: {callable: "polars:DataFrame", data: {id: [1, 2, 3]}}}
    - {id: pandas, type: python/call, args: {callable: "pandas:DataFrame", data: {id: [1]}}}
    - {id: arrow-table, type: python/call, args: {callable: "pyarrow:table", data: {id: [1]}}}
"""
URL = "https://live.example.com/aether/"


@pytest.fixture(scope="module")
def place(places: Places) -> Place:
    place = places(TABLES)
    order = {"environ": {"AETHERSCRIPT_LIVE_URL": URL, **journal_environment(place.directory)}}
    history = str(place.directory / "executions")
    child = place.zygote.start(place.directory, "run", history=history, **order)
    assert child.end() == {"status": "succeeded"}
    return place


@pytest.fixture(scope="module")
def left(place: Place) -> Left:
    return place.left()


def columns(metadata: Any) -> dict[str, str]:
    return {each.name: each.type for each in metadata["dagster/column_schema"].schema.columns}


def test_tables_tell_their_rows_and_columns(left: Left) -> None:
    rows = left.materialization("rows")
    assert rows["dagster/row_count"].value == 2
    assert columns(rows) == {"id": "int", "of": "str"}
    found = {name: left.materialization(name) for name in ("polars", "pandas", "arrow-table")}
    assert {name: each["dagster/row_count"].value for name, each in found.items()} == {
        "polars": 3,
        "pandas": 1,
        "arrow-table": 1,
    }
    assert {columns(each)["id"].lower() for each in found.values()} == {"int64"}
    assert "dagster/row_count" not in left.materialization("ragged")


def test_it_leads_to_the_state_the_history_and_the_live_page(left: Left) -> None:
    metadata = left.materialization("arrow-table")
    assert metadata["aether/pipeline_id"].value == left.record.pipeline_id
    assert metadata["aether/attempt"].value == 1
    node = left.nodes["arrow-table"]
    assert metadata["aether/execution_time"].value == node["execution_time"]
    assert metadata["aether/history"].path == left.record.history
    page = f"https://live.example.com/aether/#execution={left.record.pipeline_id}"
    assert metadata["aether/live"].url == f"{page}&node=arrow-table"
    # In the order in which Dagster's UI shows it: an output may be long.
    shown = list(metadata)
    assert shown.index("aether/live") < shown.index("aether/history") < shown.index("aether/output")


def test_the_run_is_tagged_and_its_log_links_to_the_live_page(place: Place, left: Left) -> None:
    with place.opened() as opened:
        run = opened.run()
        events = [entry.dagster_event for entry in opened.instance.all_logs(run.run_id)]
    tags = {key: value for key, value in run.tags.items() if key.startswith("aether/")}
    assert tags["aether/tiny.id"] == left.record.pipeline_id
    assert tags["aether/tiny.config_hash"] == left.record.config_hash
    assert tags["aether/tiny.history_head"]
    links = [
        event.engine_event_data.metadata["aether/live"].value
        for event in events
        if event is not None
        and event.is_engine_event
        and "aether/live" in event.engine_event_data.metadata
    ]
    assert links == [f"https://live.example.com/aether/#execution={left.record.pipeline_id}"]
