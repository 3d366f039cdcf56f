"""`@aether_assets`: a pipeline's assets, with a function of yours around each step (spec 7)."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster.orchestration.compiler import compile_documents, read_all
from aether_dagster.orchestration.node import NodeBody
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import DagsterAetherTranslator
from aether_dagster.script import Document, Step


@dataclass(frozen=True)
class AetherNode:
    """One attempt of a step, for the function under `@aether_assets`.

    Args:
        document: The pipeline document.
        step: The step.
        run: Runs the attempt; yields its one output, which must be yielded on.
    """

    document: Document
    step: Step
    run: Callable[[], Iterator[dg.Output[Any]]]


Around = Callable[[dg.OpExecutionContext, AetherNode], Iterable[Any]]


def aether_assets(
    *,
    pipeline: str | os.PathLike[str],
    settings: AetherSettings | None = None,
    translator: DagsterAetherTranslator | None = None,
    variables: Mapping[str, str] | None = None,
    partitions_def: dg.PartitionsDefinition | None = None,
) -> Callable[[Around], list[dg.AssetsDefinition]]:
    """Makes the assets of a pipeline from a function which runs around each of its steps.

    The assets bring their own IO manager and connectors, so they may stand in any `Definitions`.
    The pipeline's job is left out: `build_defs` or a job of the project's own gives one.

    Args:
        pipeline: The document, or a folder of them; relative to the function's module.
        settings: As for `build_defs`.
        translator: As for `build_defs`.
        variables: As for `build_defs`.
        partitions_def: As for `build_defs`.

    Raises:
        ScriptError: Documents are wrong; it holds every problem.

    Example:
        @aether_assets(pipeline="nightly.aether.yaml")
        def nightly(context, node):
            context.log.info(f"{node.step.id} of {node.document.config_hash}")
            yield from node.run()
    """

    def decorate(function: Around) -> list[dg.AssetsDefinition]:
        folder = Path(inspect.getfile(function)).absolute().parent
        definitions = compile_documents(
            read_all(folder / pipeline, variables=variables),
            settings=(settings or AetherSettings())
            .with_environment(os.environ)
            .anchored(Path.cwd()),
            translator=translator,
            partitions_def=partitions_def,
            body=lambda compiled, step: _Wrapped(compiled, step, function),
        )
        assets = [a for a in definitions.assets or () if isinstance(a, dg.AssetsDefinition)]
        return list(dg.with_resources(assets, dict(definitions.resources or {})))

    return decorate


class _Wrapped(NodeBody):
    """A node's body inside the user's function."""

    def __init__(self, pipeline: CompiledPipeline, step: Step, around: Around):
        super().__init__(pipeline, step)
        self._around = around

    def outputs(
        self, context: dg.OpExecutionContext, run: Callable[[], Iterator[dg.Output[Any]]]
    ) -> Iterator[Any]:
        """Calls the user's function, which calls `run`."""
        yield from self._around(context, AetherNode(self.pipeline.document, self.step, run))
