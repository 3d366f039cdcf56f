"""The group of the commands on sealed files of secrets."""

import click

from aether_dagster.cli.lazy import LazyGroup

COMMANDS = {
    name: f"aether_dagster.cli.secrets.file:{function}"
    for name, function in (("set", "set_secret"), ("list", "list_secrets"), ("remove", "remove"))
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def secrets() -> None:
    """Keep secrets in a sealed file, for documents with `secret_store: file:///PATH`."""
