"""A process from its start to its end: seconds, processor seconds, memory; and pairs of them."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Side:
    """One of two ways to do the same work: a command, and where it is given.

    Args:
        argv: The command.
        folder: Its working directory.
        environ: Added to a bare environment.
        nodes: How many nodes it runs, for figures per node.
    """

    argv: Sequence[str]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    nodes: int = 1


@dataclass(frozen=True)
class Measured:
    """What a process took, those which it started and waited for included.

    Args:
        wall: Seconds from before its start to after its end.
        cpu: Processor seconds, in user and system mode.
        memory: Its peak of resident memory, MiB.
        told: The JSON of its last line, where it printed one.
    """

    wall: float
    cpu: float
    memory: float
    told: Any


Figure = Callable[[Measured, Side], float]


@dataclass(frozen=True)
class Ratio:
    """Ours divided by the other, pair by pair.

    Args:
        median: Of the pairs.
        least: Of the pairs.
        most: Of the pairs.
        ours: Median of our side's figures.
        other: Median of the other's.
    """

    median: float
    least: float
    most: float
    ours: float
    other: float


def measure(side: Side) -> Measured:
    """Runs a command to its end.

    Raises:
        RuntimeError: It failed; the message holds the end of what it printed.
    """
    output = side.folder / "stdout"
    errors = side.folder / "stderr"
    environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(side.folder),
        **side.environ,
    }
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            side.argv, cwd=side.folder, env=environ, stdout=stdout, stderr=stderr
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = errors.read_text()[-2000:]
        raise RuntimeError(f"{' '.join(side.argv)} ended with {process.returncode}: {said}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, _told(output))


def pairs(ours: Side, other: Side, number: int) -> list[tuple[Measured, Measured]]:
    """Measures both sides in turns, each of them first in every other pair."""
    found: list[tuple[Measured, Measured]] = []
    for pair in range(number):
        if pair % 2 == 0:
            first = measure(ours)
            found.append((first, measure(other)))
        else:
            first = measure(other)
            found.append((measure(ours), first))
    return found


def ratio(found: Sequence[tuple[float, float]]) -> Ratio:
    """Returns the median of the pairs' ratios, and how far they lie apart."""
    each = [ours / other for ours, other in found]
    return Ratio(
        statistics.median(each),
        min(each),
        max(each),
        statistics.median(ours for ours, _ in found),
        statistics.median(other for _, other in found),
    )


def _told(output: Path) -> Any:
    lines = output.read_text(errors="replace").splitlines()
    if lines and lines[-1].startswith("{"):
        return json.loads(lines[-1])
    return None
