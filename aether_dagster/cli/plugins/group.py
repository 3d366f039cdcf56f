"""The group of the commands on plugins."""

import click

from aether_dagster.cli.lazy import LazyGroup

COMMANDS = {"list": "aether_dagster.cli.plugins.list:list_plugins"}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def plugins() -> None:
    """Look at plugins."""
