"""Runs a job of ours in this process; what it tells is in the instance, and nowhere else."""

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from aether_dagster.orchestration.compat import ReconstructableJob, execute_run_iterator

_MANY_STEPS = 300


def run_job(
    job: ReconstructableJob,
    instance: dg.DagsterInstance,
    *,
    run_config: Mapping[str, Any],
    asset_selection: Sequence[dg.AssetKey] | None,
    tags: Mapping[str, str] | None = None,
    root: str | None = None,
    parent: str | None = None,
) -> str:
    """Runs a job to its end, as `dg.execute_job` does, but keeps none of its events.

    A list of all events of a run, which `dg.execute_job` returns, is most of what a run of many
    steps adds to the memory of its process.

    Args:
        job: The job.
        instance: Dagster's instance.
        run_config: The run's configuration.
        asset_selection: The assets which run; all where None.
        tags: Tags of the run, over the job's own.
        root: The run which the chain of re-executions began with, where this is one.
        parent: The run of which this is a re-execution.

    Returns:
        The id of Dagster's run.
    """
    loaded = job.repository.get_definition().repository_load_data
    job = job.with_repository_load_data(loaded)
    definition = job.get_definition()
    run = instance.create_run_for_job(
        job_def=definition,
        run_config=run_config,
        tags={**definition.run_tags, **(tags or {})},
        root_run_id=root,
        parent_run_id=parent,
        asset_selection=frozenset(asset_selection) if asset_selection else None,
        job_code_origin=job.get_python_origin(),
        repository_load_data=loaded,
    )
    if not gc.isenabled() and len(definition.nodes) > _MANY_STEPS:
        # Compiling and storing so many leaves some megabytes of garbage, which the plan can use.
        gc.collect()
    for _ in execute_run_iterator(job, run, instance):
        pass
    return run.run_id
