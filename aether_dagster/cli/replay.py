"""`aetherscript replay`: a past execution once more, through the live protocol."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from aether_dagster.crypto import KeyRing
    from aether_dagster.sidecar.replay import Replay

_PIPELINE_ID = re.compile(r"pipeline_[0-9A-HJKMNP-TV-Z]{8}")


@click.command
@click.argument("execution", metavar="FOLDER|PIPELINE_ID")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=1.0,
    show_default=True,
    help="How many times as fast as it was.",
)
@click.option(
    "--journal",
    envvar="AETHERSCRIPT_JOURNAL",
    show_envvar=True,
    metavar="URL",
    help="The journal which holds PIPELINE_ID; left out, the one of this folder.",
)
@keys_option("Opens an execution which is sealed")
@listening_options
def replay(
    *,
    execution: str,
    speed: float,
    journal: str | None,
    keys: tuple[str, ...],
    listening: Listening,
) -> None:
    """Play a past execution once more, until Ctrl-C.

    Name it by its pipeline id, or by its folder in a state history. It begins when the first
    client connects: a page, or a tool.
    """
    settings = sidecar_settings(listening)
    from aether_dagster.sidecar.process import serve_replay

    played = _replay(execution, speed, journal, given_keys(keys))
    file = listening.token or token_file(os.environ)
    serve_replay(played, settings, announce(settings, file, played.pipeline_id))


def _replay(execution: str, speed: float, journal: str | None, keys: "KeyRing | None") -> "Replay":
    from aether_dagster.sidecar.replay import Replay

    if _PIPELINE_ID.fullmatch(execution) is None:
        from aether_dagster.sidecar.past import history_versions, recorded
        from aether_dagster.snapshot import read_execution

        history = read_execution(execution, keys)
        versions = history_versions(history, written_at(execution))
        return Replay(recorded(history, versions), versions, speed)
    from aether_dagster.journal import Journal

    url = journal_url(journal, Path.cwd())
    with Journal.open(url, read_only=True, keys=keys) as opened:
        return Replay.of(opened, execution, speed)


def written_at(folder: str) -> dict[str, float]:
    """Returns when the files of a local folder were written, in Unix seconds; else nothing."""
    place = Path(folder)
    if not place.is_dir():
        return {}
    return {file.name: file.stat().st_mtime for file in place.iterdir()}
