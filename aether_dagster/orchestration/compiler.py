"""From documents to Dagster definitions: one asset or one op for each step (spec 7)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from aether_dagster.errors import Problem, ScriptError
from aether_dagster.orchestration.active import find_active, has_sensor
from aether_dagster.orchestration.assets import asset_definitions, asset_specs
from aether_dagster.orchestration.checks import checks_of
from aether_dagster.orchestration.compat import allow_depth, disable_dagster_warnings
from aether_dagster.orchestration.connectors import connector_resources
from aether_dagster.orchestration.executor import aether_executor
from aether_dagster.orchestration.io_manager import IO_MANAGER_KEY, aether_io_manager
from aether_dagster.orchestration.names import check_assets, check_names
from aether_dagster.orchestration.node import NodeBody
from aether_dagster.orchestration.ops import Body, op_definitions
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import remember_assets
from aether_dagster.orchestration.sensors import aether_reconcile_sensor, watch_over
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import DagsterAetherTranslator
from aether_dagster.project import find_pipelines, load_pipeline
from aether_dagster.script import Document, Pipeline

if TYPE_CHECKING:
    from aether_dagster.plugins.activation import Active


def build_defs(
    path: str | os.PathLike[str] | Document | Pipeline,
    *,
    as_ops: bool = False,
    settings: AetherSettings | None = None,
    translator: DagsterAetherTranslator | None = None,
    variables: Mapping[str, str] | None = None,
    executor: dg.ExecutorDefinition | None = None,
    partitions_def: dg.PartitionsDefinition | None = None,
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
        partitions_def: The partitions of every asset for which the translator names none, or of
            the job of ops. A run covers one of them: `${PARTITION_KEY}`.

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
        documents,
        as_ops=as_ops,
        settings=final,
        translator=translator,
        partitions_def=partitions_def,
        executor=executor,
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
    partitions_def: dg.PartitionsDefinition | None = None,
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
        partitions_def: As for `build_defs`.
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
            specs = {} if as_ops else asset_specs(document, translator, partitions_def)
            keys = {step: tuple(spec.key.path) for step, spec in specs.items()}
            check_assets(document, keys)
            directory = Path(document.file).absolute().parent
            pipeline = CompiledPipeline(document, settings, directory, keys)
            plugins = document.pipeline.plugins
            active = find_active(pipeline) if hook_sensors or (plugins and not as_ops) else None
            if as_ops:
                definitions.append(op_definitions(pipeline, body, executor, partitions_def))
            else:
                pipeline = replace(pipeline, checks=checks_of(pipeline, active))
                definitions.append(asset_definitions(pipeline, specs, body, executor))
                remember_assets(pipeline)
            if hook_sensors:
                sensors.update(_hook_sensors(document, active))
            resources.update(connector_resources(pipeline))
    watch_over(settings)
    shared = dg.Definitions(
        resources=resources, sensors=[aether_reconcile_sensor, *sensors.values()]
    )
    return dg.Definitions.merge(*definitions, shared)


def _hook_sensors(document: Document, active: "Active | None") -> dict[str, dg.SensorDefinition]:
    """The sensors which deliver to a pipeline's state hooks, by name; none where it has none."""
    listed = document.pipeline.hooks
    declared = listed.on_success or listed.on_failure or listed.on_complete
    if active is None and not declared:
        return {}
    # Imported here: what has no hooks pays nothing for them.
    from aether_dagster.orchestration.hook_sensors import document_hooks_sensor, sensors_of

    hooks = () if active is None else active.hooks
    found = sensors_of(hook for hook in hooks if not has_sensor(hook.key))
    if declared:
        found.append(document_hooks_sensor())
    return {sensor.name: sensor for sensor in found}


def _longest_chain(document: Document) -> int:
    depth: dict[str, int] = {}
    for step in document.order:
        depth[step] = 1 + max((depth[up] for up in document.dependencies[step]), default=0)
    return max(depth.values())
