"""What is compared with what: two sides, and what is read from their pairs."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Figure, Measured, Side
from benchmarks.sides import (
    BIN,
    by_hand,
    chain,
    in_this_python,
    independent,
    layers,
    multiprocess,
    ours,
)


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Args:
        title: What is measured.
        against: What it is divided by.
        figure: The figure of a side.
        limit: What the ratio may be at most.
        unit: Of the figures.
        shown: How they are printed.
    """

    title: str
    against: str
    figure: Figure
    limit: float | None = None
    unit: str = "s"
    shown: str = ".2f"


@dataclass(frozen=True)
class Experiment:
    """Two sides, and the lines which are read from their pairs.

    Args:
        sides: Lays both out below a folder; the number scales the nodes.
        lines: The lines.
        warm_up: Whether each side runs once before, so that its instance is there.
    """

    sides: Callable[[Path, float], tuple[Side, Side]]
    lines: tuple[Line, ...]
    warm_up: bool = False


def _wall(measured: Measured, _: Side) -> float:
    return measured.wall


def _cpu(measured: Measured, _: Side) -> float:
    return measured.cpu


def _memory(measured: Measured, _: Side) -> float:
    return measured.memory


def _per_node(measured: Measured, side: Side) -> float:
    return measured.wall / side.nodes * 1000


def _cpu_per_node(measured: Measured, side: Side) -> float:
    return measured.cpu / side.nodes * 1000


def _told(part: str) -> Figure:
    return lambda measured, _: measured.told[part]


EXECUTE = "`dagster job execute`"


def _chain(folder: Path, scale: float) -> tuple[Side, Side]:
    graph = chain(round(1000 * scale))
    return ours(folder / "ours", graph), by_hand(folder / "other", graph)


def _shell(folder: Path, _: float) -> tuple[Side, Side]:
    return ours(folder / "ours", chain(3)), by_hand(folder / "other", chain(3))


def _state(folder: Path, scale: float) -> tuple[Side, Side]:
    graph = chain(round(1000 * scale))
    off = ours(folder / "off", graph, history=False, hooks=False)
    return ours(folder / "on", graph), off


def _sleeps(folder: Path, _: float) -> tuple[Side, Side]:
    graph = independent(40)
    executor = multiprocess(8, "forkserver")
    return (
        ours(folder / "ours", graph, workers=8, function="nap"),
        by_hand(folder / "other", graph, executor=executor, function="nap"),
    )


def _span(folder: Path, _: float) -> tuple[Side, Side]:
    side = ours(folder / "ours", independent(40), workers=8, function="nap")
    words = ("-m", "benchmarks.span")
    return (
        in_this_python(*words, *side.argv)(side.folder),
        in_this_python("-c", "print('{\"steps\": 2.5}')")(folder / "ideal"),
    )


def _workers(folder: Path, scale: float) -> tuple[Side, Side]:
    graph = layers(round(40 * scale), 8)
    other = by_hand(folder / "other", graph, executor=multiprocess(2))
    return ours(folder / "ours", graph, workers=2), other


def _two(folder: Path, scale: float) -> tuple[Side, Side]:
    graph = layers(round(500 * scale), 25)
    return ours(folder / "two", graph, workers=2), ours(folder / "one", graph)


def _few(folder: Path, _: float) -> tuple[Side, Side]:
    return ours(folder / "two", chain(3), workers=2), ours(folder / "one", chain(3))


def _growth(folder: Path, scale: float) -> tuple[Side, Side]:
    big, small = round(5000 * scale), round(500 * scale)
    return ours(folder / "big", layers(big, 50)), ours(folder / "small", layers(small, 50))


def _compile(folder: Path, scale: float) -> tuple[Side, Side]:
    steps = str(round(5000 * scale))
    command = ("-m", "benchmarks.compile")
    return (
        in_this_python(*command, "--only", "ours", steps)(folder),
        in_this_python(*command, "--only", "by hand", steps)(folder),
    )


def _validate(folder: Path, _: float) -> tuple[Side, Side]:
    side = ours(folder, chain(50), hooks=False)
    words = [str(BIN / "aetherscript"), "validate", "p.aether.yaml"]
    other = Side([sys.executable, "-c", "import pydantic, yaml, click"], folder)
    return Side(words, side.folder), other


EXPERIMENTS: Mapping[str, Experiment] = {
    "chain": Experiment(
        _chain,
        (
            Line("1,000 nodes in a chain; state, history, hooks", EXECUTE, _wall, 0.40),
            Line("the same, processor time", EXECUTE, _cpu),
            Line("the same, peak memory", EXECUTE, _memory, 1.10, "MiB", ".0f"),
        ),
    ),
    "shell": Experiment(
        _shell,
        (
            Line("3 nodes, from the prompt to the end", EXECUTE, _wall, 0.80),
            Line("the same, processor time", EXECUTE, _cpu),
        ),
        warm_up=True,
    ),
    "state": Experiment(
        _state,
        (
            Line("1,000 nodes; history and hooks on", "our own run with them off", _wall, 1.10),
            Line("the same, processor time", "our own run with them off", _cpu),
        ),
    ),
    "sleeps": Experiment(
        _sleeps,
        (
            Line(
                "40 independent nodes of 0.5 s, 8 workers",
                "multiprocess executor, 8, forkserver",
                _wall,
                0.20,
            ),
            Line("the same, processor time", "the same", _cpu),
        ),
    ),
    "span": Experiment(
        _span,
        (Line("the same, first step's start to last one's end", "the ideal", _told("steps"), 2.0),),
    ),
    "workers": Experiment(
        _workers,
        (
            Line("40 nodes in layers, 2 workers", "multiprocess executor, 2", _wall, 0.10),
            Line("the same, processor time", "multiprocess executor, 2", _cpu),
        ),
    ),
    "two": Experiment(
        _two,
        (
            Line("500 nodes in layers, 2 workers", "our own run in process", _wall, 1.0),
            Line("the same, processor time", "our own run in process", _cpu),
        ),
    ),
    "few": Experiment(
        _few,
        (
            Line("3 nodes, 2 workers", "our own run in process", _wall),
            Line("the same, processor time", "our own run in process", _cpu),
        ),
        warm_up=True,
    ),
    "growth": Experiment(
        _growth,
        (
            Line("5,000 nodes in layers, a node", "500 nodes, a node", _per_node, 1.20, "ms"),
            Line("the same, processor time", "500 nodes, a node", _cpu_per_node, None, "ms"),
        ),
    ),
    "compile": Experiment(
        _compile,
        (
            Line("5,000 steps from text to definitions", "assets by hand", _told("build"), 1.25),
            Line("… and to a job which can run", "assets by hand", _told("all"), 1.25),
        ),
    ),
    "validate": Experiment(
        _validate,
        (
            Line(
                "`aetherscript validate`, 50 steps",
                '`python -c "import pydantic, yaml, click"`',
                _wall,
                2.0,
            ),
            Line("the same, processor time", "the same", _cpu),
        ),
        warm_up=True,
    ),
}
