"""How the words of a pipeline document become Dagster's: specs, kinds, tags and metadata."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from aether_dagster.orchestration.names import ALONE_TAG
from aether_dagster.script import Document, Step, dagster_name

_KIND = "aetherscript"
_MAX_KIND = 63


class DagsterAetherTranslator:
    """Maps steps to asset specs (spec 7). Subclass it to change keys, groups, tags and more.

    Dependencies between steps, code version and code reference are added to whatever spec it
    gives; dependencies which the spec names are kept, so a step may wait for a foreign asset.

    Example:
        class Ours(DagsterAetherTranslator):
            def get_asset_spec(self, document, step):
                spec = super().get_asset_spec(document, step)
                return spec.replace_attributes(group_name="finance")
    """

    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        """Returns the spec of the asset which a step becomes.

        Args:
            document: The checked pipeline document.
            step: One of its steps.
        """
        metadata = document.pipeline.metadata
        return dg.AssetSpec(
            key=dg.AssetKey([dagster_name(document.name), dagster_name(step.id)]),
            description=step.description,
            group_name=dagster_name(document.name),
            owners=list(metadata.owners),
            tags=metadata.labels,
            kinds=step_kinds(document, step),
            metadata=step_metadata(document, step),
        )


def step_kinds(document: Document, step: Step) -> set[str]:
    """Returns `aetherscript` and what the step's type is of: `python`, `shell`, `duckdb` …"""
    family = step.type.partition("/")[0].lower()
    if family == "core":
        return {_KIND}
    if family == "sql":
        family = _sql_dialect(document, step)
    return {_KIND, family[:_MAX_KIND]}


def step_metadata(document: Document, step: Step) -> dict[str, Any]:
    """Returns the `aether/…` metadata of a step: what runs, and by which rules."""
    return {
        "aether/pipeline": document.name,
        "aether/step": step.id,
        "aether/type": step.type,
        "aether/config_hash": document.config_hash,
        "aether/format": document.pipeline.version,
        "aether/retries": step.retries,
        **({} if step.timeout is None else {"aether/timeout": step.timeout}),
    }


def pipeline_metadata(document: Document) -> dict[str, Any]:
    """Returns the `aether/…` metadata of a pipeline's job."""
    metadata = document.pipeline.metadata
    return {
        "aether/pipeline": document.name,
        "aether/config_hash": document.config_hash,
        **({} if metadata.version is None else {"aether/version": metadata.version}),
    }


def step_tags(document: Document, step: Step) -> Mapping[str, str]:
    """Returns the tags of a step's op."""
    return {
        "aether/pipeline": document.name,
        "aether/step": step.id,
        "aether/config_hash": document.config_hash,
        **({} if step.parallel else {ALONE_TAG: "false"}),
    }


def run_tags(document: Document) -> Mapping[str, str]:
    """Returns the tags of the runs of a pipeline's job."""
    return {f"aether/{document.name}.config_hash": document.config_hash}


def _sql_dialect(document: Document, step: Step) -> str:
    """The dialect of the step's database where the document says it, else `sql`."""
    url = step.args.get("url")
    named = step.args.get("connector")
    if isinstance(named, str) and named in document.pipeline.connectors:
        url = document.pipeline.connectors[named].url
    elif named is None and url is None:
        return "duckdb"
    if not isinstance(url, str) or "://" not in url:
        return "sql"
    dialect = url.partition("://")[0].partition("+")[0].lower()
    return dialect if dialect.isalnum() else "sql"
