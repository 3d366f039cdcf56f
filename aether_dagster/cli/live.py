"""The live view of a running execution in a terminal."""

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aether_dagster.cli.display import Display, plan_lines
from aether_dagster.cli.progress import ENDED, NodeProgress, Progress
from aether_dagster.cli.relay import PrintRelay
from aether_dagster.cli.summary import STYLES
from aether_dagster.cli.text import counted, error_line, seconds
from aether_dagster.manager import Change
from aether_dagster.manager.resumption import ResumePlan

_MARKS = {
    "succeeded": "✓",
    "failed": "✗",
    "executing": "●",
    "retrying": "↻",
    "pending": "·",
}
_RUNNING = frozenset({"executing", "retrying"})
_REFRESHES_PER_SECOND = 5
_LINES_BELOW = 3
_BAR_WIDTH = 20
_NAME_WIDTH = 40


class LiveView(Display):
    """One line for each node, a progress bar and counts, drawn again in place.

    Where the terminal has too few lines for all nodes, those which run, which failed and which
    changed last are shown.

    Args:
        console: A terminal; its stream is a duplicate of standard output (`own_stdout`), because
            what everybody else prints is taken over and put above the view.
        name: The pipeline's name.
    """

    def __init__(self, console: Console, name: str):
        self._console = console
        self._name = name
        self._progress = Progress()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._ended = threading.Event()
        # Rich finds where the view begins before it writes. Two threads which draw at one time
        # would both rub out the same view, and leave lines of the next one standing.
        self._drawing = threading.Lock()
        self._refresher = threading.Thread(target=self._refresh, name="live-view", daemon=True)
        self._relay = PrintRelay(self._print_above)
        self._live = Live(
            console=console,
            get_renderable=self._render,
            auto_refresh=False,
            # Dagster captures what steps print below Python's streams, and so does the relay.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._relay.__enter__()
        self._live.start(refresh=True)
        # A second Ctrl-C ends the process on the spot, which must not leave the cursor hidden.
        self._console.show_cursor()
        self._refresher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._relay.__exit__(kind, error, traceback)
        self._ended.set()
        self._refresher.join()
        with self._drawing:
            self._live.stop()

    def resuming(self, plan: ResumePlan) -> None:
        """See `Display.resuming`."""
        for line in plan_lines(plan):
            self._live.console.print(line, markup=False, highlight=False)

    def change(self, change: Change) -> None:
        """Takes a committed change in; it is drawn at the next refresh."""
        with self._lock:
            self._progress.observe(change)

    def _refresh(self) -> None:
        while not self._ended.wait(1 / _REFRESHES_PER_SECOND):
            self._draw()

    def _draw(self) -> None:
        with self._drawing:
            self._live.refresh()

    def _print_above(self, text: Text) -> None:
        with self._drawing:
            self._console.print(text, soft_wrap=True)

    def _render(self) -> RenderableType:
        now = time.monotonic()
        with self._lock:
            nodes = list(self._progress.nodes.values())
            counts = self._progress.counts()
            pipeline_id = self._progress.pipeline_id
        room = self._console.size.height - _LINES_BELOW
        if self._ended.is_set() and len(nodes) > room:
            nodes = []
        heading = Text(f"{self._name}  {pipeline_id}", "bold", no_wrap=True, overflow="ellipsis")
        return Group(
            heading,
            *node_lines(visible(nodes, room - 1), now),
            bar_line(counts, now - self._started),
        )


def visible(nodes: Sequence[NodeProgress], room: int) -> list[NodeProgress]:
    """Returns the nodes to be shown on so many lines.

    All, in topological order, where there is room; else those which run, which failed, and which
    changed last, the latest change at the bottom.
    """
    if len(nodes) <= room:
        return list(nodes)
    latest_first = sorted(
        (node for node in nodes if node.changed), key=lambda node: node.changed, reverse=True
    )
    running = [node for node in latest_first if node.status in _RUNNING]
    failed = [node for node in latest_first if node.status == "failed"]
    chosen = {node.name: node for node in _first(running, room * 2 // 3)}
    for node in (*_first(failed, room // 3), *latest_first):
        if len(chosen) >= room:
            break
        if node.attempt:
            chosen[node.name] = node
    return sorted(chosen.values(), key=lambda node: node.changed)


def node_lines(nodes: Sequence[NodeProgress], now: float) -> list[Text]:
    """Returns a line for each node: status, name, attempt, elapsed, and its error's first line."""
    width = min(max((len(node.name) for node in nodes), default=0), _NAME_WIDTH)
    lines: list[Text] = []
    for node in nodes:
        style = STYLES[node.status]
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{_MARKS[node.status]} {node.shown:<9}", style)
        line.append(f"  {_cut(node.name, width):<{width}}", "dim" if not node.attempt else "")
        if node.attempt and not node.reused:
            line.append(f"  attempt {node.attempt:<2} {seconds(node.seconds(now)):>10}")
        if node.error is not None:
            line.append(f"  {error_line(node.error)}", style)
        lines.append(line)
    return lines


def bar_line(counts: Mapping[str, int], elapsed: float) -> Table:
    """Returns the progress bar with the number of nodes in each status and the time so far."""
    if not counts:
        return _line(0, 1, f"starting  {seconds(elapsed)}")
    total = sum(counts.values())
    done = sum(count for status, count in counts.items() if status in ENDED)
    told = {status: count for status, count in counts.items() if status != "pending"}
    return _line(done, total, f"{done}/{total}  {seconds(elapsed)}  {counted(told)}")


def _line(done: int, total: int, text: str) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(width=_BAR_WIDTH)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(ProgressBar(total=total, completed=done, width=_BAR_WIDTH), text)
    return line


def _first(nodes: Sequence[NodeProgress], count: int) -> Sequence[NodeProgress]:
    return nodes[: max(count, 1)]


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"
