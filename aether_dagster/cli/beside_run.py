"""The sidecar of one run: a process which `aetherscript run --vis` starts and which outlives it.

It is told how to listen on the first line of its standard input, then the words of
`sidecar.process.serve_run`; it says the page's URL on its standard output.
"""

import json
import os
import sys
import time
from pathlib import Path

import click

from aether_dagster.cli.serving import Listening, journal_url, sidecar_settings
from aether_dagster.crypto import read_keys
from aether_dagster.errors import AetherError, JournalError
from aether_dagster.journal import Journal

_LOOK_SECONDS = 0.05
# Dagster may take long to make the instance which the journal follows.
_JOURNAL_SECONDS = 120.0


def main() -> int:
    """Serves the run's journal, which may not be there yet; returns the exit status."""
    from aether_dagster.sidecar.process import serve_run

    told = json.loads(sys.stdin.readline())
    listening = Listening(told["host"], told["port"], Path(told["token"]), told["rate"])
    try:
        settings = sidecar_settings(listening)
        with _journal(journal_url(os.environ.get("AETHERSCRIPT_JOURNAL"), Path.cwd())) as journal:
            serve_run(journal, settings, lambda url: print(url, flush=True), sys.stdin)  # noqa: T201
    except (AetherError, OSError) as error:
        click.echo(f"The live view cannot be shown: {error}", err=True)
        return 1
    return 0


def _journal(url: str) -> Journal:
    deadline = time.monotonic() + _JOURNAL_SECONDS
    while True:
        try:
            return Journal.open(url, read_only=True, keys=read_keys([], os.environ))
        except JournalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
