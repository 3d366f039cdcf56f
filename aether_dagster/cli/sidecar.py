"""`aetherscript sidecar`: shows executions live, over WebSocket and HTTP."""

import os
from pathlib import Path

import click

from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.cli.serving import (
    Listening,
    announce,
    journal_url,
    listening_options,
    sidecar_settings,
    token_file,
)


@click.command
@click.option(
    "--journal",
    envvar="AETHERSCRIPT_JOURNAL",
    show_envvar=True,
    metavar="URL",
    help="The journal to show; left out, the one of `aetherscript run` in this folder.",
)
@keys_option("Opens executions which are sealed")
@listening_options
def sidecar(*, listening: Listening, journal: str | None, keys: tuple[str, ...]) -> None:
    """Show the executions of a journal live, until Ctrl-C.

    Serves the page, and the live protocol for tools. The page's URL carries a token, which is kept
    in a file that only you can read.
    """
    settings = sidecar_settings(listening)
    from aether_dagster.journal import Journal
    from aether_dagster.sidecar.process import serve

    file = listening.token or token_file(os.environ)
    ring = given_keys(keys)
    with Journal.open(journal_url(journal, Path.cwd()), read_only=True, keys=ring) as opened:
        serve(opened, settings, announce(settings, file, "latest"))
