"""The assets of a pipeline's steps, and the job which makes them all (spec 7)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster.orchestration.checks import check_specs
from aether_dagster.orchestration.names import asset_input, job_name
from aether_dagster.orchestration.node import OUTPUT
from aether_dagster.orchestration.ops import Body, ordered, step_op
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.translator import (
    DagsterAetherTranslator,
    pipeline_metadata,
    run_tags,
)
from aether_dagster.script import Document, Step, dagster_name


def asset_specs(
    document: Document,
    translator: DagsterAetherTranslator,
    partitions_def: dg.PartitionsDefinition | None = None,
) -> dict[str, dg.AssetSpec]:
    """Returns the translator's specs by step, completed by what only the document knows.

    Args:
        document: The document.
        translator: Gives the specs.
        partitions_def: For specs which name no partitions.
    """
    steps = list(document.pipeline.steps)
    specs = {step.id: translator.get_asset_spec(document, step) for step in steps}
    return {
        step.id: specs[step.id].replace_attributes(  # pyright: ignore[reportUnknownMemberType]
            deps=_asset_deps(document, step, specs),
            metadata={
                **_code_references(document, index),
                **specs[step.id].metadata,
            },
            partitions_def=specs[step.id].partitions_def or partitions_def,
        )
        for index, step in enumerate(steps)
    }


def asset_definitions(
    pipeline: CompiledPipeline,
    specs: Mapping[str, dg.AssetSpec],
    body: Body,
    executor: dg.ExecutorDefinition,
) -> dg.Definitions:
    """Returns a pipeline's assets, one for each step, and its job.

    Args:
        pipeline: The compiled pipeline.
        specs: The assets' specs by step.
        body: Makes the compute function of a step.
        executor: What runs the steps of the job.
    """
    document = pipeline.document
    assets: list[dg.AssetsDefinition] = []
    for step in ordered(document):
        spec = specs[step.id]
        keys = {dagster_name(name): specs[name].key for name in document.dependencies[step.id]}
        keys |= {asset_input(name): _key(name) for name in document.assets.get(step.id, ())}
        foreign = {
            "after__" + dagster_name("__".join(dep.asset_key.path)): dep.asset_key
            for dep in spec.deps
            if dep.asset_key not in keys.values()
        }
        checks = check_specs(pipeline.checks.get(step.id, ()), spec)
        assets.append(
            dg.AssetsDefinition(
                keys_by_input_name={**keys, **foreign},
                keys_by_output_name={OUTPUT: spec.key},
                node_def=step_op(pipeline, step, body, after=foreign, checks=checks),
                specs=[spec],
                check_specs_by_output_name=checks,
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


def _asset_deps(
    document: Document, step: Step, specs: Mapping[str, dg.AssetSpec]
) -> list[dg.AssetDep]:
    given = {dep.asset_key: dep for dep in specs[step.id].deps}
    keys = [specs[upstream].key for upstream in document.dependencies[step.id]]
    keys += map(_key, document.assets.get(step.id, ()))
    return [*given.values(), *(dg.AssetDep(key) for key in keys if key not in given)]


def _key(asset: str) -> dg.AssetKey:
    return dg.AssetKey(asset.split("/"))


def _code_references(document: Document, index: int) -> dict[str, Any]:
    """Metadata which leads from an asset to its step's line of the document."""
    position = document.position(("pipeline", "steps", index))
    if position is None:
        return {}
    file = str(Path(document.file).absolute())
    reference = dg.LocalFileCodeReference(file_path=file, line_number=position[0])
    value = dg.CodeReferencesMetadataValue(code_references=[reference])
    return {"dagster/code_references": value}
