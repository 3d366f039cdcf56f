"""The code location of pipelines which no Dagster project holds (spec 6).

`aetherscript ui` serves this module, and the processes of `aetherscript run` build its jobs anew.
"""

import os
from pathlib import Path

import dagster as dg

from aether_dagster.orchestration.compat import ReconstructableJob, reconstructable_job
from aether_dagster.orchestration.compiler import compile_documents, read_all
from aether_dagster.orchestration.names import job_name
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import Document

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
    return compile_documents(read_all(*paths), settings=settings)


def load_repository(
    path: str, variables: dict[str, str], as_ops: bool, settings: str
) -> dg.RepositoryDefinition:
    """Builds one pipeline's definitions, in whichever process needs them.

    Args:
        path: The document's file.
        variables: Values which override its `variables`.
        as_ops: Whether steps are ops instead of assets.
        settings: `AetherSettings` as JSON; they are final, whatever this process's environment.

    Raises:
        ScriptError: The document is wrong.
    """
    return compile_documents(
        read_all(path, variables=variables),
        as_ops=as_ops,
        settings=AetherSettings.from_json(settings),
        hook_sensors=False,
    ).get_repository_def()


def reconstructable_pipeline(
    document: Document,
    *,
    variables: dict[str, str],
    as_ops: bool = False,
    settings: AetherSettings,
) -> ReconstructableJob:
    """Returns a pipeline's job in the form which Dagster hands from process to process.

    Args:
        document: It was read from a file; its processes will read it again.
        variables: Values which override its `variables`.
        as_ops: Whether steps are ops instead of assets.
        settings: The run's settings, final.
    """
    arguments = {
        "path": str(Path(document.file).absolute()),
        "variables": variables,
        "as_ops": as_ops,
        "settings": settings.to_json(),
    }
    return reconstructable_job(__name__, "load_repository", arguments, job_name(document))
