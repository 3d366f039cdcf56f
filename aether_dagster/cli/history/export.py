"""`aetherscript history export`: an execution's folder as plain files, for other tools."""

import json
import os
from pathlib import Path

import click

from aether_dagster.cli.history.target import EXECUTION, execution_folder, history_option
from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.errors import SettingsError


@click.command
@click.argument("execution", metavar=EXECUTION)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@history_option()
@keys_option("Opens an execution which is sealed")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as a JSON object.")
def export(
    execution: str,
    directory: Path,
    state_history: str | None,
    keys: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the plain files of an execution into a new folder in DIR, which only you can read.

    A sealed one is opened and its chain proven first; nothing is written of one which is not as
    it was sealed.
    """
    from aether_dagster.snapshot import HistoryStore, parse_name
    from aether_dagster.snapshot.opening import check_chain, open_file

    ring = given_keys(keys)
    store, name = HistoryStore.containing(execution_folder(execution, state_history))
    names = [file for file in store.names(name) if parse_name(file) is not None]
    files = [open_file(store, name, file, ring) for file in names]
    if ring is not None:
        check_chain(name, files)
    target = directory / name
    directory.mkdir(parents=True, exist_ok=True)
    try:
        target.mkdir(mode=0o700)
    except FileExistsError:
        raise SettingsError(f"{target} is there already; name another folder.") from None
    for file in files:
        descriptor = os.open(target / file.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.content)
    if as_json:
        click.echo(json.dumps({"folder": str(target), "files": names}))
    else:
        click.echo(f"{len(files)} files in {target}")
