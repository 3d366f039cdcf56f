"""`earthquake_jobs.quality`: what is refused, why, and when that is too much."""

import csv
from pathlib import Path

import polars as pl
import pytest

GOOD = {
    "id": "us1",
    "kind": "earthquake",
    "magnitude": 4.0,
    "stations": 12,
    "azimuthal_gap": 90.0,
    "residual_seconds": 0.5,
    "depth_km": 10.0,
}


@pytest.fixture
def quality(example):
    from earthquake_jobs import quality

    return quality


def events(*changes):
    rows = [GOOD | {"id": f"us{i}"} | change for i, change in enumerate(changes)]
    return pl.DataFrame(rows, infer_schema_length=None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "quarry blast"}, "not an earthquake"),
        ({"magnitude": None}, "magnitude missing"),
        ({"stations": 3}, "fewer than 4 stations"),
        ({"azimuthal_gap": 271.0}, "stations on one side only (gap over 270°)"),
        ({"residual_seconds": 1.6}, "travel times do not fit (residual over 1.5 s)"),
        ({"depth_km": 701.0}, "depth impossible"),
        ({"id": "us0"}, "reported twice"),
    ],
)
def test_every_rule_gives_its_reason(quality, change, reason):
    judged = quality.judge(events({}, change))
    assert judged["refused"].to_list() == [[], [reason]]


def test_what_a_network_does_not_report_is_no_reason_to_refuse(quality):
    silent = {"stations": None, "azimuthal_gap": None, "residual_seconds": None}
    assert quality.validate(events({}, silent), max_refused=0).height == 2


def test_an_event_may_have_several_reasons(quality):
    judged = quality.judge(events({"kind": "explosion", "stations": 2}))
    assert judged["refused"].to_list() == [["not an earthquake", "fewer than 4 stations"]]


def test_too_many_refused_is_an_error_which_says_how_many(quality):
    feed = events({}, {}, {"stations": 1}, {"stations": 1})
    assert quality.validate(feed, max_refused=0.5).height == 2
    with pytest.raises(quality.TooManyRefused, match=r"50\.0% of 4 events"):
        quality.validate(feed, max_refused=0.49)


def test_the_quarantine_names_each_refused_event_with_its_reasons(quality, context, tmp_path):
    target = tmp_path / "new" / "quarantine.csv"
    told = quality.quarantine(events({}, {"stations": 1}), str(target), context)
    with Path(told["path"]).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["refused"]) for row in rows] == [("us1", "fewer than 4 stations")]
    assert (told["events"], told["refused"]) == (2, 1)
    assert told["reasons"] == {"fewer than 4 stations": 1}
    assert context.artifacts.get("quarantine") == str(target)


def test_no_refusals_make_an_empty_quarantine(quality, context, tmp_path):
    told = quality.quarantine(events({}), str(tmp_path / "quarantine.csv"), context)
    assert (told["refused"], told["reasons"]) == (0, {})
