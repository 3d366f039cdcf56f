import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.script import Retry
from aether_dagster.steps import delay_before


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("constant", [0, 2, 2, 2, 2]),
        ("linear", [0, 2, 4, 6, 8]),
        ("exponential", [0, 2, 4, 8, 16]),
    ],
)
def test_the_wait_grows_as_the_backoff_says(backoff: str, expected: list[float]):
    retry = Retry.model_validate({"delay": 2, "backoff": backoff})
    assert [delay_before(retry, attempt, random.random) for attempt in range(1, 6)] == expected


@given(
    st.floats(0, 1e6),
    st.sampled_from(["constant", "linear", "exponential"]),
    st.sampled_from(["none", "full", "plus_minus"]),
    st.none() | st.floats(0, 1e4),
    st.integers(1, 5_000),
    st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_negative_or_beyond_max_delay(
    delay: float, backoff: str, jitter: str, limit: float | None, attempt: int, drawn: float
):
    retry = Retry.model_validate(
        {"delay": delay, "backoff": backoff, "jitter": jitter, "max_delay": limit}
    )
    seconds = delay_before(retry, attempt, lambda: drawn)
    assert math.isfinite(seconds)
    assert 0 <= seconds <= (math.inf if limit is None else limit)


def test_jitter_spreads_the_wait():
    full = Retry.model_validate({"delay": 8, "jitter": "full"})
    assert [delay_before(full, 2, lambda d=d: d) for d in (0.0, 0.25, 0.75)] == [0, 2, 6]
    around = Retry.model_validate({"delay": 8, "jitter": "plus_minus"})
    assert [delay_before(around, 2, lambda d=d: d) for d in (0.0, 0.5, 0.75)] == [4, 8, 10]
