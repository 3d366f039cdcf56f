"""From the agency's feed to a table: the download, then types and one name for each thing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

KM_PER_DEGREE = 111.19  # of a great circle; the feed gives distances to stations in degrees

REGIONS = {"CA": "California", "NV": "Nevada", "MX": "Mexico"}


def download(source, target, connection_limit, context):
    """Fetch the feed, going on where the attempt before was cut off.

    An attempt which fails leaves what it got in a `.part` file. The next one asks for the rest
    only, as one would with an HTTP range request, so every attempt makes progress.
    """
    feed = Path(context.directory, source)
    whole = Path(context.directory, target)
    part = whole.with_suffix(".part")
    whole.parent.mkdir(parents=True, exist_ok=True)

    with part.open("ab") as landed:
        for block in connect(feed, offset=landed.tell(), limit=connection_limit):
            landed.write(block)
    arrived, size = part.stat().st_size, feed.stat().st_size
    if arrived < size:
        raise ConnectionResetError(
            f"The source closed the connection after {arrived:,} of {size:,} bytes. They are kept; "
            "the next attempt fetches the rest."
        )

    part.replace(whole)
    context.artifacts.set("raw_feed", str(whole))
    return {
        "path": str(whole),
        "bytes": size,
        "sha256": hashlib.sha256(whole.read_bytes()).hexdigest(),
    }


def connect(feed: Path, *, offset: int, limit: int, block: int = 65_536) -> Iterator[bytes]:
    """Stand in for the agency's server, which drops a connection after `limit` bytes (0: never)."""
    with feed.open("rb") as source:
        source.seek(offset)
        left = limit or feed.stat().st_size
        while left > 0 and (data := source.read(min(block, left))):
            left -= len(data)
            yield data


def transform_csv(path):
    """Read the feed into a typed table with one row for each event, the newest first.

    The feed counts time in milliseconds and distance to a station in degrees; a place is a phrase
    such as "12km NNE of Ridgecrest, CA", whose region goes by several names.
    """
    place = pl.col("place")
    region = place.str.split(", ").list.last().str.replace(r"^\d+km \w+ of (the )?", "")
    return (
        pl.read_csv(path, infer_schema_length=None)
        .select(
            "id",
            time=pl.from_epoch("time", time_unit="ms").dt.replace_time_zone("UTC"),
            kind=pl.col("type"),
            magnitude=pl.col("mag").cast(pl.Float64),
            magnitude_type=pl.col("magType").str.to_lowercase(),
            latitude=pl.col("latitude").cast(pl.Float64),
            longitude=pl.col("longitude").cast(pl.Float64),
            depth_km=pl.col("depth").cast(pl.Float64),
            place=place,
            region=region.replace(REGIONS),
            reviewed=pl.col("status") == "reviewed",
            stations=pl.col("nst").cast(pl.Int64),
            azimuthal_gap=pl.col("gap").cast(pl.Float64),
            nearest_station_km=(pl.col("dmin").cast(pl.Float64) * KM_PER_DEGREE).round(1),
            residual_seconds=pl.col("rms").cast(pl.Float64),
            felt_reports=pl.col("felt").cast(pl.Int64).fill_null(0),
        )
        .sort("time", descending=True)
    )
