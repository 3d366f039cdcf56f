"""The wait before a step's next attempt (spec 2, `retry`)."""

import math
from collections.abc import Callable
from typing import Protocol


class RetrySettings(Protocol):
    """The members of a step's `retry`; the document's own model has them."""

    @property
    def delay(self) -> float:
        """Seconds to wait before the first retry."""
        ...

    @property
    def backoff(self) -> str:
        """`constant`, `linear` or `exponential`."""
        ...

    @property
    def jitter(self) -> str:
        """`none`, `full` or `plus_minus`."""
        ...

    @property
    def max_delay(self) -> float | None:
        """Seconds which no wait exceeds."""
        ...


def delay_before(retry: RetrySettings, attempt: int, random: Callable[[], float]) -> float:
    """Give the seconds to wait before an attempt.

    Args:
        retry: The step's `retry`.
        attempt: Number of the attempt which is to come; 2 is the first retry.
        random: Gives a number from 0 up to, not including, 1, such as `random.random`.

    Returns:
        `delay` (constant), `delay * n` (linear) or `delay * 2**(n - 1)` (exponential) for retry n;
        with jitter `full` a random part of it, with `plus_minus` half to one and a half of it;
        never more than `max_delay`.
    """
    number = attempt - 1
    if number < 1:
        return 0.0
    delay = retry.delay
    if retry.backoff == "linear":
        delay *= number
    elif retry.backoff == "exponential":
        # Beyond 2**1000 a float overflows; no one waits for it either way.
        delay *= 2.0 ** min(number - 1, 1000)
    limit = math.inf if retry.max_delay is None else retry.max_delay
    delay = min(delay, limit)
    if retry.jitter == "full":
        delay *= random()
    elif retry.jitter == "plus_minus":
        delay *= 0.5 + random()
    return min(delay, limit)
