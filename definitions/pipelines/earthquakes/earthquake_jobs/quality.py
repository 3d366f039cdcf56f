"""Which events the figures may count: the rules, each with the reason it gives for a refusal."""

from pathlib import Path

import polars as pl

# An event passes when no rule's condition is true. A value which the network did not report is
# null, and a comparison with null is not true: silence is no reason to refuse an event.
RULES = {
    "not an earthquake": pl.col("kind") != "earthquake",
    "magnitude missing": pl.col("magnitude").is_null(),
    "fewer than 4 stations": pl.col("stations") < 4,
    "stations on one side only (gap over 270°)": pl.col("azimuthal_gap") > 270,
    "travel times do not fit (residual over 1.5 s)": pl.col("residual_seconds") > 1.5,
    "depth impossible": ~pl.col("depth_km").is_between(-5, 700),
    "reported twice": ~pl.col("id").is_first_distinct(),
}


class TooManyRefused(Exception):
    """So much of the feed is refused that the feed itself must be wrong."""


def judge(events):
    """Return the events with a column `refused`: the reasons, an empty list for a good event."""
    reasons = [pl.when(bad).then(pl.lit(reason)) for reason, bad in RULES.items()]
    return events.with_columns(refused=pl.concat_list(reasons).list.drop_nulls())


def validate(events, max_refused):
    """Return the events which pass every rule.

    Raises:
        TooManyRefused: More than the share `max_refused` of the events failed a rule.
    """
    judged = judge(events)
    good = judged.filter(pl.col("refused").list.len() == 0).drop("refused")
    share = 1 - good.height / events.height
    if share > max_refused:
        raise TooManyRefused(
            f"{share:.1%} of {events.height} events failed a rule, more than {max_refused:.1%}. "
            "Look at the quarantine before you raise MAX_REFUSED."
        )
    return good


def quarantine(events, target, context):
    """Write the refused events to a CSV file with their reasons, for somebody to look at."""
    refused = judge(events).filter(pl.col("refused").list.len() > 0)
    path = Path(context.directory, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    refused.with_columns(pl.col("refused").list.join("; ")).write_csv(path)
    context.artifacts.set("quarantine", str(path))
    reasons = refused["refused"].explode().value_counts(sort=True)
    return {
        "path": str(path),
        "events": events.height,
        "refused": refused.height,
        "reasons": dict(reasons.iter_rows()),
    }
