"""`aetherscript recover`: brings executions whose process died to their true end."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.status import ExitStatus

if TYPE_CHECKING:
    from aether_dagster.orchestration.reconcile import Reconciliation


@click.command
@click.argument("pipeline_id", required=False)
@click.option(
    "--force",
    is_flag=True,
    help="Take the process for dead without proof: it ran on another host, and you know.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each execution.")
def recover(*, pipeline_id: str | None, force: bool, as_json: bool) -> int:
    """Bring executions whose process died to their true end.

    Looks at every execution which has not ended, or at PIPELINE_ID alone. One whose process lives
    is left as it is. What Dagster's log proves is committed, running nodes end as WorkerLost, and
    the state history is completed. Exit status 1: of some it is not proven that they died.
    """
    from aether_dagster.journal import Journal
    from aether_dagster.orchestration.instance import open_instance
    from aether_dagster.orchestration.reconcile import reconcile, reconcile_all
    from aether_dagster.orchestration.settings import AetherSettings
    from aether_dagster.values import ValueStore

    directory = Path.cwd()
    settings = AetherSettings().with_environment(os.environ).anchored(directory)
    with (
        open_instance(os.environ, directory) as instance,
        Journal.open(settings.journal_url(instance)) as journal,
    ):
        artifacts = settings.artifacts_url(instance)
        if pipeline_id is None:
            return _show(reconcile_all(instance, journal, artifacts, force=force), as_json=as_json)
        record = journal.record(pipeline_id)
        result = reconcile(instance, journal, record, ValueStore(artifacts), force=force)
        return _show([result], as_json=as_json)


def _show(results: Iterable["Reconciliation"], *, as_json: bool) -> int:
    status = ExitStatus.SUCCEEDED
    shown = 0
    for result in results:
        shown += 1
        if result.verdict == "unproven":
            status = ExitStatus.PIPELINE_FAILED
        if as_json:
            click.echo(json.dumps(asdict(result)))
        else:
            click.echo(f"{result.pipeline_id}  {result.verdict}: {result.reason}")
    if not shown and not as_json:
        click.echo("Every execution has ended.")
    return status
