"""What the pages' steps call."""

import csv
import time
from pathlib import Path


def extract(path="data/sales.csv", day=None, context=None):
    with Path(context.directory, path).open(encoding="utf-8") as file:
        return [{**row, "amount": float(row["amount"])} for row in csv.DictReader(file)]


def extract_at_last(path, context):
    if context.attempt == 1:
        raise ConnectionError("not yet")
    return extract(path, context=context)


def wrote(context):
    return {"path": "data/sales.csv"}


def clean(path, context):
    import polars as pl

    return pl.read_csv(Path(context.directory, path)).filter(pl.col("amount") > 10)


def transform(rows):
    """How many: of rows, or of the letters of a path."""
    return len(rows)


def compact():
    return "smaller"


def dawdle(context):
    """Writes an artifact five times a second, for a minute."""
    (context.directory.parent / "path" / "begun").touch()
    for number in range(300):
        context.artifacts.set("number", str(number))
        time.sleep(0.2)
