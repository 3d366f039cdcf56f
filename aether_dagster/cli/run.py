"""`aetherscript run`: runs a pipeline to its end, and shows how it goes."""

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.keys import given_keys, hand_down, keys_option
from aether_dagster.cli.pipelines import chosen_pipeline, select_option, variables_option
from aether_dagster.cli.plan import selected_steps, text_lines
from aether_dagster.cli.serving import rate_option
from aether_dagster.cli.status import ExitStatus
from aether_dagster.cli.vis import RunCommand, Vis
from aether_dagster.errors import HookError, SnapshotError

if TYPE_CHECKING:
    from aether_dagster.cli.display import Display
    from aether_dagster.cli.output import OutputConsole
    from aether_dagster.orchestration.launch import RunOutcome
    from aether_dagster.script import Document

_STATUS = {
    "succeeded": ExitStatus.SUCCEEDED,
    "failed": ExitStatus.PIPELINE_FAILED,
    "cancelled": ExitStatus.INTERRUPTED,
}


@click.command(cls=RunCommand)
@click.argument("pipeline", required=False, type=click.Path(path_type=Path))
@variables_option()
@select_option()
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes which run steps; 1 runs them in this process.",
)
@click.option(
    "--state-history",
    envvar="AETHERSCRIPT_STATE_HISTORY",
    show_envvar=True,
    metavar="DIR|URL",
    help="Write the state history there, a folder for each execution.",
)
@click.option(
    "--state-history-required",
    is_flag=True,
    envvar="AETHERSCRIPT_STATE_HISTORY_REQUIRED",
    show_envvar=True,
    help="End the run, with exit status 3, if the state history cannot be written.",
)
@keys_option("Seal the history, the journal and stored values with this key")
@click.option(
    "--vis",
    metavar="[HOST:PORT]",
    help="Show the run live in a browser, by a process of its own. Alone, on this machine.",
)
@rate_option
@click.option("--open", "browser", is_flag=True, help="Open the page; implies --vis.")
@click.option("--dry-run", is_flag=True, help="Check the document and print what would run.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print each change of the state as a JSON object on its own line, and nothing else.",
)
@click.option("--quiet", is_flag=True, help="Print only what failed.")
def run(
    *,
    pipeline: Path | None,
    variables: Mapping[str, str],
    selection: str | None,
    workers: int,
    state_history: str | None,
    state_history_required: bool,
    keys: tuple[str, ...],
    vis: str | None,
    rate: float,
    browser: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a pipeline to its end.

    PIPELINE may be left out where this folder holds exactly one *.aether.yaml. The run lands in
    the Dagster instance of DAGSTER_HOME, or in an embedded one under .aether/.

    Ctrl-C cancels: running steps are ended and the state is completed. A second one kills at once.
    """
    from aether_dagster.project import read_document

    if state_history_required and not state_history:
        raise click.UsageError(
            "--state-history-required says that the history must be written; say where, with "
            "--state-history."
        )
    watched = browser or vis is not None
    watching = Vis.parse(vis or "", rate, browser=browser) if watched else None
    path = chosen_pipeline(pipeline)
    document = read_document(path, variables=variables, environ=os.environ)
    steps = selected_steps(document, selection)
    key_references = hand_down(keys, given_keys(keys), os.environ)
    if dry_run:
        click.echo("\n".join(text_lines(document, steps)))
        return ExitStatus.SUCCEEDED

    from aether_dagster.cli.output import console, own_stdout

    stdout = console(own_stdout(exclusive=as_json))
    face = _display(stdout, document, as_json=as_json, quiet=quiet)
    if watching is not None:
        from aether_dagster.cli.watched import WatchedRun

        face = WatchedRun(face, watching)
    try:
        outcome = _execute(
            face,
            path,
            variables,
            select=None if selection is None else steps,
            workers=workers,
            history=state_history,
            history_required=state_history_required,
            keys=key_references,
        )
    except SnapshotError as error:
        if not state_history_required:
            raise
        click.echo(f"Error: {error}", err=True)
        return ExitStatus.HISTORY_NOT_WRITTEN
    except HookError as error:
        # The document is right; who looks after it let it not begin.
        click.echo(f"refused  {document.name}  {error}", err=True)
        return ExitStatus.PIPELINE_FAILED
    _tell_of_hooks(outcome)
    if not (as_json or quiet):
        _summarize(stdout, document, outcome)
    elif outcome.status != "succeeded" or outcome.history_error is not None:
        _summarize(console(sys.stderr), document, outcome)
    if state_history_required and outcome.history_error is not None:
        return ExitStatus.HISTORY_NOT_WRITTEN
    if outcome.hook_error is not None and outcome.status == "succeeded":
        return ExitStatus.PIPELINE_FAILED
    return _STATUS[outcome.status]


def _execute(
    face: "Display",
    pipeline: Path,
    variables: Mapping[str, str],
    *,
    select: tuple[str, ...] | None,
    workers: int,
    history: str | None,
    history_required: bool,
    keys: tuple[str, ...],
) -> "RunOutcome":
    with face:
        # Dagster takes seconds; by now the command is known to be right, and something is shown.
        _calm_dagster()
        from aether_dagster.orchestration.launch import RunRequest, run_pipeline
        from aether_dagster.orchestration.settings import AetherSettings

        settings = AetherSettings().with_environment(os.environ)
        settings = replace(
            settings, history=history or None, history_required=history_required, keys=keys
        )
        request = RunRequest(
            pipeline=pipeline,
            variables=variables,
            select=select,
            workers=workers,
            settings=settings,
        )
        return run_pipeline(request, on_change=face.change)


def _display(
    console: "OutputConsole", document: "Document", *, as_json: bool, quiet: bool
) -> "Display":
    from aether_dagster.cli.display import Display, JsonLines, PlainLines

    if as_json:
        return JsonLines(console.file)
    if quiet:
        return Display()
    if console.is_terminal:
        from aether_dagster.cli.live import LiveView

        return LiveView(console, document.name)
    return PlainLines(console.file, document.name)


def _tell_of_hooks(outcome: "RunOutcome") -> None:
    if outcome.hook_error is not None:
        click.echo(f"state hook  {outcome.hook_error}", err=True)
    if outcome.undelivered:
        click.echo(
            f"state hooks  {outcome.undelivered} deliveries wait in the outbox; "
            "`aetherscript recover` makes them",
            err=True,
        )


def _summarize(console: "OutputConsole", document: "Document", outcome: "RunOutcome") -> None:
    from aether_dagster.cli.summary import closing, failures

    details = failures(outcome.document)
    if details and console.is_terminal:
        console.line()
    console.write_text(details)
    console.write_text(
        closing(
            outcome.document,
            outcome.report,
            name=document.name,
            history=outcome.history_folder,
            history_error=outcome.history_error,
        )
    )


def _calm_dagster() -> None:
    # Which of Dagster's interfaces are in preview is ours to know, not our users'.
    warnings.filterwarnings("ignore", module=r"(aether_)?dagster(_\w+)?(\.|$)")
