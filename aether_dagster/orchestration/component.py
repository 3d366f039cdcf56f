"""`AetherPipelineComponent`: a pipeline document as a component of a Dagster project (spec 7)."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import dagster as dg
from pydantic import ConfigDict, Field

from aether_dagster.orchestration.compat import (
    PartitionsModel,
    TranslationFn,
    TranslationFnResolver,
    resolve_partitions,
)
from aether_dagster.orchestration.compiler import compile_documents, read_all
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import DagsterAetherTranslator
from aether_dagster.script import Document, Metadata, Pipeline, Step, dagster_name


class AetherPipelineScaffolder(dg.Scaffolder[Any]):
    """Writes a `defs.yaml` and a document which runs as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Makes the component's files in `request.target_path`."""
        folder = request.target_path.parent if request.append else request.target_path
        document = folder / f"{folder.name}.aether.yaml"
        if not document.exists():
            document.write_text(_example(dagster_name(folder.name)).to_yaml(), encoding="utf-8")
        dg.scaffold_component(request, {"pipeline": document.name})


class TranslatedStep(NamedTuple):
    """What `translation:` in a `defs.yaml` is evaluated for."""

    document: Document
    step: Step


def _template_variables(translated: TranslatedStep) -> Mapping[str, Any]:
    document, step = translated
    return {"pipeline": document.name, "document": document, "step": step}


Translation = Annotated[
    TranslationFn[TranslatedStep],
    TranslationFnResolver[TranslatedStep](template_vars_for_translation_fn=_template_variables),
]


@dg.scaffold_with(AetherPipelineScaffolder)
class AetherPipelineComponent(dg.Component, dg.Model, dg.Resolvable):
    """A pipeline document, or a folder of them, as assets and jobs.

    Subclass it to override `get_asset_spec` and `executor`. In a `defs.yaml`:

        type: aether_dagster.AetherPipelineComponent
        attributes:
          pipeline: nightly.aether.yaml
          translation:
            group_name: finance
            key: "finance/{{ pipeline }}/{{ step.id }}"
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pipeline: Annotated[
        str,
        dg.Resolver.default(
            description="The document, or a folder of *.aether.yaml; relative to the defs.yaml.",
            examples=["nightly.aether.yaml"],
        ),
    ]
    as_ops: Annotated[
        bool, dg.Resolver.default(description="Make steps ops of a graph job, not assets.")
    ] = False
    variables: Annotated[
        Mapping[str, str],
        dg.Resolver.default(description="Values which override the document's variables."),
    ] = Field(default_factory=dict)
    settings: Annotated[
        AetherSettings | None,
        dg.Resolver.default(
            description="Where state is kept; relative paths are below the project's folder."
        ),
    ] = None
    translation: Translation | None = None
    partitions_def: Annotated[
        dg.PartitionsDefinition | None,
        dg.Resolver(
            resolve_partitions,
            model_field_type=PartitionsModel | str | None,
            description="Partitions of every step; a run covers one: ${PARTITION_KEY}.",
            examples=[{"type": "daily", "start_date": "2024-05-01"}],
        ),
    ] = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="AetherScript pipelines: documents which become assets, with their state.",
            owners=[],
            tags=["aetherscript"],
        )

    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        """Returns the spec of the asset which a step becomes; a subclass may override it.

        Args:
            document: The checked pipeline document.
            step: One of its steps.
        """
        spec = DagsterAetherTranslator().get_asset_spec(document, step)
        if self.translation is None:
            return spec
        return self.translation(spec, TranslatedStep(document, step))

    @property
    def executor(self) -> dg.ExecutorDefinition | None:
        """What runs the steps of the pipelines' jobs; None: `aether_executor`."""
        return None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Compiles the documents; `dg check defs` shows what is wrong in them.

        Raises:
            ScriptError: Documents are wrong; it holds every problem, by file, line and column.
        """
        given = self.settings or AetherSettings()
        return compile_documents(
            read_all(context.path / self.pipeline, variables=self.variables),
            as_ops=self.as_ops,
            settings=given.with_environment(os.environ).anchored(context.project_root),
            translator=_Translator(self),
            partitions_def=self.partitions_def,
            executor=self.executor,
        )


class _Translator(DagsterAetherTranslator):
    def __init__(self, component: AetherPipelineComponent):
        self._component = component

    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        return self._component.get_asset_spec(document, step)


def _example(name: str) -> Pipeline:
    return Pipeline(
        metadata=Metadata(name=name, description="A first pipeline: numbers, and their average"),
        steps=[
            Step(id="numbers", type="core/echo", args={"message": [3, 1, 4, 1, 5, 9]}),
            Step(
                id="average",
                type="python/call",
                args={"callable": "statistics:mean", "data": "${steps.numbers.output}"},
            ),
            Step(
                id="report",
                type="core/echo",
                args={"message": "The average is ${steps.average.output}."},
            ),
        ],
    )
