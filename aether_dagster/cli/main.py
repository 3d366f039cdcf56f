"""The entry point: finds the command, and turns errors into messages and an exit status."""

from collections.abc import Sequence

import click

from aether_dagster.cli.lazy import LazyGroup
from aether_dagster.cli.status import ExitStatus
from aether_dagster.errors import AetherError, ScriptError

COMMANDS = {
    "run": "aether_dagster.cli.run:run",
    "validate": "aether_dagster.cli.validate:validate",
    "plan": "aether_dagster.cli.plan:plan",
    "schema": "aether_dagster.cli.schema:schema",
    "init": "aether_dagster.cli.init:init",
    "history": "aether_dagster.cli.history:history",
    "key": "aether_dagster.cli.key:key",
    "secrets": "aether_dagster.cli.secrets:secrets",
    "ui": "aether_dagster.cli.ui:ui",
    "sidecar": "aether_dagster.cli.sidecar:sidecar",
    "replay": "aether_dagster.cli.replay:replay",
    "recover": "aether_dagster.cli.recover:recover",
    "plugins": "aether_dagster.cli.plugins:plugins",
}


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib import metadata

    try:
        version = metadata.version("aether-dagster")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"aetherscript {version}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 succeeded; 1 the pipeline failed; 2 the command or the document is "
    "wrong; 3 the history was required and could not be written; 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def aetherscript() -> None:
    """Run AetherScript pipelines on Dagster, and look at the state which they leave."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status (spec 6, "Exit status").

    Args:
        arguments: The words after the program's name; None takes those of this process.
    """
    try:
        status = aetherscript.main(arguments, "aetherscript", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return ExitStatus.WRONG_INPUT
    except ScriptError as error:
        click.echo(str(error), err=True)
        return ExitStatus.WRONG_INPUT
    except AetherError as error:
        click.echo(f"Error: {error}", err=True)
        return ExitStatus.WRONG_INPUT
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {place}{error.strerror or error}", err=True)
        return ExitStatus.WRONG_INPUT
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return ExitStatus.INTERRUPTED
    return status if isinstance(status, int) else ExitStatus.SUCCEEDED
