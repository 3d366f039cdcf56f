"""The code location of pipelines which no Dagster project holds (spec 6).

`aetherscript ui` serves this module, and the processes of `aetherscript run` build its jobs anew.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from aether_dagster.orchestration.compat import ReconstructableJob, reconstructable_job
from aether_dagster.orchestration.compiler import compile_documents, read_all
from aether_dagster.orchestration.io_manager import IO_MANAGER_KEY
from aether_dagster.orchestration.names import job_name
from aether_dagster.orchestration.partitions import partitions_of
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import DagsterAetherTranslator
from aether_dagster.script import Document, Step

PIPELINES_VARIABLE = "AETHERSCRIPT_PIPELINES"
"""Paths of documents and folders, separated as in `PATH`, for `defs`."""


@dg.definitions
def defs() -> dg.Definitions:
    """The pipelines which `AETHERSCRIPT_PIPELINES` names.

    Raises:
        ScriptError: Documents are wrong.
    """
    paths = [path for path in os.environ.get(PIPELINES_VARIABLE, "").split(os.pathsep) if path]
    settings = AetherSettings().with_environment(os.environ).anchored(Path.cwd())
    documents = read_all(*paths)
    definitions = compile_documents(documents, settings=settings, translator=_Partitioned())
    return _with_assets_of_others(documents, definitions)


class _Partitioned(DagsterAetherTranslator):
    """Gives partitions to the steps of documents which name one."""

    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        spec = super().get_asset_spec(document, step)
        if not document.is_partitioned:
            return spec
        return spec.replace_attributes(  # pyright: ignore[reportUnknownMemberType]
            partitions_def=partitions_of(document.name)
        )


def load_repository(
    path: str,
    variables: dict[str, str],
    as_ops: bool,
    settings: str,
    partitioned: bool = False,
) -> dg.RepositoryDefinition:
    """Builds one pipeline's definitions, in whichever process needs them.

    The process which made the job has compiled it already, and is given that.

    Args:
        path: The document's file.
        variables: Values which override its `variables`.
        as_ops: Whether steps are ops instead of assets.
        settings: `AetherSettings` as JSON; they are final, whatever this process's environment.
        partitioned: Whether its run is one of a partition.

    Raises:
        ScriptError: The document is wrong.
    """
    handed = _handed.get(_key(path, variables, as_ops, settings, partitioned))
    if handed is not None:
        return handed
    (document,) = read_all(path, variables=variables)
    return _compile(document, as_ops, AetherSettings.from_json(settings), partitioned)


def _with_assets_of_others(
    documents: Sequence[Document], definitions: dg.Definitions
) -> dg.Definitions:
    """Adds the assets whose values steps take and nobody here makes.

    Their values are those which `AetherIOManager` stored last. In a team's own code location
    Dagster knows the assets themselves, and how each is loaded.
    """
    made = {
        key
        for assets in definitions.assets or ()
        if isinstance(assets, dg.AssetsDefinition)
        for key in assets.keys
    }
    taken = {
        dg.AssetKey(name.split("/"))
        for document in documents
        for assets in document.assets.values()
        for name in assets
    }
    metadata = {"dagster/io_manager_key": IO_MANAGER_KEY}
    others = [dg.AssetSpec(key, metadata=metadata) for key in sorted(taken - made)]
    return dg.Definitions.merge(definitions, dg.Definitions(assets=others))


def reconstructable_pipeline(
    document: Document,
    *,
    variables: dict[str, str],
    as_ops: bool = False,
    settings: AetherSettings,
    partitioned: bool = False,
    compiled_here: bool = False,
) -> ReconstructableJob:
    """Returns a pipeline's job in the form which Dagster hands from process to process.

    Args:
        document: It was read from a file; its processes will read it again.
        variables: Values which override its `variables`.
        as_ops: Whether steps are ops instead of assets.
        settings: The run's settings, final.
        partitioned: Whether its run is one of a partition, whose key is the run's tag.
        compiled_here: Compile the document at once, which was read with these variables, and give
            Dagster that whenever it asks for the definitions in this process: it asks three times.

    Raises:
        ScriptError: It would have the same name in Dagster as another.
        PluginError: Plugins cannot be resolved or loaded, or a state hook is wrong.
    """
    path, text = str(Path(document.file).absolute()), settings.to_json()
    arguments = {
        "path": path,
        "variables": variables,
        "as_ops": as_ops,
        "settings": text,
        "partitioned": partitioned,
    }
    _handed.clear()
    if compiled_here:
        key = _key(path, variables, as_ops, text, partitioned)
        _handed[key] = _compile(document, as_ops, settings, partitioned)
    return reconstructable_job(__name__, "load_repository", arguments, job_name(document))


# What this process compiled last, by what `load_repository` is asked for.
_Key = tuple[str, tuple[tuple[str, str], ...], bool, str, bool]
_handed: dict[_Key, dg.RepositoryDefinition] = {}


def _key(
    path: str, variables: dict[str, str], as_ops: bool, settings: str, partitioned: bool
) -> _Key:
    return path, tuple(sorted(variables.items())), as_ops, settings, partitioned


def _compile(
    document: Document, as_ops: bool, settings: AetherSettings, partitioned: bool
) -> dg.RepositoryDefinition:
    definitions = compile_documents(
        [document],
        as_ops=as_ops,
        settings=settings,
        partitions_def=partitions_of(document.name) if partitioned else None,
        hook_sensors=False,
    )
    return _with_assets_of_others([document], definitions).get_repository_def()
