"""What the steps of the shop's pipelines call."""

import time
from typing import Any


def work(seconds: float, **given: Any) -> dict[str, Any]:
    time.sleep(seconds)
    return {"given": len(given), "rows": [seconds] * 10}


def flaky(context: Any, seconds: float) -> int:
    time.sleep(seconds)
    if context.attempt < 3:
        raise ConnectionError(f"the source closed the connection of attempt {context.attempt}")
    return context.attempt


def boom() -> None:
    raise ValueError("row 7 is bad")
