"""What the steps of the team's pipelines call."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import fsspec

_PATIENCE = 60.0


def extract(region: str, key: str) -> dict[str, Any]:
    """More than a node's record can hold."""
    assert key == os.environ["API_KEY"]
    rows = [{"region": region, "amount": n % 7} for n in range(2000)]
    return {"rows": rows, "host": os.environ["FLEET_HOST"], "said": f"with {key}"}


def meet(context: Any, rows: list[Mapping[str, Any]], other: str) -> dict[str, Any]:
    """Ends once the other step runs too, which only another worker can let happen."""
    place = f"s3://fleet/meeting/{context.execution_id}"
    with fsspec.open(f"{place}/{context.step_id}", "w") as file:
        file.write("here")
    give_up = time.monotonic() + _PATIENCE
    while not _is_there(f"{place}/{other}"):
        assert time.monotonic() < give_up, f"{other} did not come"
        time.sleep(0.1)
    return {"host": os.environ["FLEET_HOST"], "sum": sum(row["amount"] for row in rows)}


def flaky(context: Any) -> bytes:
    """Fails the first time; what it returns then is no JSON."""
    if context.attempt == 1:
        raise ConnectionError("not yet")
    return b"\x00\xff" * 10


def total(left: Mapping[str, Any], right: Mapping[str, Any]) -> int:
    return left["sum"] + right["sum"]


def size(raw: bytes) -> int:
    return len(raw)


def die_once(context: Any) -> str:
    """Takes its process with it the first time."""
    marker = f"s3://fleet/meeting/{context.execution_id}/died"
    if not _is_there(marker):
        with fsspec.open(marker, "w") as file:
            file.write("here")
        os.kill(os.getpid(), signal.SIGKILL)
    return "the second time"


def until_over(context: Any) -> str:
    """Runs until a test has seen enough."""
    give_up = time.monotonic() + _PATIENCE
    while not _is_there(f"s3://fleet/meeting/{context.execution_id}/over"):
        assert time.monotonic() < give_up, "nobody ended it"
        time.sleep(0.1)
    return "to its end"


def boom() -> None:
    raise ValueError("row 7 is bad")


def _is_there(url: str) -> bool:
    fs, path = fsspec.url_to_fs(url)
    fs.invalidate_cache()
    return fs.exists(path)
