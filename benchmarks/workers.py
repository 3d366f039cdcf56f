"""Warm workers beside what one would do otherwise: ratios of pairs which run in turns.

    python benchmarks/workers.py                          every row, 5 pairs
    python benchmarks/workers.py sleeps --pairs 3         one of them

Each side is a command from its start to its end: `aetherscript run --workers N`, and `dagster job
execute` of the same graph as assets written by hand, on a stock SQLite instance. A ratio is of one
pair; its median stands with the least and the most.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
CODE = """import time

def nap(**_):
    time.sleep(0.5)

def work(**values):
    return max(values.values(), default=0) + 1
"""
Graph = Sequence[Sequence[int]]
Side = Callable[[], float]
_IDEAL = 2.5


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        title: What is measured, and against what.
        limit: What the ratio may be at most.
        sides: Lays both out below a folder; each gives seconds when it is called.
    """

    title: str
    limit: float
    sides: Callable[[Path], tuple[Side, Side]]


def independent(nodes: int) -> Graph:
    return [[] for _ in range(nodes)]


def layers(nodes: int, width: int) -> Graph:
    """Each node takes from two of the layer before."""
    return [
        []
        if number < width
        else sorted({number - width, (number + 1) % width + (number // width - 1) * width})
        for number in range(nodes)
    ]


def ours(folder: Path, graph: Graph, function: str, workers: int) -> Side:
    lines = ['version: "2.1"', "metadata: {name: p}", "pipeline:", "  steps:"]
    for number, ups in enumerate(graph):
        args = "".join(f", s{up}: '${{steps.s{up}.output}}'" for up in ups)
        call = f"callable: 'code_of_steps:{function}'{args}"
        lines.append(f"    - {{id: s{number}, type: python/call, args: {{{call}}}}}")
    _write(folder / "code_of_steps.py", CODE)
    _write(folder / "p.aether.yaml", "\n".join(lines))
    words = ["aetherscript", "run", "--quiet", "--state-history=h", f"--workers={workers}"]
    return lambda: _seconds(folder, *words)


def by_hand(folder: Path, graph: Graph, function: str, workers: int, start: str) -> Side:
    lines = ["import dagster as dg", f"from code_of_steps import {function} as work"]
    for number, ups in enumerate(graph):
        names = ", ".join(f"s{up}" for up in ups)
        given = ", ".join(f"s{up}=s{up}" for up in ups)
        lines += ["@dg.asset", f"def s{number}({names}): return work({given})"]
    every = ", ".join(f"s{number}" for number in range(len(graph)))
    executor = {"max_concurrent": workers, "start_method": {start: {}}}
    lines += [
        f"executor = dg.multiprocess_executor.configured({executor!r})",
        "job = dg.define_asset_job('p', selection='*', executor_def=executor)",
        f"defs = dg.Definitions(assets=[{every}], jobs=[job])",
    ]
    _write(folder / "code_of_steps.py", CODE)
    _write(folder / "defs.py", "\n".join(lines))
    _write(folder / "home" / "dagster.yaml", "telemetry: {enabled: false}\n")
    return lambda: _seconds(folder, "dagster", "job", "execute", "-f", "defs.py", "-j", "p")


def steps_alone(folder: Path, run: Side) -> Side:
    """From the first step's start to the last one's end, by Dagster's log of the run."""
    words = [sys.executable, __file__, "--span", str(folder)]

    def span() -> float:
        run()
        return float(json.loads(subprocess.check_output(words)))

    return span


def print_span(folder: Path) -> None:
    from dagster import DagsterEventType

    from aether_dagster.orchestration.instance import embedded_instance

    with embedded_instance(folder) as instance:
        run = instance.get_runs(limit=1)[0].run_id
        began = instance.all_logs(run, of_type=DagsterEventType.STEP_START)
        ended = instance.all_logs(run, of_type=DagsterEventType.STEP_SUCCESS)
    print(max(e.timestamp for e in ended) - min(e.timestamp for e in began))


def _sleeps(folder: Path) -> tuple[Side, Side]:
    graph = independent(40)
    return (
        ours(folder / "ours", graph, "nap", 8),
        by_hand(folder / "other", graph, "nap", 8, "forkserver"),
    )


def _ideal(folder: Path) -> tuple[Side, Side]:
    run = ours(folder / "ours", independent(40), "nap", 8)
    return steps_alone(folder / "ours", run), lambda: _IDEAL


def _layered(folder: Path) -> tuple[Side, Side]:
    graph = layers(40, 8)
    return (
        ours(folder / "ours", graph, "work", 2),
        by_hand(folder / "other", graph, "work", 2, "spawn"),
    )


def _in_process(folder: Path) -> tuple[Side, Side]:
    graph = layers(500, 25)
    return ours(folder / "two", graph, "work", 2), ours(folder / "one", graph, "work", 1)


ROWS = {
    "sleeps": Row("40 x 0.5 s, 8 workers / multiprocess 8, forkserver", 0.20, _sleeps),
    "ideal": Row("40 x 0.5 s, 8 workers, steps alone / the ideal 2.5 s", 2.0, _ideal),
    "layered": Row("40 nodes in layers, 2 workers / multiprocess 2", 0.10, _layered),
    "in-process": Row("500 nodes in layers, 2 workers / our own in-process", 1.0, _in_process),
}


def measure(row: Row, pairs: int) -> str:
    """Runs pairs, each side first in every other one; returns a line of the table."""
    with tempfile.TemporaryDirectory(prefix="aether-benchmark-") as folder:
        one, other = row.sides(Path(folder))
        found: list[tuple[float, float]] = []
        for pair in range(pairs):
            if pair % 2 == 0:
                first = one()
                found.append((first, other()))
            else:
                first = other()
                found.append((one(), first))
            print(f"  {found[-1][0]:.2f} / {found[-1][1]:.2f}", file=sys.stderr, flush=True)
    ratios = [a / b for a, b in found]
    return (
        f"| {row.title} | {statistics.median(ratios):.2f} | {min(ratios):.2f} to "
        f"{max(ratios):.2f} | {row.limit:.2f} | {statistics.median(a for a, _ in found):.2f} / "
        f"{statistics.median(b for _, b in found):.2f} s |"
    )


def _seconds(folder: Path, command: str, *words: str) -> float:
    environ = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(folder),
        **({"DAGSTER_HOME": str(folder / "home")} if (folder / "home").exists() else {}),
    }
    with Path(os.devnull).open("wb") as nothing:
        began = time.perf_counter()
        subprocess.run(
            [str(BIN / command), *words],
            cwd=folder,
            env=environ,
            stdout=nothing,
            stderr=nothing,
            check=True,
        )
        return time.perf_counter() - began


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], default=[])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--span", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.span is not None:
        print_span(arguments.span)
        return
    print("| | ratio | spread | at most | medians |\n|---|---|---|---|---|")
    for name in arguments.rows or ROWS:
        print(measure(ROWS[name], arguments.pairs), flush=True)


if __name__ == "__main__":
    main()
