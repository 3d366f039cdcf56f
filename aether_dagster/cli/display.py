"""The faces of a running execution which are not live: plain lines, JSON lines, silence."""

from types import TracebackType
from typing import IO, Self

from aether_dagster.cli.output import write_lines
from aether_dagster.cli.progress import NodeProgress, Progress
from aether_dagster.cli.text import error_line, moment, seconds
from aether_dagster.manager import Change
from aether_dagster.manager.resumption import ResumePlan
from aether_dagster.protocol import Frames, encode


class Display:
    """Shows an execution while it goes on; a context manager around it. This one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def resuming(self, plan: ResumePlan) -> None:
        """Shows what a run takes over, before it begins."""

    def change(self, change: Change) -> None:
        """Shows a committed change; called from one thread, in the order of the journal."""


class PlainLines(Display):
    """One line for each change of a node's status, for logs and files.

    Args:
        stream: Where the lines go.
        name: The pipeline's name.
    """

    def __init__(self, stream: IO[str], name: str):
        self._stream = stream
        self._name = name
        self._progress = Progress()

    def resuming(self, plan: ResumePlan) -> None:
        """See `Display.resuming`."""
        write_lines(self._stream, plan_lines(plan))

    def change(self, change: Change) -> None:
        """Writes a line for each node whose status or attempt is another now."""
        began = not self._progress.pipeline_id
        nodes = self._progress.observe(change)
        at = moment(change.version.committed_at)
        lines = [
            f"{at}  {node.shown:<9}  {node.name}{_details(node)}"
            for node in nodes
            if node.attempt or node.skipped
        ]
        if began and self._progress.pipeline_id:
            count = len(self._progress.nodes)
            lines.insert(
                0,
                f"{at}  started    {self._name}  {self._progress.pipeline_id}  "
                f"{count} {'step' if count == 1 else 'steps'}",
            )
        write_lines(self._stream, lines)


class JsonLines(Display):
    """One message of the live protocol for each change, the first a snapshot (spec 4).

    Args:
        stream: Where the messages go, and nothing else may.
    """

    def __init__(self, stream: IO[str]):
        self._stream = stream
        self._frames = Frames()
        self._began = False

    def change(self, change: Change) -> None:
        """Writes the change's frame; a change which leaves the document alone has none."""
        document, at = change.replica.document(), change.version.committed_at
        if not self._began:
            self._began = True
            frame = self._frames.snapshot(document, committed_at=at, started={})
        else:
            frame = self._frames.update(document, change.paths, committed_at=at)
        if frame is not None:
            write_lines(self._stream, [encode(frame)])


def plan_lines(plan: ResumePlan) -> list[str]:
    """Returns what a resumed run does, with each step which runs though it had succeeded."""
    runs, reused = len(plan.runs), len(plan.reused)
    lines = [f"resuming  {plan.pipeline_id}  {runs} to run, {reused} reused"]
    return lines + [f"runs again  {step}: {plan.runs[step]}" for step in plan.again]


def _details(node: NodeProgress) -> str:
    if node.reused:
        return ""
    details = f"  attempt {node.attempt}" if node.attempt else ""
    if node.status != "executing" and node.attempt:
        details += f"  {seconds(node.execution_time)}"
    return details if node.error is None else f"{details}  {error_line(node.error)}"
