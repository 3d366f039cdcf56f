"""The end of an execution in words, beginning with what failed (spec 6)."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from aether_dagster.cli.text import counted, error_line, printable, seconds

STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "refused": "bold red",
    "executing": "cyan",
    "retrying": "yellow",
    "pending": "dim",
}


def failures(document: Mapping[str, Any]) -> Text:
    """Returns what failed, each with its traceback, then what did not run; empty if all did.

    Args:
        document: The state document of an execution (spec 1.1).
    """
    text = Text()
    nodes: Mapping[str, Mapping[str, Any]] = document["nodes"]
    for name, node in nodes.items():
        if node["status"] == "failed":
            _failed(text, name, node)
    waiting = {
        name: node["error"]
        for name, node in nodes.items()
        if node["status"] == "pending" and node["error"] is not None
    }
    if waiting:
        text.append("Not run\n", "bold")
    for name, error in waiting.items():
        text.append(f"  {name}: {error_line(error)}\n")
    return text


def closing(
    document: Mapping[str, Any],
    report: Mapping[str, Any],
    *,
    name: str,
    history: str | None,
    history_error: str | None,
    resuming: str,
) -> Text:
    """Returns the last lines: how the execution ended, its id, where its history lies, and how to
    go on if it did not succeed.

    Args:
        document: The final state document.
        report: Its report (spec 3).
        name: The pipeline's name.
        history: The execution's folder, if one was written.
        history_error: Why the history is not whole, if it is not.
        resuming: The command which resumes it.
    """
    status = report["status"]
    text = Text()
    text.append(status, STYLES[status])
    text.append(f"  {name}  {document['pipeline']['id']}")
    text.append(f"  {counted(report['nodes'])}  in {seconds(report['duration'])}\n")
    if history is not None:
        text.append(f"history  {history}\n")
    if history_error is not None:
        text.append("history not written", "bold red")
        text.append(f"  {printable(history_error)}\n")
    if status != "succeeded" and report["nodes"]["succeeded"] < len(document["nodes"]):
        text.append(f"resume   {printable(resuming)}\n")
    return text


def _failed(text: Text, name: str, node: Mapping[str, Any]) -> None:
    error: Mapping[str, Any] = node["error"] or {}
    text.append("failed", STYLES["failed"])
    text.append(f"  {name}", "bold")
    text.append(f"  attempt {node['retry_count'] + 1}  {error_line(error)}\n")
    traceback = printable(str(error.get("traceback") or "")).strip("\n")
    # A message of several lines stands at the end of its traceback; without one, it is shown.
    details = traceback or "\n".join(
        printable(str(error.get("message") or "")).strip().split("\n")[1:]
    )
    for line in details.splitlines():
        text.append(f"    {line}\n", "dim")
