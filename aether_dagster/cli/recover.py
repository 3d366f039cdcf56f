"""`aetherscript recover`: brings executions whose process died to their true end."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.cli.status import ExitStatus
from aether_dagster.errors import SettingsError

if TYPE_CHECKING:
    from aether_dagster.orchestration.reconcile import Reconciliation

_UNSOLVED = ("unproven", "error")


@click.command
@click.argument("pipeline_id", required=False)
@click.option(
    "--force",
    is_flag=True,
    help="Take a process for dead of which nothing can be proven: it ran on another host, and you "
    "know. One which is known to live is left alone all the same.",
)
@keys_option("Opens and seals executions which are sealed")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each execution.")
def recover(*, pipeline_id: str | None, force: bool, keys: tuple[str, ...], as_json: bool) -> int:
    """Bring executions whose process died to their true end.

    Looks at every execution which has not ended, or at PIPELINE_ID alone. One whose process lives
    is left as it is. What Dagster's log proves is committed, running nodes end as WorkerLost, and
    the state history is completed. Exit status 1: of some it is not proven that they died, or
    they could not be brought to their end.
    """
    from aether_dagster.journal import Journal
    from aether_dagster.orchestration.instance import EMBEDDED, open_instance
    from aether_dagster.orchestration.reconcile import Reconciler
    from aether_dagster.orchestration.settings import AetherSettings
    from aether_dagster.values import ValueStore

    directory = Path.cwd()
    if not os.environ.get("DAGSTER_HOME") and not (directory / EMBEDDED).is_dir():
        raise SettingsError(
            f"There is no {EMBEDDED} here: run this in the folder which the pipeline ran in, or "
            "set DAGSTER_HOME to the Dagster instance which has its runs."
        )
    settings = AetherSettings().with_environment(os.environ).anchored(directory)
    ring = given_keys(keys)
    with (
        open_instance(os.environ, directory) as instance,
        Journal.open(settings.journal_url(instance), keys=ring) as journal,
    ):
        values = ValueStore(settings.artifacts_url(instance), keys=ring)
        reconciler = Reconciler(
            instance, journal, values, settings.history, ring, settings.secret_store
        )
        if pipeline_id is None:
            return _show(reconciler.reconcile_all(force=force), as_json=as_json)
        return _show([reconciler.reconcile(pipeline_id, force=force)], as_json=as_json)


def _show(results: Iterable["Reconciliation"], *, as_json: bool) -> int:
    status = ExitStatus.SUCCEEDED
    shown = 0
    for result in results:
        shown += 1
        if result.verdict in _UNSOLVED:
            status = ExitStatus.PIPELINE_FAILED
        if as_json:
            click.echo(json.dumps(asdict(result)))
        else:
            click.echo(f"{result.pipeline_id}  {result.verdict}: {result.reason}")
    if not shown and not as_json:
        click.echo("Every execution has ended.")
    return status
