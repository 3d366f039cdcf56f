"""The op of a step, and a pipeline as a graph job of ops (spec 7)."""

from collections.abc import Callable, Iterable, Mapping

import dagster as dg

from aether_dagster.orchestration.connectors import connector_keys
from aether_dagster.orchestration.io_manager import IO_MANAGER_KEY
from aether_dagster.orchestration.names import asset_input, job_name, op_name
from aether_dagster.orchestration.node import OUTPUT, NodeBody
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.translator import pipeline_metadata, run_tags, step_tags
from aether_dagster.script import Document, Step, dagster_name

Body = Callable[[CompiledPipeline, Step], NodeBody]
"""Makes the compute function of a step."""

_DATA = dg.In()
_ORDER = dg.In(dg.Nothing)
_TOLD = dg.Out(dg.Nothing)


def op_definitions(
    pipeline: CompiledPipeline,
    body: Body,
    executor: dg.ExecutorDefinition,
    partitions_def: dg.PartitionsDefinition | None,
) -> dg.Definitions:
    """Returns the graph job of a pipeline whose steps are ops."""
    document = pipeline.document
    graph = dg.GraphDefinition(
        name=job_name(document),
        description=document.pipeline.metadata.description,
        # In topological order: Dagster then walks the graph without recursion.
        node_defs=[step_op(pipeline, step, body) for step in ordered(document)],
        dependencies={
            dg.NodeInvocation(op_name(document, step), alias=dagster_name(step)): {
                dagster_name(upstream): dg.DependencyDefinition(dagster_name(upstream), OUTPUT)
                for upstream in document.dependencies[step]
            }
            for step in document.order
        },
    )
    job = graph.to_job(  # pyright: ignore[reportUnknownMemberType]
        metadata=pipeline_metadata(document),
        run_tags=run_tags(document),
        executor_def=executor,
        partitions_def=partitions_def,
    )
    return dg.Definitions(jobs=[job])


def step_op(
    pipeline: CompiledPipeline,
    step: Step,
    body: Body,
    *,
    after: Iterable[str] = (),
    checks: Iterable[str] = (),
) -> dg.OpDefinition:
    """Returns the op of a step. Built without `@op`, which inspects a function's signature.

    What is waited for without taking its data is a `Nothing` input: it orders the steps and never
    reaches an IO manager.

    Args:
        pipeline: The compiled pipeline.
        step: The step.
        body: Makes its compute function.
        after: Inputs besides those from steps, which are waited for.
        checks: Outputs which tell of asset checks.
    """
    document = pipeline.document
    data = set(document.data_dependencies[step.id])
    inputs: Mapping[str, dg.In] = {
        dagster_name(upstream): _DATA if upstream in data else _ORDER
        for upstream in document.dependencies[step.id]
    }
    values = dict.fromkeys(map(asset_input, document.assets.get(step.id, ())), _DATA)
    return dg.OpDefinition(
        compute_fn=body(pipeline, step),
        name=op_name(document, step.id),
        description=step.description,
        ins={**inputs, **values, **dict.fromkeys(after, _ORDER)},
        outs={OUTPUT: dg.Out(io_manager_key=IO_MANAGER_KEY), **dict.fromkeys(checks, _TOLD)},
        required_resource_keys=set(connector_keys(document, step)),
        code_version=document.step_hash(step.id),
        tags=step_tags(document, step),
        retry_policy=dg.RetryPolicy(max_retries=step.retries) if step.retries else None,
    )


def ordered(document: Document) -> list[Step]:
    """Returns the steps in topological order."""
    steps = {step.id: step for step in document.pipeline.steps}
    return [steps[name] for name in document.order]
