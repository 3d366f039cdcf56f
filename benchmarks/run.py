"""Ours beside what one would do otherwise, in one table of ratios.

    python -m benchmarks.run                  every row, 5 pairs
    python -m benchmarks.run chain shell      some of them
    python -m benchmarks.run --pairs 3 --scale 0.1

A pair is one run of each side, one right after the other, each first in every other pair. A ratio
is of one pair; its median over the pairs stands with the least and the most. Processor time is the
second figure: it says more than the clock where others use the machine.
"""

import argparse
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.experiments import EXPERIMENTS, Experiment
from benchmarks.measure import Measured, Side, measure, pairs, ratio


@dataclass(frozen=True)
class Result:
    """An experiment's pairs."""

    experiment: Experiment
    sides: tuple[Side, Side]
    found: Sequence[tuple[Measured, Measured]]


def execute(experiment: Experiment, number: int, scale: float) -> Result:
    with tempfile.TemporaryDirectory(prefix="aether-benchmark-") as folder:
        ours, other = experiment.sides(Path(folder), scale)
        if experiment.warm_up:
            measure(ours), measure(other)
        return Result(experiment, (ours, other), pairs(ours, other, number))


def lines(result: Result) -> list[str]:
    ours, other = result.sides
    rows: list[str] = []
    for line in result.experiment.lines:
        found = ratio([(line.figure(a, ours), line.figure(b, other)) for a, b in result.found])
        limit = "" if line.limit is None else f"{line.limit:.2f}"
        rows.append(
            f"| {line.title} | {line.against} | {found.median:.2f} | "
            f"{found.least:.2f} to {found.most:.2f} | {limit} | "
            f"{found.ours:{line.shown}} / {found.other:{line.shown}} {line.unit} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", choices=[[], *EXPERIMENTS], help="all, if none is given")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of nodes")
    given = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()},", end=" ")
    print(f"SQLite {sqlite3.sqlite_version}, " + ", ".join(f"{n} {version(n)}" for n in _NAMED))
    print("| ours | against | ratio | of pairs | at most | medians |")
    print("|---|---|---|---|---|---|")
    for name in given.rows or EXPERIMENTS:
        for row in lines(execute(EXPERIMENTS[name], given.pairs, given.scale)):
            print(row, flush=True)


_NAMED = ("dagster", "SQLAlchemy", "pydantic")


if __name__ == "__main__":
    main()
