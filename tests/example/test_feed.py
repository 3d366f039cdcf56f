"""`earthquake_jobs.feed`: a download which goes on, and a table with types."""

from datetime import UTC, datetime

import polars as pl
import pytest

HEADER = (
    "time,latitude,longitude,depth,mag,magType,nst,gap,dmin,rms,net,id,updated,place,type,status,"
    "felt,cdi,mmi,alert,tsunami,sig\n"
)


@pytest.fixture
def feed(example):
    from earthquake_jobs import feed

    return feed


@pytest.fixture
def table(feed, tmp_path):
    def read(*rows):
        path = tmp_path / "feed.csv"
        path.write_text(HEADER + "\n".join(rows) + "\n")
        return feed.transform_csv(str(path))

    return read


def test_a_dropped_download_fails_once_and_then_fetches_only_the_rest(feed, context, tmp_path):
    target = tmp_path / "run" / "all_week.csv"
    arguments = ("data/all_week.csv", str(target), 200_000, context)

    with pytest.raises(ConnectionResetError, match="200,000 of 257,352 bytes"):
        feed.download(*arguments)
    assert target.with_suffix(".part").stat().st_size == 200_000
    assert not target.exists()

    arrived = feed.download(*arguments)
    assert target.read_bytes() == (context.directory / "data" / "all_week.csv").read_bytes()
    assert arrived["bytes"] == 257_352
    assert list(target.parent.iterdir()) == [target]
    assert context.artifacts.get("raw_feed") == str(target)


def test_a_source_which_holds_is_read_at_once(feed, context, tmp_path):
    arrived = feed.download("data/all_week.csv", str(tmp_path / "a.csv"), 0, context)
    assert arrived["bytes"] == 257_352


def test_the_feeds_units_and_names_become_ours(table):
    event = table(
        "1517966773840,34.5,-118.7,26.49,2,Ml,,,0.5,0.35,ci,ci1,1517966996303,"
        '"4km W of Castaic, CA",earthquake,automatic,,,,,0,62'
    ).to_dicts()[0]
    assert event["time"] == datetime(2018, 2, 7, 1, 26, 13, 840_000, tzinfo=UTC)
    assert event["region"] == "California"
    assert event["magnitude_type"] == "ml"
    assert event["nearest_station_km"] == 55.6
    assert event["stations"] is None
    assert event["felt_reports"] == 0
    assert event["reviewed"] is False


@pytest.mark.parametrize(
    ("place", "region"),
    [
        ("12km NNE of Ridgecrest, CA", "California"),
        ("3km SE of Home Gardens, California", "California"),
        ("8km W of Progreso, B.C., MX", "Mexico"),
        ("Southeast Indian Ridge", "Southeast Indian Ridge"),
        ("135km S of the Fiji Islands", "Fiji Islands"),
    ],
)
def test_a_place_has_one_region_whatever_it_was_called(table, place, region):
    row = f'1517966773840,1,2,3,4,mb,,,,,us,us1,1517966996303,"{place}",earthquake,reviewed,,,,,0,1'
    assert table(row)["region"].to_list() == [region]


def test_the_shipped_week_is_whole(feed, example):
    events = feed.transform_csv(example / "data" / "all_week.csv")
    assert events.height == 1707
    assert events["id"].is_unique().all()
    assert not {"CA", "NV", "MX"} & set(events["region"])
    assert events["time"].dtype == pl.Datetime("us", "UTC")
