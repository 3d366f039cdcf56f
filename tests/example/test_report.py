"""`earthquake_jobs.report`: one page which needs nothing else."""

import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest


@pytest.fixture
def page(context, tmp_path):
    from earthquake_jobs.report import report

    event = {
        "time": datetime(2018, 2, 6, 15, 50, tzinfo=UTC),
        "magnitude": 6.4,
        "place": "22km NNE of <Hualian>",
        "longitude": 121.7,
        "latitude": 24.1,
        "depth_km": 10.6,
        "felt_reports": 261,
    }
    told = report(
        events=pl.DataFrame([event]),
        regions=pl.DataFrame({"region": ["Taiwan"], "earthquakes": [1]}),
        days=pl.DataFrame({"day": [date(2018, 2, 6)], "earthquakes": [1], "terajoules": [251.2]}),
        summary={"b_value": 1.0, "b_uncertainty": 0.1, "complete_from": 4.5},
        strongest=[event],
        quarantine={"events": 1707, "refused": 102, "reasons": {"not an earthquake": 102}},
        land="data/land.json",
        target=str(tmp_path / "report.html"),
        pipeline="earthquakes 1.0.0",
        execution="pipeline_01H3XYZ9",
        created="2024-01-01T00:00:00Z",
        context=context,
    )
    assert context.artifacts.get("report") == told["path"]
    return Path(told["path"]).read_text("utf-8")


def test_the_page_loads_nothing_from_elsewhere(page):
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page)


def test_text_from_the_feed_is_text_on_the_page(page):
    assert "<Hualian>" not in page
    texts = []
    parser = HTMLParser()
    parser.handle_data = texts.append
    parser.feed(page)
    assert "22km NNE of <Hualian>" in texts


def test_an_event_is_drawn_where_it_was(page):
    assert re.search(r'<circle class="shallow" cx="301.7" cy="65.9"', page)


def test_the_page_says_what_was_left_out_and_who_made_it(page):
    assert "Left out: 102 of 1,707 events" in page
    assert "pipeline_01H3XYZ9" in page
