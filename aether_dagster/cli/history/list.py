"""`aetherscript history list`: one line for each execution."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, UNFINISHED, history_url
from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.cli.status import ExitStatus
from aether_dagster.cli.text import counted, moment, seconds, size, table
from aether_dagster.errors import SealError, SnapshotError, UnknownKey

if TYPE_CHECKING:
    from aether_dagster.crypto import KeyRing
    from aether_dagster.snapshot import HistoryStore

# The status of an execution which no key given opens.
LOCKED = "sealed"
# A history may hold very many executions, and two files of each are read.
_LISTED = 50


@click.command("list")
@click.argument("history", required=False, envvar=ENVIRONMENT_VARIABLE, metavar="[DIR|URL]")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LISTED,
    show_default=True,
    metavar="N",
    help="List the N newest.",
)
@click.option("--all", "everything", is_flag=True, help="List all of them.")
@keys_option("Opens executions which are sealed")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
def list_executions(
    history: str | None, limit: int, everything: bool, keys: tuple[str, ...], as_json: bool
) -> int:
    """List the executions in a state history, the newest first, with their size on disk.

    DIR|URL is what --state-history of `aetherscript run` was; left out, it is
    AETHERSCRIPT_STATE_HISTORY, or else ./executions/. Of an execution which is sealed with
    another key than those given, only the name and the size are told.
    """
    from aether_dagster.snapshot import HistoryStore

    ring = given_keys(keys)
    store = HistoryStore(history_url(history))
    executions: list[dict[str, Any]] = []
    status = ExitStatus.SUCCEEDED
    folders = store.folders()
    chosen = folders if everything else folders[-limit:]
    for folder in reversed(chosen):
        try:
            executions.append(_execution(store, folder, ring))
        except (SnapshotError, SealError) as error:
            click.echo(f"Error: {error}", err=True)
            status = ExitStatus.WRONG_INPUT
    if as_json:
        click.echo(json.dumps(executions, ensure_ascii=False, indent=2))
    elif executions:
        heading = ("STARTED", "EXECUTION", "VERSION", "STATUS", "DURATION", "SIZE", "NODES")
        click.echo("\n".join(table([heading, *map(_row, executions)])))
        total = sum(execution["bytes"] for execution in executions)
        older = len(folders) - len(chosen)
        more = f"; {older} older ones are not listed, see --all" if older else ""
        noun = "execution" if len(executions) == 1 else "executions"
        click.echo(f"{len(executions)} {noun}, {size(total)}{more}", err=True)
    elif status == ExitStatus.SUCCEEDED:
        click.echo(f"No executions in {store.url}.", err=True)
    return status


def _execution(store: "HistoryStore", folder: str, keys: "KeyRing | None") -> dict[str, Any]:
    from aether_dagster.snapshot import FINAL, INIT, parse_folder
    from aether_dagster.snapshot.opening import is_sealed, open_file

    # The records of the nodes are left alone: a history may hold very many.
    sizes = store.sizes(folder)
    document: Mapping[str, Any] = {}
    sealed, locked = False, False
    if present := [name for name in (FINAL, INIT) if name in sizes]:
        sealed = is_sealed(store.read(folder, present[0]))
        try:
            opened = open_file(store, folder, present[0], keys if sealed else None)
            document = opened.document(folder)
        except UnknownKey:
            locked = True
    report = document.get("report", {})
    pipeline = document.get("pipeline", {})
    return {
        "execution": parse_folder(folder),
        "folder": folder,
        "version": pipeline.get("version"),
        "start_timestamp": pipeline.get("start_timestamp"),
        "config_hash": pipeline.get("config_hash"),
        "status": report.get("status", LOCKED if locked else UNFINISHED),
        "duration": report.get("duration"),
        "nodes": report.get("nodes"),
        "sealed": sealed,
        "files": len(sizes),
        "bytes": sum(sizes.values()),
    }


def _row(execution: Mapping[str, Any]) -> tuple[str, ...]:
    started, duration = execution["start_timestamp"], execution["duration"]
    return (
        "" if started is None else moment(started),
        execution["execution"],
        execution["version"] or "",
        execution["status"],
        "" if duration is None else seconds(duration),
        size(execution["bytes"]),
        counted(execution["nodes"] or {}),
    )
