"""`aetherscript history list`: one line for each execution."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, UNFINISHED, history_url
from aether_dagster.cli.status import ExitStatus
from aether_dagster.cli.text import counted, moment, seconds, table
from aether_dagster.errors import SnapshotError

if TYPE_CHECKING:
    from aether_dagster.snapshot import HistoryStore


@click.command("list")
@click.argument("history", required=False, envvar=ENVIRONMENT_VARIABLE, metavar="[DIR|URL]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
def list_executions(history: str | None, as_json: bool) -> int:
    """List the executions in a state history, the newest first.

    DIR|URL is what --state-history of `aetherscript run` was; left out, it is
    AETHERSCRIPT_STATE_HISTORY, or else ./executions/.
    """
    from aether_dagster.snapshot import HistoryStore

    store = HistoryStore(history_url(history))
    executions: list[dict[str, Any]] = []
    status = ExitStatus.SUCCEEDED
    for folder in reversed(store.folders()):
        try:
            executions.append(_execution(store, folder))
        except SnapshotError as error:
            click.echo(f"Error: {error}", err=True)
            status = ExitStatus.WRONG_INPUT
    if as_json:
        click.echo(json.dumps(executions, ensure_ascii=False, indent=2))
    elif executions:
        heading = ("STARTED", "EXECUTION", "VERSION", "STATUS", "DURATION", "NODES")
        click.echo("\n".join(table([heading, *map(_row, executions)])))
    elif status == ExitStatus.SUCCEEDED:
        click.echo(f"No executions in {store.url}.", err=True)
    return status


def _execution(store: "HistoryStore", folder: str) -> dict[str, Any]:
    from aether_dagster.snapshot import FINAL, INIT, parse_folder

    # The records of the nodes are left alone: a history may hold very many.
    names = set(store.names(folder))
    document: Mapping[str, Any] = {}
    if present := [name for name in (FINAL, INIT) if name in names]:
        document = _load(store, folder, present[0])
    report = document.get("report", {})
    pipeline = document.get("pipeline", {})
    return {
        "execution": parse_folder(folder),
        "folder": folder,
        "version": pipeline.get("version"),
        "start_timestamp": pipeline.get("start_timestamp"),
        "config_hash": pipeline.get("config_hash"),
        "status": report.get("status", UNFINISHED),
        "duration": report.get("duration"),
        "nodes": report.get("nodes"),
    }


def _load(store: "HistoryStore", folder: str, name: str) -> Mapping[str, Any]:
    try:
        return json.loads(store.read(folder, name))
    except ValueError as error:
        raise SnapshotError(f"The history file {folder}/{name} is damaged: {error}.") from error


def _row(execution: Mapping[str, Any]) -> tuple[str, ...]:
    started, duration = execution["start_timestamp"], execution["duration"]
    return (
        "" if started is None else moment(started),
        execution["execution"],
        execution["version"] or "",
        execution["status"],
        "" if duration is None else seconds(duration),
        counted(execution["nodes"] or {}),
    )
