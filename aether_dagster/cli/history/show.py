"""`aetherscript history show`: one execution, node by node, then what failed."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, UNFINISHED, history_url
from aether_dagster.cli.text import counted, moment, seconds, table
from aether_dagster.errors import SnapshotError

if TYPE_CHECKING:
    from rich.text import Text

    from aether_dagster.snapshot import ExecutionHistory

LATEST = "latest"
_PIPELINE_ID = re.compile(r"pipeline_[0-9A-HJKMNP-TV-Z]{8}")


@click.command
@click.argument("execution", default=LATEST, metavar="[FOLDER|PIPELINE_ID|latest]")
@click.option(
    "--state-history",
    envvar=ENVIRONMENT_VARIABLE,
    metavar="DIR|URL",
    help="Where to look for a PIPELINE_ID or the latest execution; ./executions/ by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of its files as one JSON object.")
def show(execution: str, state_history: str | None, as_json: bool) -> None:
    """Show an execution: its nodes with status, attempts and time, then what failed.

    Name it by its folder or by its pipeline id; left out, it is the latest.
    """
    from aether_dagster.snapshot import read_execution

    folder = _folder(execution, state_history)
    history = read_execution(folder)
    if as_json:
        click.echo(json.dumps(asdict(history), ensure_ascii=False, indent=2))
        return
    from aether_dagster.cli.output import console

    console(sys.stdout).write_text(_page(history, folder))


def _folder(execution: str, state_history: str | None) -> str:
    """Returns the path or URL of the execution's folder."""
    from aether_dagster.snapshot import HistoryStore, parse_folder

    if execution != LATEST and _PIPELINE_ID.fullmatch(execution) is None:
        return execution
    url = history_url(state_history)
    folders = HistoryStore(url).folders()
    if execution != LATEST:
        folders = [folder for folder in folders if parse_folder(folder) == execution]
    if not folders:
        what = "no execution" if execution == LATEST else f"no execution {execution}"
        raise SnapshotError(f"The history {url} holds {what}; see `aetherscript history list`.")
    return f"{url.rstrip('/')}/{folders[-1]}"


def _page(history: "ExecutionHistory", folder: str) -> "Text":
    from rich.text import Text

    from aether_dagster.cli.summary import STYLES, failures

    document = _newest_state(history)
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
    page.append(f"\nhistory  {folder}\n\n")
    rows = [("NODE", "STATUS", "ATTEMPTS", "TIME")]
    rows += [_row(name, node) for name, node in document["nodes"].items()]
    heading, *lines = table(rows)
    page.append(f"{heading}\n", "bold")
    for line, (_, node_status, *_) in zip(lines, rows[1:], strict=True):
        page.append(f"{line}\n", STYLES[node_status])
    details = failures(document)
    if details:
        page.append("\n")
        page.append_text(details)
    return page


def _newest_state(history: "ExecutionHistory") -> Mapping[str, Any]:
    """Returns the final state, or what the files of an unfinished execution tell of its state."""
    if history.final is not None:
        return history.final
    if history.init is None:
        raise SnapshotError(f"The folder {history.folder} holds no state_init.json.")
    nodes = dict(history.init["nodes"])
    nodes.update({name: attempts[-1] for name, attempts in history.attempts.items()})
    nodes.update(history.finals)
    return {**history.init, "nodes": nodes}


def _row(name: str, node: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if node["status"] == "pending":
        return name, "pending", "0", ""
    attempts = str(node["retry_count"] + 1)
    return name, node["status"], attempts, seconds(node["execution_time"])
