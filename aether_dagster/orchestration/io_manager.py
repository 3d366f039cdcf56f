"""Stores what nodes return, immutably and per execution, and loads what nodes need (spec 7)."""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster.errors import ValueStoreError
from aether_dagster.manager import Execution
from aether_dagster.manager.resumption import earlier_value
from aether_dagster.orchestration.compat import op_definition
from aether_dagster.orchestration.materialization import output_metadata
from aether_dagster.orchestration.node import NodeBody, node_body
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import key_ring, open_execution, value_store
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import dagster_name
from aether_dagster.values import ValueRef, ValueStore

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
        partition = context.partition_key if context.has_partition_key else None
        if body is None:
            self._store_foreign(context, obj, partition)
            return
        pipeline, step = body.pipeline, body.step.id
        instance, run = context.step_context.instance, context.step_context.dagster_run
        execution = open_execution(instance, run, pipeline)
        ref = execution.succeed(step, obj)
        execution.values.set_latest(pipeline.value_key(step), partition, ref)
        metadata = output_metadata(execution, step, obj, shown=not pipeline.settings.keys)
        # Dagster's own annotation leaves a type parameter open.
        context.add_output_metadata(metadata)  # pyright: ignore[reportUnknownMemberType]

    def load_input(self, context: dg.InputContext) -> Any:
        """Loads what an upstream node or asset returned.

        Raises:
            ValueStoreError: It was never stored here, or is missing or damaged.
        """
        upstream = context.upstream_output
        partition = context.partition_key if context.has_partition_key else None
        body = node_body(op_definition(context))
        ours = None if body is None else _upstream_step(body, context.name)
        if body is not None and ours is not None:
            instance, run = context.step_context.instance, context.step_context.dagster_run
            execution = open_execution(instance, run, body.pipeline)
            ref = _find(execution, body.pipeline, ours, partition, for_step=body.step.id)
            value = execution.values.get(ref)
            execution.loaded(value, ref)
            return value
        source = None if upstream is None else node_body(op_definition(upstream))
        key = tuple(context.asset_key.path) if context.has_asset_key else ()
        if source is not None and upstream is not None:
            run = context.step_context.dagster_run
            execution = open_execution(context.instance, run, source.pipeline)
            return execution.values.get(
                _find(execution, source.pipeline, source.step.id, partition)
            )
        store = _store(context.instance)
        ref = store.latest(key, partition)
        if ref is None:
            raise ValueStoreError(
                f"No value of {'/'.join(key) or context.name} was stored by AetherIOManager. "
                "Materialize it first, or give the asset the IO manager which stores it."
            )
        return store.get(ref)

    def _store_foreign(self, context: dg.OutputContext, obj: Any, partition: str | None) -> None:
        instance = context.step_context.instance
        store = _store(instance)
        attempt = context.step_context.previous_attempt_count + 1
        execution, step = f"run_{context.run_id}", context.step_key
        ref = store.put(obj, execution=execution, step=step, attempt=attempt)
        key = tuple(context.asset_key.path) if context.has_asset_key else (execution, step)
        store.set_latest(key, partition, ref)


def _store(instance: dg.DagsterInstance) -> ValueStore:
    settings = _settings()
    return value_store(settings.artifacts_url(instance), key_ring(settings))


def _settings() -> AetherSettings:
    return AetherSettings().with_environment(os.environ).anchored(Path.cwd())


def _upstream_step(body: NodeBody, input_name: str) -> str | None:
    for step in body.pipeline.document.data_dependencies[body.step.id]:
        if dagster_name(step) == input_name:
            return step
    return None


def _find(
    execution: Execution,
    pipeline: CompiledPipeline,
    step: str,
    partition: str | None,
    *,
    for_step: str | None = None,
) -> ValueRef:
    ref = execution.value_ref(step)
    if ref is None and step not in execution.replica.nodes():
        ref = earlier_value(execution.journal, execution.record, step)
        ref = ref or execution.values.latest(pipeline.value_key(step), partition)
    if ref is None and for_step is not None:
        execution.check_dependencies(for_step)
    if ref is None:
        raise ValueStoreError(
            f"Step {step!r} has left no value for {execution.id} to load. "
            "Run it first, or select it too."
        )
    return ref


@dg.io_manager(description="Stores the values of AetherScript's nodes, per execution.")
def aether_io_manager(_: dg.InitResourceContext) -> AetherIOManager:
    """One object for the whole process, so that definitions of several pipelines merge."""
    return AetherIOManager()
