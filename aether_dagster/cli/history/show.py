"""`aetherscript history show`: one execution, node by node, then what failed."""

import json
import sys
from dataclasses import asdict

import click

from aether_dagster.cli.history.target import (
    EXECUTION,
    LATEST,
    execution_folder,
    history_option,
    journal_option,
)
from aether_dagster.cli.keys import given_keys, keys_option


@click.command
@click.argument("execution", default=LATEST, metavar=EXECUTION)
@history_option()
@keys_option("Opens an execution which is sealed")
@journal_option()
@click.option("--hooks", is_flag=True, help="Print every call of a state hook instead.")
@click.option("--json", "as_json", is_flag=True, help="Print all of its files as one JSON object.")
def show(
    execution: str,
    state_history: str | None,
    keys: tuple[str, ...],
    journal: str | None,
    hooks: bool,
    as_json: bool,
) -> None:
    """Show an execution: its nodes with status, attempts and time, then what failed.

    Name it by its folder or by its pipeline id; left out, it is the latest. The calls of state
    hooks are kept in the journal, not in the history.
    """
    if hooks:
        from aether_dagster.cli.history.ledger import ledger_text

        text = ledger_text(execution, state_history, journal, given_keys(keys), as_json=as_json)
        click.echo(text)
        return
    from aether_dagster.snapshot import read_execution

    folder = execution_folder(execution, state_history)
    history = read_execution(folder, given_keys(keys))
    if as_json:
        click.echo(json.dumps(asdict(history), ensure_ascii=False, indent=2))
        return
    from aether_dagster.cli.history.page import newest_state, reused_nodes, state_page
    from aether_dagster.cli.output import console

    page = state_page(newest_state(history), f"history  {folder}", reused_nodes(history))
    console(sys.stdout).write_text(page)
