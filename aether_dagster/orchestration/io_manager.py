"""Stores what nodes return, immutably and per execution, and loads what nodes need (spec 7)."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from aether_dagster.errors import ValueStoreError
from aether_dagster.manager.resumption import earlier_value
from aether_dagster.orchestration.compat import op_definition
from aether_dagster.orchestration.materialization import output_metadata
from aether_dagster.orchestration.node import NodeBody, node_body
from aether_dagster.orchestration.partitions import input_partitions, output_partition
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import (
    key_ring,
    open_execution,
    settings_of,
    value_store,
)
from aether_dagster.script import dagster_name
from aether_dagster.values import ValueStore

IO_MANAGER_KEY = "aether_io_manager"


class AetherIOManager(dg.IOManager):
    """The IO manager of AetherScript's nodes.

    A value is stored under (pipeline id, step, attempt) and never overwritten, so overlapping runs
    do not read each other's values. A load prefers this execution, then the execution which it
    resumes, then what was stored last for that asset and partition.

    Assets which are not AetherScript's may use it too: their values are stored per run.
    """

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Stores a value and commits the node's output and outcome.

        Raises:
            ValueStoreError: The value cannot be stored.
        """
        body = node_body(op_definition(context))
        partition = output_partition(context)
        if body is None:
            _store_foreign(context, obj, partition)
            return
        pipeline, step = body.pipeline, body.step.id
        instance, run = context.step_context.instance, context.step_context.dagster_run
        execution = open_execution(instance, run, pipeline)
        ref = execution.succeed(step, obj)
        execution.values.set_latest(pipeline.value_key(step), partition, ref)
        metadata = output_metadata(execution, step, obj, pipeline.settings)
        # Dagster's own annotation leaves a type parameter open.
        context.add_output_metadata(metadata)  # pyright: ignore[reportUnknownMemberType]

    def load_input(self, context: dg.InputContext) -> Any:
        """Loads what an upstream node or asset returned.

        Where it is made of several partitions of the upstream, it is their values by key.

        Raises:
            ValueStoreError: It was never stored here, or is missing or damaged.
        """
        find = _found_by(context)
        partitions = input_partitions(context)
        if partitions is None:
            return find(None)
        if len(partitions) == 1:
            return find(partitions[0])
        return {partition: find(partition) for partition in partitions} or None


Find = Callable[[str | None], Any]


def _found_by(context: dg.InputContext) -> Find:
    """What loads the value of an input for one partition of its upstream."""
    upstream = context.upstream_output
    body = node_body(op_definition(context))
    ours = None if body is None else _upstream_step(body, context.name)
    if body is not None and ours is not None:
        return _of_step(context, body.pipeline, ours, for_step=body.step.id)
    source = None if upstream is None else node_body(op_definition(upstream))
    if source is not None:
        return _of_step(context, source.pipeline, source.step.id)
    return _of_asset(context)


def _of_step(
    context: dg.InputContext, pipeline: CompiledPipeline, step: str, *, for_step: str | None = None
) -> Find:
    instance, run = context.step_context.instance, context.step_context.dagster_run
    execution = open_execution(instance, run, pipeline)

    def find(partition: str | None) -> Any:
        # Another partition than the run's was made by another execution.
        own = partition is None or partition == execution.record.partition
        ref = execution.value_ref(step) if own else None
        if ref is None and not (own and step in execution.replica.nodes()):
            ref = earlier_value(execution.journal, execution.record, step) if own else None
            ref = ref or execution.values.latest(pipeline.value_key(step), partition)
        if ref is None and for_step is not None:
            execution.check_dependencies(for_step)
        if ref is None:
            of = "" if partition is None else f" of partition {partition!r}"
            raise ValueStoreError(
                f"Step {step!r} has left no value{of} for {execution.id} to load. "
                "Run it first, or select it too."
            )
        value = execution.values.get(ref)
        if for_step is not None:
            execution.loaded(value, ref)
        return value

    return find


def _of_asset(context: dg.InputContext) -> Find:
    """Of an asset which this run does not make, or which is not a pipeline's."""
    key = tuple(context.asset_key.path) if context.has_asset_key else ()
    store = _store(context.instance, key)

    def find(partition: str | None) -> Any:
        ref = store.latest(key, partition)
        if ref is None:
            name = "/".join(key) or context.name
            of = name if partition is None else f"{name}, partition {partition!r},"
            raise ValueStoreError(
                f"No value of {of} was stored by AetherIOManager. Materialize it first, or give "
                "the asset the IO manager which stores it."
            )
        return store.get(ref)

    return find


def _store_foreign(context: dg.OutputContext, obj: Any, partition: str | None) -> None:
    attempt = context.step_context.previous_attempt_count + 1
    execution, step = f"run_{context.run_id}", context.step_key
    key = tuple(context.asset_key.path) if context.has_asset_key else (execution, step)
    store = _store(context.step_context.instance, key)
    ref = store.put(obj, execution=execution, step=step, attempt=attempt)
    store.set_latest(key, partition, ref)


def _store(instance: dg.DagsterInstance, key: tuple[str, ...]) -> ValueStore:
    settings = settings_of(key)
    return value_store(settings.artifacts_url(instance), key_ring(settings))


def _upstream_step(body: NodeBody, input_name: str) -> str | None:
    for step in body.pipeline.document.data_dependencies[body.step.id]:
        if dagster_name(step) == input_name:
            return step
    return None


@dg.io_manager(description="Stores the values of AetherScript's nodes, per execution.")
def aether_io_manager(_: dg.InitResourceContext) -> AetherIOManager:
    """One object for the whole process, so that definitions of several pipelines merge."""
    return AetherIOManager()
