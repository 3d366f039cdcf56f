"""When a frame is due: the bound on latency, and what a frame itself takes (spec 4, "Rate")."""

from collections import deque

BOUND = 0.2
"""Seconds from the commit of a change to its arrival, at most."""

GATHER = 0.01
"""Seconds for which a change after quiet waits for what comes with it."""

DEFAULT_RATE = 4.0
"""Frames a second, nominally; at less, what can wait is slower."""

_SAMPLES = 200
_EVERY = 20
# What a frame takes from the kernel into the client's hands is not seen here.
_ON_TOP = 0.01
# However slow flushes are, more than 20 frames a second would only make them slower.
_HIGHEST = 0.15


class Margin:
    """How much of the bound is needed to bring a frame on its way, measured while running."""

    def __init__(self) -> None:
        self._flushes: deque[float] = deque(maxlen=_SAMPLES)
        self._lags: deque[float] = deque(maxlen=_SAMPLES)
        self._count = 0
        self.seconds = GATHER

    def observe(self, *, flush: float, lag: float) -> None:
        """Takes in one flush.

        Args:
            flush: Seconds which it took.
            lag: Seconds by which it came later than it was due, with what it waited for before.
        """
        self._flushes.append(flush)
        self._lags.append(lag)
        self._count += 1
        # It rises at once, for the next frame would be late as well, and falls by and by.
        if flush + lag + _ON_TOP > self.seconds or self._count % _EVERY == 0:
            needed = percentile(self._flushes) + percentile(self._lags) + _ON_TOP
            self.seconds = min(max(GATHER, needed), _HIGHEST)


class Pace:
    """The spacing of frames at a rate.

    Args:
        rate: Nominal frames a second.
        margin: What is measured; one for all which share an event loop.
    """

    def __init__(self, rate: float = DEFAULT_RATE, margin: Margin | None = None):
        self.rate = rate
        self.margin = margin or Margin()

    @property
    def spacing(self) -> float:
        """Seconds between frames under continuous change, such that the bound is kept."""
        return min(1 / self.rate, BOUND - self.margin.seconds)

    @property
    def waiting(self) -> float:
        """Seconds by which what can wait may be later than an outcome."""
        return 1 / self.rate if self.rate < DEFAULT_RATE else 0.0


def percentile(samples: "deque[float]", share: float = 0.99) -> float:
    """Returns the sample which no more than this share of them are below."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
