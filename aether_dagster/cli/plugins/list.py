"""`aetherscript plugins list`: one line for each plugin."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aether_dagster.cli.status import ExitStatus
from aether_dagster.cli.text import table
from aether_dagster.errors import PluginError, SettingsError

if TYPE_CHECKING:
    from aether_dagster.plugins.discovery import FoundPlugin


@click.command("list")
@click.argument("pipeline", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
def list_plugins(pipeline: Path | None, as_json: bool) -> int:
    """List the plugins which a pipeline can use: installed ones, and those in `plugins/` beside it.

    PIPELINE is a document or its folder; left out, it is this folder. A plugin which is listed by
    the document, or lies in `plugins/` as a file, is active; which version, the document's ranges
    say.
    """
    from aether_dagster.plugins.discovery import FOLDER, find_plugins
    from aether_dagster.plugins.loading import hook_files

    place = pipeline or Path()
    directory = place if place.is_dir() else place.parent
    rows: list[dict[str, Any]] = []
    status = ExitStatus.SUCCEEDED
    try:
        chosen = _chosen(place)
    except PluginError as error:
        # What there is helps to see why it does not fit together.
        click.echo(f"Error: {error}", err=True)
        chosen, status = frozenset[str](), ExitStatus.WRONG_INPUT
    for found in find_plugins(directory.absolute()):
        try:
            rows.append(_row(found, active=found.label in chosen))
        except PluginError as error:
            click.echo(f"Error: {error}", err=True)
            status = ExitStatus.WRONG_INPUT
    for file in hook_files(directory.absolute() / FOLDER):
        try:
            rows.append(_file_row(file))
        except PluginError as error:
            click.echo(f"Error: {error}", err=True)
            status = ExitStatus.WRONG_INPUT
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    elif rows:
        heading = ("PLUGIN", "VERSION", "ACTIVE", "BRINGS", "FROM")
        click.echo("\n".join(table([heading, *map(_cells, rows)])))
    elif status == ExitStatus.SUCCEEDED:
        click.echo("No plugin is installed, and there is none in plugins/.", err=True)
    return status


def _chosen(place: Path) -> frozenset[str]:
    """`Name@version` of what the document's ranges are resolved to."""
    from aether_dagster.plugins.activation import activate
    from aether_dagster.project import read_document

    try:
        document = read_document(place)
    except SettingsError:
        return frozenset()  # no pipeline here, or several: nobody says which are active
    return frozenset(activate(document, Path(document.file).absolute().parent).labels)


def _row(found: "FoundPlugin", *, active: bool) -> dict[str, Any]:
    from aether_dagster.plugins.contributions import load_plugin

    loaded = load_plugin(found)
    return {
        "name": found.name,
        "version": found.version,
        "active": active,
        "hooks": [hook.hook.__name__ for hook in loaded.hooks],
        "step_types": list(loaded.step_types),
        "secret_stores": [f"{scheme}://" for scheme in loaded.secret_stores],
        "requires": dict(loaded.requires),
        "yanked": found.yanked,
        "from": found.place,
    }


def _file_row(file: Path) -> dict[str, Any]:
    from aether_dagster.plugins.hooks import activate_hooks
    from aether_dagster.plugins.loading import UNKNOWN_VERSION, hooks_of_file

    hooks = activate_hooks(hooks_of_file(file))
    version = hooks[0].label.rpartition("@")[2] if hooks else UNKNOWN_VERSION
    return {
        "name": file.stem,
        "version": version,
        "active": bool(hooks),
        "hooks": [hook.name for hook in hooks],
        "step_types": [],
        "secret_stores": [],
        "requires": {},
        "yanked": None,
        "from": str(file),
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    brings = ", ".join([*row["hooks"], *row["step_types"], *row["secret_stores"]])
    active = "yes" if row["active"] else "yanked" if row["yanked"] else ""
    return row["name"], row["version"], active, brings, row["from"]
