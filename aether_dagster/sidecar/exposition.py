"""Prometheus' text format: families of samples, and histograms which count as they go."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]


class Histogram:
    """Counts observations by the smallest bound which they do not exceed.

    Args:
        bounds: In ascending order; what is above the last is counted too.
    """

    def __init__(self, bounds: Sequence[float]):
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, help: str) -> list[str]:
        """Returns its family: cumulative buckets, sum and count."""
        lines, total = _head(name, "histogram", help), 0
        bounds = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        for bound, count in zip(bounds, self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


def sample(name: str, kind: Kind, help: str, value: float) -> list[str]:
    """Returns a family of one sample."""
    return [*_head(name, kind, help), f"{name} {_number(value)}"]


def samples(name: str, kind: Kind, help: str, label: str, values: Mapping[str, float]) -> list[str]:
    """Returns a family with a sample for each value of a label."""
    lines = (
        f'{name}{{{label}="{_escaped(value)}"}} {_number(number)}'
        for value, number in values.items()
    )
    return [*_head(name, kind, help), *lines]


def text(families: Iterable[Sequence[str]]) -> str:
    """Returns the whole answer to a scrape."""
    return "".join(f"{line}\n" for family in families for line in family)


def _head(name: str, kind: Kind, help: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
