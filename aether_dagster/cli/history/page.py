"""How a state is shown in a terminal: a table of its nodes, then what failed."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from aether_dagster.cli.history.group import UNFINISHED
from aether_dagster.cli.summary import STYLES, failures
from aether_dagster.cli.text import counted, moment, seconds, table
from aether_dagster.errors import SnapshotError

if TYPE_CHECKING:
    from aether_dagster.snapshot import ExecutionHistory


def state_page(
    document: Mapping[str, Any], source: str, reused: Collection[str] = frozenset()
) -> Text:
    """Returns a state document for people.

    Args:
        document: The state, with or without a report.
        source: The line which says where it is from.
        reused: The nodes whose outputs were taken over from the execution which it resumes.
    """
    pipeline = document["pipeline"]
    report: Mapping[str, Any] = document.get("report", {})
    status = report.get("status", UNFINISHED)
    page = Text()
    page.append(status, STYLES.get(status, "yellow"))
    page.append(f"  {pipeline['id']}", "bold")
    if report:
        page.append(f"  {counted(report['nodes'])}  in {seconds(report['duration'])}")
    page.append(f"\nstarted  {moment(pipeline['start_timestamp'])}")
    page.append(f"  version {pipeline['version']}  configuration {pipeline['config_hash']}")
    if "resumed_from" in report:
        page.append(f"\nresumed  {report['resumed_from']}, {len(reused)} of its nodes reused")
    page.append(f"\n{source}\n\n")
    nodes: Mapping[str, Mapping[str, Any]] = document["nodes"]
    rows = [("NODE", "STATUS", "ATTEMPTS", "TIME")]
    rows += [
        (name, "reused", "0", "") if name in reused else node_row(name, node)
        for name, node in nodes.items()
    ]
    heading, *lines = table(rows)
    page.append(f"{heading}\n", "bold")
    for line, node in zip(lines, nodes.values(), strict=True):
        page.append(f"{line}\n", STYLES[node["status"]])
    details = failures(document)
    if details:
        page.append("\n")
        page.append_text(details)
    return page


def reused_nodes(history: "ExecutionHistory") -> set[str]:
    """Returns the nodes which had succeeded when the execution began (spec 6, `--resume`)."""
    nodes: Mapping[str, Mapping[str, Any]] = {} if history.init is None else history.init["nodes"]
    return {name for name, node in nodes.items() if node["status"] == "succeeded"}


def newest_state(history: "ExecutionHistory") -> Mapping[str, Any]:
    """Returns the final state, or what the files of an unfinished execution tell of its state."""
    if history.final is not None:
        return history.final
    if history.init is None:
        raise SnapshotError(f"The folder {history.folder} holds no state_init.json.")
    nodes = dict(history.init["nodes"])
    nodes.update({name: attempts[-1] for name, attempts in history.attempts.items()})
    nodes.update(history.finals)
    return {**history.init, "nodes": nodes}


def node_row(name: str, node: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Returns a node's name, status, attempts and time."""
    if node["status"] == "pending":
        return name, "pending", "0", ""
    attempts = str(node["retry_count"] + 1)
    return name, node["status"], attempts, seconds(node["execution_time"])
