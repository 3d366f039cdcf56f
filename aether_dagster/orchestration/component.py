"""`AetherPipelineComponent`: a pipeline document as a component of a Dagster project (spec 7)."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from aether_dagster.orchestration.compiler import compile_documents, read_all
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import DagsterAetherTranslator
from aether_dagster.script import Metadata, Pipeline, Step, dagster_name


class AetherPipelineScaffolder(dg.Scaffolder[Any]):
    """Writes a `defs.yaml` and a document which runs as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Makes the component's files in `request.target_path`."""
        folder = request.target_path.parent if request.append else request.target_path
        document = folder / f"{folder.name}.aether.yaml"
        if not document.exists():
            document.write_text(_example(dagster_name(folder.name)).to_yaml(), encoding="utf-8")
        dg.scaffold_component(request, {"pipeline": document.name})


@dg.scaffold_with(AetherPipelineScaffolder)
class AetherPipelineComponent(dg.Component, dg.Model, dg.Resolvable):
    """A pipeline document, or a folder of them, as assets and jobs.

    Subclass it to override `translator` and `executor`. In a `defs.yaml`:

        type: aether_dagster.AetherPipelineComponent
        attributes:
          pipeline: nightly.aether.yaml
    """

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

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="AetherScript pipelines: documents which become assets, with their state.",
            owners=[],
            tags=["aetherscript"],
        )

    @property
    def translator(self) -> DagsterAetherTranslator:
        """What maps steps to asset specs."""
        return DagsterAetherTranslator()

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
            translator=self.translator,
            executor=self.executor,
        )


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
