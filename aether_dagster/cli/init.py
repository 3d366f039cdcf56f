"""`aetherscript init`: a small project which runs."""

import shlex
from importlib import resources
from pathlib import Path

import click

from aether_dagster.cli.schema import FILE as SCHEMA_FILE
from aether_dagster.cli.schema import schema_text
from aether_dagster.errors import SettingsError

# What the wheel calls a file, and what the project calls it.
FILES = {
    "starter.aether.yaml": "starter.aether.yaml",
    "starter_jobs.py": "starter_jobs.py",
    "orders.csv": "orders.csv",
    "README.md": "README.md",
    "gitignore": ".gitignore",
}


@click.command(short_help="Make a small project which runs.")
@click.argument("directory", default=".", type=click.Path(path_type=Path), metavar="[DIR]")
def init(directory: Path) -> None:
    """Make a small project in DIR, by default this folder: a pipeline with its Python code.

    Nothing is overwritten: if a file is there already, nothing is made.
    """
    starter = resources.files("aether_dagster") / "cli" / "starter"
    contents = {
        name: (starter / source).read_text(encoding="utf-8") for source, name in FILES.items()
    }
    contents[SCHEMA_FILE] = schema_text()
    present = [name for name in contents if (directory / name).exists()]
    if present:
        raise SettingsError(
            f"{directory} has {', '.join(present)} already; name another folder: "
            "aetherscript init DIR."
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (directory / name).write_text(text, encoding="utf-8")
        click.echo(f"made {directory / name}")
    there = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
    click.echo(f"\nRun it: {there}aetherscript run --state-history=./executions/")
