"""The pipeline language (spec 2): YAML or Python to a checked `Document`, and its references.

No files, clock, sockets or threads live here: text and values come in, values or a `ScriptError`
which holds every problem at once go out.
"""

from aether_dagster.script.builtins import STEP_ARGUMENTS, parse_arguments
from aether_dagster.script.document import Document, parse_document
from aether_dagster.script.model import (
    Connector,
    Context,
    Hook,
    Hooks,
    Metadata,
    Pipeline,
    PluginRequirement,
    Retry,
    Step,
)
from aether_dagster.script.names import dagster_name
from aether_dagster.script.resolve import Resolved, ResolvedArguments, SystemValues, resolve
from aether_dagster.script.schema import json_schema

__all__ = [
    "STEP_ARGUMENTS",
    "Connector",
    "Context",
    "Document",
    "Hook",
    "Hooks",
    "Metadata",
    "Pipeline",
    "PluginRequirement",
    "Resolved",
    "ResolvedArguments",
    "Retry",
    "Step",
    "SystemValues",
    "dagster_name",
    "json_schema",
    "parse_arguments",
    "parse_document",
    "resolve",
]
