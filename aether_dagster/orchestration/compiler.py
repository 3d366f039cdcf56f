"""From documents to Dagster definitions: one asset or one op for each step (spec 7)."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster.errors import Problem, ScriptError
from aether_dagster.orchestration.active import find_active, has_sensor
from aether_dagster.orchestration.compat import allow_depth, disable_dagster_warnings
from aether_dagster.orchestration.connectors import connector_keys, connector_resources
from aether_dagster.orchestration.executor import aether_executor
from aether_dagster.orchestration.io_manager import IO_MANAGER_KEY, aether_io_manager
from aether_dagster.orchestration.names import check_names, job_name, op_name
from aether_dagster.orchestration.node import OUTPUT, NodeBody
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.sensors import aether_reconcile_sensor, watch_over
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import (
    DagsterAetherTranslator,
    pipeline_metadata,
    run_tags,
    step_tags,
)
from aether_dagster.project import find_pipelines, load_pipeline
from aether_dagster.script import Document, Pipeline, Step, dagster_name

Body = Callable[[CompiledPipeline, Step], NodeBody]

_DATA = dg.In()
_ORDER = dg.In(dg.Nothing)


def build_defs(
    path: str | os.PathLike[str] | Document | Pipeline,
    *,
    as_ops: bool = False,
    settings: AetherSettings | None = None,
    translator: DagsterAetherTranslator | None = None,
    variables: Mapping[str, str] | None = None,
    executor: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """Compiles pipeline documents into definitions which `Definitions.merge` takes (spec 7).

    A pipeline becomes an asset group and a job named after it; a step becomes an asset
    `[pipeline, step]`. Neither an executor nor an `io_manager` is among the definitions: the
    executor sits on the jobs, and values are kept under the resource key `aether_io_manager`.

    Args:
        path: A document's file, a folder (all `*.aether.yaml` below it), or a pipeline which was
            written in Python.
        as_ops: Whether steps become ops of a graph job instead of assets.
        settings: Where state is kept; `AETHERSCRIPT_…` environment variables override them, and
            relative paths are below the working directory.
        translator: Maps steps to asset specs.
        variables: Values which override the documents' `variables`.
        executor: What runs the steps of the jobs, for instance `dagster_celery.celery_executor`;
            it is wrapped by `aether_executor`, which is there without it.

    Raises:
        ScriptError: Documents are wrong; it holds every problem of all of them.
        SettingsError: An environment variable has a value which cannot be used.
    """
    given = settings or AetherSettings()
    final = given.with_environment(os.environ).anchored(Path.cwd())
    match path:
        case Document():
            documents = [path]
        case Pipeline():
            documents = [Document.from_pipeline(path, variables=variables)]
        case _:
            documents = read_all(path, variables=variables)
    return compile_documents(
        documents, as_ops=as_ops, settings=final, translator=translator, executor=executor
    )


def read_all(
    *paths: str | os.PathLike[str], variables: Mapping[str, str] | None = None
) -> list[Document]:
    """Reads documents from files, and from folders of `*.aether.yaml`.

    Args:
        paths: The files and folders.
        variables: Values which override the documents' `variables`.

    Raises:
        ScriptError: Documents are wrong; it holds every problem of all of them.
        SettingsError: A file cannot be read.
    """
    places = [Path(path) for path in paths]
    files = [f for place in places for f in (find_pipelines(place) if place.is_dir() else [place])]
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in files:
        try:
            documents.append(load_pipeline(file, variables=variables))
        except ScriptError as error:
            problems.extend(error.problems)
    if problems:
        raise ScriptError(problems)
    return documents


def compile_documents(
    documents: Sequence[Document],
    *,
    as_ops: bool = False,
    settings: AetherSettings,
    translator: DagsterAetherTranslator | None = None,
    body: Body = NodeBody,
    hook_sensors: bool = True,
    executor: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """Compiles documents which were read already, with settings which are final.

    Args:
        documents: Relative paths in a document are below its file's folder.
        as_ops: As for `build_defs`.
        settings: Taken as they are.
        translator: As for `build_defs`.
        body: Makes the compute function of a step.
        hook_sensors: Whether sensors for the documents' state hooks are among the definitions.
        executor: As for `build_defs`.

    Raises:
        ScriptError: Two of them would have the same name in Dagster.
        PluginError: Plugins cannot be resolved or loaded, or a state hook is wrong.
    """
    check_names(documents)
    translator = translator or DagsterAetherTranslator()
    executor = aether_executor if executor is None else aether_executor.wrapping(executor)
    resources: dict[str, dg.ResourceDefinition] = {IO_MANAGER_KEY: aether_io_manager}
    definitions: list[dg.Definitions] = []
    sensors: dict[str, dg.SensorDefinition] = {}
    with disable_dagster_warnings():
        for document in documents:
            allow_depth(_longest_chain(document))
            specs = {} if as_ops else _asset_specs(document, translator)
            keys = {step: tuple(spec.key.path) for step, spec in specs.items()}
            directory = Path(document.file).absolute().parent
            pipeline = CompiledPipeline(document, settings, directory, keys)
            part = (
                _op_definitions(pipeline, body, executor)
                if as_ops
                else _asset_definitions(pipeline, specs, body, executor)
            )
            definitions.append(part)
            if hook_sensors:
                sensors.update(_hook_sensors(pipeline))
            resources.update(connector_resources(pipeline))
    watch_over(settings)
    shared = dg.Definitions(
        resources=resources, sensors=[aether_reconcile_sensor, *sensors.values()]
    )
    return dg.Definitions.merge(*definitions, shared)


def _hook_sensors(pipeline: CompiledPipeline) -> dict[str, dg.SensorDefinition]:
    """The sensors which deliver to a pipeline's state hooks, by name; none where it has none."""
    listed = pipeline.document.pipeline.hooks
    declared = listed.on_success or listed.on_failure or listed.on_complete
    active = find_active(pipeline)
    if active is None and not declared:
        return {}
    # Imported here: what has no hooks pays nothing for them.
    from aether_dagster.orchestration.hook_sensors import document_hooks_sensor, sensors_of

    hooks = () if active is None else active.hooks
    found = sensors_of(hook for hook in hooks if not has_sensor(hook.key))
    if declared:
        found.append(document_hooks_sensor())
    return {sensor.name: sensor for sensor in found}


def _asset_specs(
    document: Document, translator: DagsterAetherTranslator
) -> dict[str, dg.AssetSpec]:
    """The translator's specs, completed by what only the document knows."""
    steps = list(document.pipeline.steps)
    specs = {step.id: translator.get_asset_spec(document, step) for step in steps}
    return {
        step.id: specs[step.id].replace_attributes(  # pyright: ignore[reportUnknownMemberType]
            deps=_asset_deps(document, step, specs),
            metadata={
                **_code_references(document, index),
                **specs[step.id].metadata,
            },
        )
        for index, step in enumerate(steps)
    }


def _asset_deps(
    document: Document, step: Step, specs: Mapping[str, dg.AssetSpec]
) -> list[dg.AssetDep]:
    given = {dep.asset_key: dep for dep in specs[step.id].deps}
    ours = (specs[upstream].key for upstream in document.dependencies[step.id])
    return [*given.values(), *(dg.AssetDep(key) for key in ours if key not in given)]


def _asset_definitions(
    pipeline: CompiledPipeline,
    specs: Mapping[str, dg.AssetSpec],
    body: Body,
    executor: dg.ExecutorDefinition,
) -> dg.Definitions:
    document = pipeline.document
    assets: list[dg.AssetsDefinition] = []
    for step in _ordered(document):
        spec = specs[step.id]
        keys = {dagster_name(name): specs[name].key for name in document.dependencies[step.id]}
        foreign = {
            "after__" + dagster_name("__".join(dep.asset_key.path)): dep.asset_key
            for dep in spec.deps
            if dep.asset_key not in keys.values()
        }
        assets.append(
            dg.AssetsDefinition(
                keys_by_input_name={**keys, **foreign},
                keys_by_output_name={OUTPUT: spec.key},
                node_def=_op(pipeline, step, body, after=foreign),
                specs=[spec],
            )
        )
    job = dg.define_asset_job(  # pyright: ignore[reportUnknownMemberType]
        job_name(document),
        selection=dg.AssetSelection.assets(*(spec.key for spec in specs.values())),
        description=document.pipeline.metadata.description,
        metadata=pipeline_metadata(document),
        run_tags=run_tags(document),
        executor_def=executor,
    )
    return dg.Definitions(assets=assets, jobs=[job])


def _op_definitions(
    pipeline: CompiledPipeline, body: Body, executor: dg.ExecutorDefinition
) -> dg.Definitions:
    document = pipeline.document
    graph = dg.GraphDefinition(
        name=job_name(document),
        description=document.pipeline.metadata.description,
        # In topological order: Dagster then walks the graph without recursion.
        node_defs=[_op(pipeline, step, body) for step in _ordered(document)],
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
    )
    return dg.Definitions(jobs=[job])


def _op(
    pipeline: CompiledPipeline, step: Step, body: Body, after: Iterable[str] = ()
) -> dg.OpDefinition:
    """The op of a step. Built without `@op`, which inspects a function's signature each time.

    What is waited for without taking its data is a `Nothing` input: it orders the steps and never
    reaches an IO manager.
    """
    document = pipeline.document
    data = set(document.data_dependencies[step.id])
    inputs = {
        dagster_name(upstream): _DATA if upstream in data else _ORDER
        for upstream in document.dependencies[step.id]
    }
    return dg.OpDefinition(
        compute_fn=body(pipeline, step),
        name=op_name(document, step.id),
        description=step.description,
        ins={**inputs, **dict.fromkeys(after, _ORDER)},
        outs={OUTPUT: dg.Out(io_manager_key=IO_MANAGER_KEY)},
        required_resource_keys=set(connector_keys(document, step)),
        code_version=document.step_hash(step.id),
        tags=step_tags(document, step),
        retry_policy=dg.RetryPolicy(max_retries=step.retries) if step.retries else None,
    )


def _ordered(document: Document) -> list[Step]:
    steps = {step.id: step for step in document.pipeline.steps}
    return [steps[name] for name in document.order]


def _code_references(document: Document, index: int) -> dict[str, Any]:
    """Metadata which leads from an asset to its step's line of the document."""
    position = document.position(("pipeline", "steps", index))
    if position is None:
        return {}
    file = str(Path(document.file).absolute())
    reference = dg.LocalFileCodeReference(file_path=file, line_number=position[0])
    value = dg.CodeReferencesMetadataValue(code_references=[reference])
    return {"dagster/code_references": value}


def _longest_chain(document: Document) -> int:
    depth: dict[str, int] = {}
    for step in document.order:
        depth[step] = 1 + max((depth[up] for up in document.dependencies[step]), default=0)
    return max(depth.values())
