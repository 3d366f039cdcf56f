"""`aetherscript key`: keys which seal state (spec 3)."""

import click

from aether_dagster.cli.lazy import LazyGroup

COMMANDS = {"generate": "aether_dagster.cli.key.generate:generate"}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def key() -> None:
    """Make keys with which state is sealed."""
