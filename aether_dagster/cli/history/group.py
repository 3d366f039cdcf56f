"""The group of the commands on a state history, and what they have in common."""

from pathlib import Path

import click

from aether_dagster.cli.lazy import LazyGroup
from aether_dagster.errors import SettingsError

ENVIRONMENT_VARIABLE = "AETHERSCRIPT_STATE_HISTORY"
DEFAULT_FOLDER = "executions"

# The status of an execution which goes on, or whose process died before it could end it.
UNFINISHED = "unfinished"

COMMANDS = {
    "list": "aether_dagster.cli.history.list:list_executions",
    "show": "aether_dagster.cli.history.show:show",
    "at": "aether_dagster.cli.history.at:at",
    "diff": "aether_dagster.cli.history.diff:diff",
    "verify": "aether_dagster.cli.history.verify:verify",
    "export": "aether_dagster.cli.history.export:export",
    "prune": "aether_dagster.cli.history.prune:prune",
    "rekey": "aether_dagster.cli.history.rekey:rekey",
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def history() -> None:
    """Look at, verify and tidy the state history of past executions."""


def history_url(given: str | None) -> str:
    """Returns the history which a command is about.

    Args:
        given: What the command line or the environment says.

    Raises:
        SettingsError: Nothing was said and there is no folder `executions` here.
    """
    if given:
        return given
    if Path(DEFAULT_FOLDER).is_dir():
        return DEFAULT_FOLDER
    raise SettingsError(
        f"There is no folder {DEFAULT_FOLDER!r} here; say where the history lies, with a path or "
        f"URL or with {ENVIRONMENT_VARIABLE}."
    )
