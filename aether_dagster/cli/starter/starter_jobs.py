"""The work of the pipeline: plain functions, which know nothing of the pipeline.

Arguments come from the step's `args`; what a function returns is the step's output. One which
takes `context` is told where the document lies, which attempt this is, and more.
"""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any


def read_orders(path: str, context: Any) -> list[dict[str, Any]]:
    """Reads the orders from a CSV file beside the pipeline document."""
    with Path(context.directory, path).open(newline="", encoding="utf-8") as file:
        return [
            {"customer": row["customer"], "amount": float(row["amount"])}
            for row in csv.DictReader(file)
        ]


def add_up(orders: list[dict[str, Any]]) -> dict[str, float]:
    """Returns what each customer has ordered, the largest first."""
    totals: dict[str, float] = defaultdict(float)
    for order in orders:
        totals[order["customer"]] += order["amount"]
    return dict(sorted(totals.items(), key=lambda item: item[1], reverse=True))


def write_report(totals: dict[str, float], path: str, context: Any) -> dict[str, str]:
    """Writes the report, and makes it known to all as an artifact."""
    text = "".join(f"{customer:<12}{amount:>10.2f}\n" for customer, amount in totals.items())
    report = Path(context.directory, path)
    report.write_text(text, encoding="utf-8")
    context.artifacts.set("report", str(report))
    return {"path": str(report), "text": text}
