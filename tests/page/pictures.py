"""Takes the documents' pictures of the page, `docs/images/live-*.png`, anew: run it as a script."""

import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.page.conftest import browsing
from tests.page.server import Execution, PageServer

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TRACEBACK = """Traceback (most recent call last):
  File "pipelines/shop.py", line 41, in convert
    return [price * rates[currency] for price, currency in orders]
                    ~~~~~^^^^^^^^^^
KeyError: 'CHF'
"""
STEPS = [
    ("extract_orders", "http/request", []),
    ("extract_customers", "sql/query", []),
    ("extract_rates", "http/request", []),
    ("clean_orders", "python/call", ["extract_orders"]),
    ("deduplicate_customers", "python/call", ["extract_customers"]),
    ("convert_currency", "python/call", ["clean_orders", "extract_rates"]),
    ("join_customers", "sql/query", ["clean_orders", "deduplicate_customers"]),
    ("score_customers", "python/call", ["join_customers"]),
    ("revenue", "sql/query", ["convert_currency", "join_customers"]),
    ("archive", "shell/run", ["convert_currency"]),
    ("daily_report", "python/call", ["revenue", "score_customers"]),
    ("publish", "http/request", ["daily_report"]),
]


def shop(**options: Any) -> Execution:
    steps = [
        {"id": name, "type": kind, "dependencies": after, "retries": 2 if "rates" in name else 0}
        for name, kind, after in STEPS
    ]
    run = Execution(steps, name="daily_orders", start=time.time() - 34, **options)
    run.document["context"] |= {
        "environment_vars": {"SHOP": "eu-central", "STAGE": "production"},
        "artifacts": {"orders": "s3://shop/2026-11-23/orders.parquet"},
        "active_plugins": ["Lineage@1.4.0"],
    }
    lost = {
        "type": "ConnectionError",
        "message": "rates.example.org closed the connection",
        "attempt": 1,
        "traceback": "Traceback (most recent call last):\n  …\nConnectionError\n",
    }
    went = [
        ("extract_orders", 0.4, 5.2, "succeeded", {"output_payload": {"rows": 12_480}}),
        ("extract_customers", 0.4, 9.1, "succeeded", {"output_payload": {"rows": 3108}}),
        ("extract_rates", 0.4, 3.3, "retrying", {"error": lost}),
        ("clean_orders", 5.8, 6.4, "succeeded", {"output_payload": {"rows": 12_466}}),
        ("extract_rates", 6.1, 2.1, "succeeded", {"output_payload": {"EUR": 1.0, "USD": 1.09}}),
        ("deduplicate_customers", 9.8, 4.0, "succeeded", {"output_payload": {"rows": 3090}}),
    ]
    for name, at, seconds, status, fields in went:
        retries = 1 if (name, status) == ("extract_rates", "succeeded") else 0
        given = {"date": "2026-11-23"}
        begin(run, name, at, retry_count=retries, input_payload=given)
        run.clock = run.start + at
        run.end(name, seconds=seconds, status=status, **fields)
    begin(run, "convert_currency", 12.4, input_payload={"orders": 12_466, "to": "EUR"})
    begin(run, "join_customers", 14.1)
    return run


def begin(run: Execution, name: str, at: float, **fields: Any) -> None:
    run.clock = run.start + at - 0.001
    run.begin(name, at=run.start + at, **fields)


def failed() -> Execution:
    run = shop()
    error = {"type": "KeyError", "message": "'CHF'", "attempt": 1, "traceback": TRACEBACK}
    run.clock = run.start + 12.4
    run.end("convert_currency", seconds=3.2, status="failed", error=error)
    run.clock = run.start + 14.1
    run.end("join_customers", seconds=6.9, output_payload={"rows": 12_460})
    begin(run, "score_customers", 21.2)
    run.end("score_customers", seconds=7.4)
    for name, cause in (
        ("revenue", "convert_currency"),
        ("archive", "convert_currency"),
        ("daily_report", "revenue"),
        ("publish", "daily_report"),
    ):
        upstream = {"type": "UpstreamFailed", "message": f"Did not start: '{cause}' failed."}
        run.change({name: {"error": {**upstream, "attempt": 0, "upstream": [cause]}}})
    run.finish("failed")
    return run


def thousand() -> Execution:
    chance = random.Random(4)
    steps: list[dict[str, Any]] = []
    for number in range(1000):
        layer, place = divmod(number, 84)
        near = {(layer - 1) * 84 + (place + chance.randint(-2, 2)) % 84 for _ in range(2)}
        after = [f"part_{each:04}" for each in sorted(near)] if layer else []
        steps.append({"id": f"part_{number:04}", "type": "python/call", "dependencies": after})
    run = Execution(steps, name="recompute_features", start=time.time() - 400)
    for number in range(460):
        name = f"part_{number:04}"
        begin(run, name, 1 + number * 0.7)
        if number < 430:
            broken = number in {301, 388}
            error = {"type": "MemoryError", "message": "", "attempt": 1, "traceback": None}
            status = {"status": "failed", "error": error} if broken else {"status": "succeeded"}
            run.end(name, seconds=chance.uniform(4, 40), **status)
    run.clock = run.start + 399
    return run


def main() -> None:
    with browsing() as browser:
        for name, execution, fragment, options in (
            ("running", shop(), "", {}),
            ("failed", failed(), "&node=convert_currency", {}),
            ("thousand", thousand(), "", {"viewport": {"width": 1080, "height": 620}}),
            ("dark", shop(), "&view=timeline&node=extract_rates", {"color_scheme": "dark"}),
        ):
            server = PageServer()
            server.add(execution)
            page = browser.new_page(**{"viewport": {"width": 1360, "height": 800}, **options})
            page.goto(server.url(f"&execution={execution.id}{fragment}"))
            page.wait_for_timeout(900)
            page.screenshot(path=IMAGES / f"live-{name}.png")
            page.close()
            server.close()


if __name__ == "__main__":
    main()
