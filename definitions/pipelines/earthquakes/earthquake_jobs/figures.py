"""The figures of the week (those by region are in `sql/regions.sql`)."""

import math

import polars as pl


def days(events):
    """Return each day's number of earthquakes, its largest, and the energy set free.

    Energy follows Gutenberg and Richter: log10(joules) = 4.8 + 1.5 · magnitude. One unit of
    magnitude is 32 times the energy, which is why a day with one strong earthquake stands out.
    """
    return (
        events.group_by(day=pl.col("time").dt.date())
        .agg(
            earthquakes=pl.len(),
            strong=(pl.col("magnitude") >= 4.5).sum(),
            largest=pl.col("magnitude").max(),
            terajoules=(10 ** (4.8 + 1.5 * pl.col("magnitude"))).sum() / 1e12,
        )
        .sort("day")
    )


def summarize(events, complete_from, bin_width=0.1):
    """Return the span of the events and their b-value: how quickly they grow rarer with magnitude.

    The b-value is Aki's maximum likelihood over the events from magnitude `complete_from` on, below
    which networks miss some. Near 1 it means ten times fewer for each unit of magnitude.
    """
    counted = events.filter(pl.col("magnitude") >= complete_from)
    excess = counted["magnitude"].mean() - (complete_from - bin_width / 2)
    b_value = math.log10(math.e) / excess
    return {
        "earthquakes": events.height,
        "since": events["time"].min().isoformat(),
        "until": events["time"].max().isoformat(),
        "complete_from": complete_from,
        "counted": counted.height,
        "b_value": round(b_value, 2),
        "b_uncertainty": round(b_value / math.sqrt(counted.height), 2),
    }
