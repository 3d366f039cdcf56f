"""`aetherscript run`: runs a pipeline to its end, and shows how it goes."""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.keys import given_keys, hand_down, keys_option
from aether_dagster.cli.pipelines import chosen_pipeline, select_option, variables_option
from aether_dagster.cli.plan import selected_steps, text_lines
from aether_dagster.cli.serving import rate_option
from aether_dagster.cli.start import uncollected_start
from aether_dagster.cli.status import ExitStatus
from aether_dagster.cli.vis import RunCommand, Vis
from aether_dagster.errors import HookError, NothingToResume, SnapshotError

if TYPE_CHECKING:
    from aether_dagster.cli.display import Display
    from aether_dagster.cli.output import OutputConsole
    from aether_dagster.manager import Change
    from aether_dagster.orchestration.launch import RunOutcome, RunRequest
    from aether_dagster.script import Document

_EVENTS_AT_ONCE = 1_000
_STATUS = {
    "succeeded": ExitStatus.SUCCEEDED,
    "failed": ExitStatus.PIPELINE_FAILED,
    "cancelled": ExitStatus.INTERRUPTED,
}


def _given_place(ctx: click.Context, parameter: click.Parameter, place: str | None) -> str | None:
    """Refuses the empty place of `--state-history=$UNSET`, which would quietly keep no history."""
    if place is not None and not place.strip():
        message = "It is empty; name a folder or a URL, or leave the option out."
        raise click.BadParameter(message, ctx, parameter)
    return place


def _given_partition(ctx: click.Context, parameter: click.Parameter, key: str | None) -> str | None:
    """Refuses the empty partition of `--partition=$UNSET`."""
    if key is not None and not key.strip():
        raise click.BadParameter("It is empty; name a partition.", ctx, parameter)
    return key


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
    callback=_given_place,
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
@click.option(
    "--resume",
    metavar="PIPELINE_ID|latest",
    help="Run again what did not succeed in that execution, and take the outputs of what did.",
)
@click.option(
    "--partition",
    metavar="KEY",
    callback=_given_partition,
    help="Run this partition: ${PARTITION_KEY}. With --resume, an execution of this partition.",
)
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
    resume: str | None,
    partition: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a pipeline to its end.

    PIPELINE may be left out where this folder holds exactly one *.aether.yaml. The run lands in
    the Dagster instance of DAGSTER_HOME, or in an embedded one under .aether/.

    Ctrl-C cancels: running steps are ended and the state is completed. A second one kills at once.
    """
    started = click.get_current_context().with_resource(uncollected_start())
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
    selected = None if selection is None else steps
    if resume is not None:
        from aether_dagster.cli.resume import check_place

        check_place()
    elif dry_run:
        if partition is not None:
            _check_partition(document, partition)
        click.echo("\n".join(text_lines(document, steps)))
        return ExitStatus.SUCCEEDED
    request = partial(
        _request,
        document,
        variables,
        select=selected,
        resume=resume,
        partition=partition,
        workers=workers,
        history=state_history,
        history_required=state_history_required,
        keys=key_references,
    )
    if dry_run:
        click.echo("\n".join(_preview(document, request)))
        return ExitStatus.SUCCEEDED

    from aether_dagster.cli.output import console, own_stdout

    stdout = console(own_stdout(exclusive=as_json))
    face = _display(stdout, document, as_json=as_json, quiet=quiet)
    if watching is not None:
        from aether_dagster.cli.watched import WatchedRun

        face = WatchedRun(face, watching)
    try:
        outcome = _execute(face, request, started)
    except SnapshotError as error:
        if not state_history_required:
            raise
        click.echo(f"Error: {error}", err=True)
        return ExitStatus.HISTORY_NOT_WRITTEN
    except NothingToResume as error:
        click.echo(str(error), err=True)
        return ExitStatus.SUCCEEDED
    except HookError as error:
        # The document is right; who looks after it let it not begin.
        click.echo(f"refused  {document.name}  {error}", err=True)
        return ExitStatus.PIPELINE_FAILED
    _tell(document, outcome, stdout, quiet=as_json or quiet)
    if state_history_required and outcome.history_error is not None:
        return ExitStatus.HISTORY_NOT_WRITTEN
    if outcome.hook_error is not None and outcome.status == "succeeded":
        return ExitStatus.PIPELINE_FAILED
    return _STATUS[outcome.status]


def _request(
    document: "Document",
    variables: Mapping[str, str],
    *,
    select: tuple[str, ...] | None,
    resume: str | None,
    partition: str | None,
    workers: int,
    history: str | None,
    history_required: bool,
    keys: tuple[str, ...],
) -> "RunRequest":
    # Dagster takes seconds; by now the command is known to be right, and something is shown.
    _calm_dagster()
    # What Dagster reports in one go, it may store in one go: a run's plan, asset by asset.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_EVENTS_AT_ONCE))
    from aether_dagster.orchestration.launch import RunRequest
    from aether_dagster.orchestration.settings import AetherSettings

    settings = replace(
        AetherSettings().with_environment(os.environ),
        history=history or None,
        history_required=history_required,
        keys=keys,
    )
    return RunRequest(
        Path(document.file),
        variables,
        select,
        workers,
        settings,
        resume=resume,
        partition=partition,
        document=document,
    )


def _check_partition(document: "Document", partition: str) -> None:
    _calm_dagster()
    from aether_dagster.orchestration.declared import check_partition

    check_partition(document, partition)


def _execute(
    face: "Display", request: "Callable[[], RunRequest]", started: Callable[[], None]
) -> "RunOutcome":
    def show(change: "Change") -> None:
        # The first comes when the graph is built and all is imported.
        started()
        face.change(change)

    with face:
        asked = request()
        from aether_dagster.orchestration.launch import run_pipeline

        return run_pipeline(asked, on_change=show, on_resume=face.resuming)


def _preview(document: "Document", request: "Callable[[], RunRequest]") -> list[str]:
    from aether_dagster.cli.resume import preview_lines

    asked = request()
    from aether_dagster.orchestration.launch import preview

    resumed = preview(asked)
    return preview_lines(document, resumed.plan, ended=resumed.record.finalized is not None)


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


def _tell(
    document: "Document", outcome: "RunOutcome", stdout: "OutputConsole", *, quiet: bool
) -> None:
    from aether_dagster.cli.output import console
    from aether_dagster.cli.resume import resuming_command
    from aether_dagster.cli.summary import closing, failures

    _tell_of_hooks(outcome)
    whole = outcome.status == "succeeded" and outcome.history_error is None
    if quiet and whole:
        return
    place = console(sys.stderr) if quiet else stdout
    details = failures(outcome.document)
    if details and place.is_terminal:
        place.line()
    place.write_text(details)
    place.write_text(
        closing(
            outcome.document,
            outcome.report,
            name=document.name,
            history=outcome.history_folder,
            history_error=outcome.history_error,
            resuming=resuming_command(outcome.pipeline_id),
        )
    )


def _calm_dagster() -> None:
    # Which of Dagster's interfaces are in preview is ours to know, not our users'.
    warnings.filterwarnings("ignore", module=r"(aether_)?dagster(_\w+)?(\.|$)")
