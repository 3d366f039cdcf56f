"""Runs pipelines in a process of its own, one after another, as `tests.runs` asks it to.

`driver.py ORDERS.json`: each order is run, and its outcome stands in the file which it names. Each
status which a node reaches is told on standard output at once, as `NAME STATUS ATTEMPT`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.hosted_user_process import recon_job_from_origin

from aether_dagster import AetherSettings, aether_executor, build_defs
from aether_dagster.errors import AetherError
from aether_dagster.manager import Change
from aether_dagster.orchestration import code_location
from aether_dagster.orchestration.code_location import (
    PIPELINES_VARIABLE,
    reconstructable_pipeline,
)
from aether_dagster.orchestration.compat import execute_run_iterator
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.launch import RunRequest, run_pipeline
from aether_dagster.project import load_pipeline

PIPELINE = "AETHER_TEST_PIPELINE"
HISTORY = "AETHERSCRIPT_STATE_HISTORY"
JOURNAL = "AETHERSCRIPT_JOURNAL"


def tell(change: Change) -> None:
    """Prints which status a node reached."""
    for path in sorted(change.paths):
        if path[0] == "nodes" and path[2] == "status":
            outcome = change.replica.outcome(path[1])
            sys.stdout.write(f"{path[1]} {outcome.status} {outcome.attempt}\n")
            sys.stdout.flush()


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Runs as `aetherscript run` does."""
    select = order.get("select")
    request = RunRequest(
        Path(order["pipeline"]),
        variables=order.get("variables", {}),
        select=None if select is None else tuple(select),
        workers=order.get("workers", 1),
        resume=order.get("resume"),
        partition=order.get("partition"),
        directory=Path(order["directory"]),
        settings=AetherSettings(
            journal=os.environ.get(JOURNAL),
            history=order.get("history"),
            history_required=order.get("history_required", False),
            keys=tuple(order.get("keys", ())),
        ),
    )
    try:
        outcome = run_pipeline(request, on_change=tell)
    except AetherError as error:
        return {"raised": type(error).__name__, "message": str(error)}
    return {
        "pipeline_id": outcome.pipeline_id,
        "status": outcome.status,
        "run_id": outcome.dagster_run_id,
        "history_folder": outcome.history_folder,
        "history_error": outcome.history_error,
    }


def as_ops(order: dict[str, Any]) -> dict[str, Any]:
    """Runs a job of ops."""
    document = load_pipeline(order["pipeline"])
    settings = AetherSettings(journal=os.environ.get(JOURNAL), history=order.get("history"))
    settings = settings.anchored(Path(order["directory"]))
    job = reconstructable_pipeline(document, variables={}, as_ops=True, settings=settings)
    with embedded_instance(Path(order["directory"])) as instance:
        result = dg.execute_job(job, instance, raise_on_error=False)
        return {"run_id": result.run_id}


def wrapped_job() -> dg.JobDefinition:
    """A job of assets under Dagster's own multiprocess executor, wrapped by ours."""
    defs = build_defs(os.environ[PIPELINE])
    job = dg.define_asset_job(
        "wrapped", executor_def=aether_executor.wrapping(dg.multiprocess_executor)
    )
    return dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).get_job_def("wrapped")


def wrapped(order: dict[str, Any]) -> dict[str, Any]:
    """Runs `wrapped_job`."""
    os.environ[PIPELINE] = order["pipeline"]
    os.environ[HISTORY] = order["history"]
    with embedded_instance(Path(order["directory"])) as instance:
        config = {"execution": {"config": {"max_concurrent": 2}}}
        job = dg.reconstructable(wrapped_job)
        result = dg.execute_job(job, instance, run_config=config, raise_on_error=False)
        return {"run_id": result.run_id}


def foreign(order: dict[str, Any]) -> dict[str, Any]:
    """Materializes assets as Dagster's own in-process executor does, which is not ours."""
    defs = build_defs(order["pipeline"], settings=AetherSettings())
    job = defs.resolve_implicit_global_asset_job_def()
    keys = None if order.get("select") is None else [dg.AssetKey(k) for k in order["select"]]
    with embedded_instance(Path(order["directory"])) as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=keys, raise_on_error=False
        )
        return {"run_id": result.run_id}


def reexecute(order: dict[str, Any]) -> dict[str, Any]:
    """Re-executes the newest run of a pipeline's job from its failure, as Dagster does."""
    document = load_pipeline(order["pipeline"])
    settings = AetherSettings(
        journal=os.environ.get(JOURNAL),
        history=order.get("history"),
        keys=tuple(order.get("keys", ())),
    )
    settings = settings.anchored(Path(order["directory"]))
    as_ops = order.get("as_ops", False)
    job = reconstructable_pipeline(document, variables={}, as_ops=as_ops, settings=settings)
    with embedded_instance(Path(order["directory"])) as instance:
        run_id = order.get("run_id") or instance.get_runs(limit=1)[0].run_id
        if "steps" in order:
            options = dg.ReexecutionOptions(run_id, order["steps"])
        else:
            options = dg.ReexecutionOptions.from_failure(run_id, instance)
        result = dg.execute_job(job, instance, reexecution_options=options, raise_on_error=False)
        return {"run_id": result.run_id}


def from_ui(order: dict[str, Any]) -> dict[str, Any]:
    """Re-executes the newest run as Dagster's UI and its run retries do: with its tags."""
    os.environ[PIPELINES_VARIABLE] = order["pipeline"]
    os.environ[HISTORY] = order["history"]
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, module_name=code_location.__name__
    )
    with (
        embedded_instance(Path(order["directory"])) as instance,
        in_process_test_workspace(instance, origin) as workspace,
    ):
        parent = instance.get_runs(limit=1)[0]
        (location,) = workspace.code_locations
        (repository,) = location.get_repositories().values()
        run = instance.create_reexecuted_run(
            request_context=workspace,
            parent_run=parent,
            code_location=location,
            remote_job=repository.get_full_job(parent.job_name),
            strategy=ReexecutionStrategy[order["strategy"]],
            use_parent_run_tags=True,
        )
        job = recon_job_from_origin(run.job_code_origin)
        for _ in execute_run_iterator(job, run, instance):
            pass
        return {"run_id": run.run_id}


ACTIONS = {
    "from_ui": from_ui,
    "run": run,
    "reexecute": reexecute,
    "as_ops": as_ops,
    "wrapped": wrapped,
    "foreign": foreign,
}


def main() -> None:
    """Does what the file of orders says."""
    for order in json.loads(Path(sys.argv[1]).read_text()):
        outcome = ACTIONS[order.get("action", "run")](order)
        Path(order["outcome"]).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
