"""`aetherscript schema`: the JSON Schema of pipeline documents."""

from importlib import resources

import click

FILE = "aetherscript-2.1.schema.json"


@click.command(short_help="Print the JSON Schema of pipeline documents.")
def schema() -> None:
    """Print the JSON Schema of pipeline documents, for editors and other tools."""
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """Returns the schema as it is shipped in the wheel."""
    return (resources.files("aether_dagster") / "script" / FILE).read_text(encoding="utf-8")
