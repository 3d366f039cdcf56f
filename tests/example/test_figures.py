"""`earthquake_jobs.figures`: the sums of the week."""

from datetime import UTC, date, datetime

import polars as pl
import pytest


@pytest.fixture
def figures(example):
    from earthquake_jobs import figures

    return figures


def events(*rows):
    return pl.DataFrame(
        [{"time": datetime(*time, tzinfo=UTC), "magnitude": m} for time, m in rows],
        schema={"time": pl.Datetime("us", "UTC"), "magnitude": pl.Float64},
    )


def test_days_are_counted_in_utc_with_their_energy(figures):
    days = figures.days(
        events(((2018, 2, 6, 23, 59), 6.0), ((2018, 2, 7, 0, 0), 4.0), ((2018, 2, 6, 1), 4.4))
    )
    assert days["day"].to_list() == [date(2018, 2, 6), date(2018, 2, 7)]
    assert days["earthquakes"].to_list() == [2, 1]
    assert days["strong"].to_list() == [1, 0]
    assert days["largest"].to_list() == [6.0, 4.0]
    assert days["terajoules"].to_list() == pytest.approx([63.345, 0.0631], rel=1e-3)


def test_ten_times_fewer_a_magnitude_is_a_b_value_of_one(figures):
    rows = [
        ((2018, 2, 1), 4.5 + i / 10)
        for i in range(30)
        for _ in range(round(1000 * 10 ** (-i / 10)))
    ]
    summary = figures.summarize(events(*rows, ((2018, 2, 2), 1.0)), complete_from=4.5)
    assert summary["b_value"] == pytest.approx(1, abs=0.02)
    assert summary["counted"] == len(rows)
    assert summary["earthquakes"] == len(rows) + 1
    assert (summary["since"][:10], summary["until"][:10]) == ("2018-02-01", "2018-02-02")
