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
    from aether_dagster.orchestration.outstanding import Recovered
    from aether_dagster.orchestration.reconcile import Reconciliation

_UNSOLVED = ("unproven", "error")
# How long deliveries to state hooks may take, in seconds.
_HOOK_SECONDS = 60.0


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
    the state history is completed; then state hooks are told what they were not. Exit status 1: of
    some it is not proven that they died, or they could not be brought to their end.
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
        if pipeline_id is not None:
            results = [reconciler.reconcile(pipeline_id, force=force)]
            return _show(results, as_json=as_json)
        status = _show(reconciler.reconcile_all(force=force), as_json=as_json)
        if journal.outbox.behind():
            # Imported here: what has no hooks pays nothing for them.
            from aether_dagster.orchestration.outstanding import Outstanding, deliver_outstanding

            outstanding = Outstanding(instance, journal, values, settings.secret_store, {})
            _tell(deliver_outstanding(outstanding, seconds=_HOOK_SECONDS), as_json=as_json)
        return status


def _tell(results: Iterable["Recovered"], *, as_json: bool) -> None:
    for result in results:
        drained = result.drained
        if as_json:
            click.echo(json.dumps(asdict(result)))
        elif result.error is not None:
            click.echo(f"{result.pipeline_id}  state hooks: {result.error}")
        else:
            told = f"{drained.delivered} deliveries made, {drained.dead} given up"
            click.echo(f"{result.pipeline_id}  state hooks: {told}, {drained.waiting} left")


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
