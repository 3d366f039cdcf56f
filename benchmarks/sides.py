"""The same graph and work as a pipeline of ours, and as a Dagster job written by hand."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import Side

BIN = Path(sys.executable).parent
WORK = """import time

def work(**values):
    return max(values.values(), default=0) + 1

def nap(**_):
    time.sleep(0.5)
"""
# Asked before every change, and told of every transition: the most which a hook can want.
HOOK = '''"""A state hook."""

from aethersdk import StateHook


class Watcher(StateHook):
    """Is asked about every change and told of every transition."""

    transitions = 0

    def pre_state_mutation(self, mutation):
        """Lets it pass."""

    def post_node_execute(self, node_id, previous_state, current_state):
        """Counts it."""
        self.transitions += 1
'''
# The stock storage; Dagster's telemetry writes a file for every step, on neither side.
INSTANCE = "telemetry: {enabled: false}\n"

Graph = Sequence[Sequence[int]]
"""For each node, the nodes which it takes from."""


def independent(nodes: int) -> Graph:
    """No node takes from another."""
    return [[] for _ in range(nodes)]


def chain(nodes: int) -> Graph:
    """Each node takes from the one before it."""
    return [[number - 1] if number else [] for number in range(nodes)]


def layers(nodes: int, width: int) -> Graph:
    """Each node takes from two of the layer before."""
    return [
        []
        if number < width
        else sorted({number - width, (number + 1) % width + (number // width - 1) * width})
        for number in range(nodes)
    ]


def ours(
    folder: Path,
    graph: Graph,
    *,
    history: bool = True,
    hooks: bool = True,
    workers: int = 1,
    function: str = "work",
) -> Side:
    """`aetherscript run` of the graph as a document.

    Args:
        folder: Where.
        graph: The graph.
        history: Whether it keeps a state history.
        hooks: Whether it has a hook.
        workers: How many processes run its steps.
        function: What each step calls.
    """
    _write(folder / "work.py", WORK)
    _write(folder / "p.aether.yaml", _document(graph, function))
    if hooks:
        _write(folder / "plugins" / "watcher.py", HOOK)
    words = [str(BIN / "aetherscript"), "run"]
    if history:
        words.append("--state-history=executions")
    if workers > 1:
        words.append(f"--workers={workers}")
    return Side(words, folder, nodes=len(graph))


def by_hand(
    folder: Path,
    graph: Graph,
    *,
    embedded: bool = False,
    executor: str = "dg.in_process_executor",
    function: str = "work",
) -> Side:
    """`dagster job execute` of the graph as assets.

    Args:
        folder: Where.
        graph: The graph.
        embedded: On our storage instead of the stock one.
        executor: The expression of its executor.
        function: What each asset calls.
    """
    _write(folder / "work.py", WORK)
    _write(folder / "defs.py", _assets(graph, executor, function))
    instance = INSTANCE + (_EMBEDDED.format(folder=folder / "home") if embedded else "")
    _write(folder / "home" / "dagster.yaml", instance)
    words = [str(BIN / "dagster"), "job", "execute", "-f", "defs.py", "-j", "p"]
    return Side(words, folder, {"DAGSTER_HOME": str(folder / "home")}, nodes=len(graph))


_EMBEDDED = """storage:
  custom:
    module: aether_dagster.orchestration.event_log
    class: KeptSqliteStorage
    config: {{base_dir: {folder}}}
"""


def in_this_python(*words: str) -> Callable[[Path], Side]:
    """A command of this interpreter, in the root of the repository."""
    root = Path(__file__).parents[1]

    def side(folder: Path) -> Side:
        folder.mkdir(parents=True, exist_ok=True)
        return Side([sys.executable, *words], folder, {"PYTHONPATH": str(root)})

    return side


def multiprocess(workers: int, start_method: str | None = None) -> str:
    """Dagster's own executor of many processes, as `by_hand` takes it."""
    config: dict[str, object] = {"max_concurrent": workers}
    if start_method is not None:
        config["start_method"] = {start_method: {}}
    return f"dg.multiprocess_executor.configured({config!r})"


def _document(graph: Graph, function: str) -> str:
    lines = ['version: "2.1"', "metadata: {name: p}", "pipeline:", "  steps:"]
    for number, ups in enumerate(graph):
        args = "".join(f", s{up}: '${{steps.s{up}.output}}'" for up in ups)
        lines.append(
            f"    - {{id: s{number}, type: python/call, "
            f"args: {{callable: 'work:{function}'{args}}}}}"
        )
    return "\n".join(lines) + "\n"


def _assets(graph: Graph, executor: str, function: str) -> str:
    lines = [
        "import sys",
        "import dagster as dg",
        f"from work import {function} as work",
        # A chain is walked recursively; ours raises the limit too.
        f"sys.setrecursionlimit({4 * len(graph) + 1000})",
    ]
    for number, ups in enumerate(graph):
        names = ", ".join(f"s{up}" for up in ups)
        given = ", ".join(f"s{up}=s{up}" for up in ups)
        lines += ["@dg.asset", f"def s{number}({names}): return work({given})"]
    every = ", ".join(f"s{number}" for number in range(len(graph)))
    lines += [
        f"assets = [{every}]",
        f"job = dg.define_asset_job('p', selection='*', executor_def={executor})",
        "defs = dg.Definitions(assets=assets, jobs=[job])",
    ]
    return "\n".join(lines) + "\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
