"""From documents to Dagster definitions: one asset or one op for each step (spec 7)."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster.errors import Problem, ScriptError
from aether_dagster.orchestration.compat import allow_depth, disable_dagster_warnings
from aether_dagster.orchestration.connectors import connector_keys, connector_resources
from aether_dagster.orchestration.executor import aether_executor
from aether_dagster.orchestration.io_manager import IO_MANAGER_KEY, aether_io_manager
from aether_dagster.orchestration.node import OUTPUT, CompiledPipeline, NodeBody
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import (
    DagsterAetherTranslator,
    connector_resource_key,
    job_name,
    op_name,
    pipeline_metadata,
    run_tags,
    step_tags,
)
from aether_dagster.project import find_pipelines, load_pipeline
from aether_dagster.script import Document, Pipeline, Step, dagster_name

_NAME = ("metadata", "name")
_DATA = dg.In()
_ORDER = dg.In(dg.Nothing)


def build_defs(
    path: str | os.PathLike[str] | Document | Pipeline,
    *,
    as_ops: bool = False,
    settings: AetherSettings | None = None,
    translator: DagsterAetherTranslator | None = None,
    variables: Mapping[str, str] | None = None,
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

    Raises:
        ScriptError: Documents are wrong; it holds every problem of all of them.
        SettingsError: An environment variable has a value which cannot be used.
    """
    given = settings or AetherSettings()
    final = given.with_environment(os.environ).anchored(Path.cwd())
    match path:
        case Document():
            sources = [(path, Path(path.file).absolute().parent)]
        case Pipeline():
            sources = [(Document.from_pipeline(path, variables=variables), Path.cwd())]
        case _:
            sources = read_documents(path, variables=variables)
    return compile_documents(sources, as_ops=as_ops, settings=final, translator=translator)


def read_documents(
    *paths: str | os.PathLike[str], variables: Mapping[str, str] | None = None
) -> list[tuple[Document, Path]]:
    """Reads documents, each with the folder which its relative paths are below.

    Args:
        paths: Files, and folders of `*.aether.yaml`.
        variables: Values which override the documents' `variables`.

    Raises:
        ScriptError: Documents are wrong; it holds every problem of all of them.
    """
    places = [Path(path) for path in paths]
    files = [f for place in places for f in (find_pipelines(place) if place.is_dir() else [place])]
    documents: list[tuple[Document, Path]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            documents.append((load_pipeline(file, variables=variables), file.absolute().parent))
        except ScriptError as error:
            problems.extend(error.problems)
    if problems:
        raise ScriptError(problems)
    return documents


def compile_documents(
    sources: Sequence[tuple[Document, Path]],
    *,
    as_ops: bool = False,
    settings: AetherSettings,
    translator: DagsterAetherTranslator | None = None,
) -> dg.Definitions:
    """Compiles documents which were read already, with settings which are final.

    Args:
        sources: Each document and the folder which its relative paths are below.
        as_ops: As for `build_defs`.
        settings: Taken as they are.
        translator: As for `build_defs`.

    Raises:
        ScriptError: Two of them would have the same name in Dagster.
    """
    _refuse_collisions([document for document, _ in sources])
    translator = translator or DagsterAetherTranslator()
    resources: dict[str, dg.ResourceDefinition] = {IO_MANAGER_KEY: aether_io_manager}
    definitions: list[dg.Definitions] = []
    with disable_dagster_warnings():
        for document, directory in sources:
            allow_depth(_longest_chain(document))
            specs = {} if as_ops else _asset_specs(document, directory, translator)
            keys = {step: tuple(spec.key.path) for step, spec in specs.items()}
            pipeline = CompiledPipeline(document, settings, directory, keys)
            part = _op_definitions(pipeline) if as_ops else _asset_definitions(pipeline, specs)
            definitions.append(part)
            resources.update(connector_resources(pipeline))
    return dg.Definitions.merge(*definitions, dg.Definitions(resources=resources))


def _asset_specs(
    document: Document, directory: Path, translator: DagsterAetherTranslator
) -> dict[str, dg.AssetSpec]:
    """The translator's specs, completed by what only the document knows."""
    steps = list(document.pipeline.steps)
    specs = {step.id: translator.get_asset_spec(document, step) for step in steps}
    return {
        step.id: specs[step.id].replace_attributes(  # pyright: ignore[reportUnknownMemberType]
            deps=_asset_deps(document, step, specs),
            metadata={
                **_code_references(document, directory, index),
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
    pipeline: CompiledPipeline, specs: Mapping[str, dg.AssetSpec]
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
                node_def=_op(pipeline, step, after=foreign),
                specs=[spec],
            )
        )
    job = dg.define_asset_job(  # pyright: ignore[reportUnknownMemberType]
        job_name(document),
        selection=dg.AssetSelection.assets(*(spec.key for spec in specs.values())),
        description=document.pipeline.metadata.description,
        metadata=pipeline_metadata(document),
        run_tags=run_tags(document),
        executor_def=aether_executor,
    )
    return dg.Definitions(assets=assets, jobs=[job])


def _op_definitions(pipeline: CompiledPipeline) -> dg.Definitions:
    document = pipeline.document
    graph = dg.GraphDefinition(
        name=job_name(document),
        description=document.pipeline.metadata.description,
        # In topological order: Dagster then walks the graph without recursion.
        node_defs=[_op(pipeline, step) for step in _ordered(document)],
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
        executor_def=aether_executor,
    )
    return dg.Definitions(jobs=[job])


def _op(pipeline: CompiledPipeline, step: Step, after: Iterable[str] = ()) -> dg.OpDefinition:
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
        compute_fn=NodeBody(pipeline, step),
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


def _code_references(document: Document, directory: Path, index: int) -> dict[str, Any]:
    """Metadata which leads from an asset to its step's line of the document."""
    position = document.position(("pipeline", "steps", index))
    if position is None:
        return {}
    file = directory / Path(document.file).name
    reference = dg.LocalFileCodeReference(file_path=str(file), line_number=position[0])
    value = dg.CodeReferencesMetadataValue(code_references=[reference])
    return {"dagster/code_references": value}


def _longest_chain(document: Document) -> int:
    depth: dict[str, int] = {}
    for step in document.order:
        depth[step] = 1 + max((depth[up] for up in document.dependencies[step]), default=0)
    return max(depth.values())


def _refuse_collisions(documents: Sequence[Document]) -> None:
    """Raises for names which two documents of one code location would share in Dagster.

    Within one document, the language's own rules have seen to it.
    """
    problems: list[Problem] = []
    taken: dict[tuple[str, str], tuple[Document, str]] = (
        {("resource", IO_MANAGER_KEY): (documents[0], "the IO manager")} if documents else {}
    )
    for document in documents:
        for kind, name, path, words in _claims(document):
            owner, theirs = taken.setdefault((kind, name), (document, words))
            if owner is document and theirs == words:
                continue
            line, column = document.position(path) or (None, None)
            message = (
                f"{words} and {theirs} of {owner.file} are both {name!r} in Dagster; rename one"
            )
            problems.append(Problem(document.file, line, column, message))
            if kind == "node" and path == _NAME:
                break
    if problems:
        raise ScriptError(problems)


def _claims(document: Document) -> Iterator[tuple[str, str, tuple[str | int, ...], str]]:
    """The names which a document takes in Dagster: kind, name, where it says so, in words."""
    yield "node", job_name(document), _NAME, f"pipeline {document.name!r}"
    for index, step in enumerate(document.pipeline.steps):
        path = ("pipeline", "steps", index, "id")
        words = f"step {step.id!r} of pipeline {document.name!r}"
        yield "node", op_name(document, step.id), path, words
    for name in document.pipeline.connectors:
        key = connector_resource_key(document.name, name)
        yield "resource", key, ("connectors", name), f"connector {name!r}"
