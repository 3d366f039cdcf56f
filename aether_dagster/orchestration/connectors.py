"""A document's connectors as Dagster resources (spec 2 and 7)."""

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

from aether_dagster.errors import SettingsError
from aether_dagster.orchestration.names import connector_resource_key
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import open_execution, secrets_of
from aether_dagster.script import Document, Step

# These never open a connector. Any other type may ask its context for each of them.
_NO_CONNECTORS = frozenset({"core/echo", "core/sleep", "python/script", "shell/run"})
_ONE_CONNECTOR = frozenset({"http/request", "sql/query"})


def connector_keys(document: Document, step: Step) -> frozenset[str]:
    """Returns the resource keys of the connectors which a step may open."""
    names = frozenset(document.pipeline.connectors)
    if step.type in _NO_CONNECTORS:
        return frozenset()
    if step.type in _ONE_CONNECTOR:
        names &= {step.args.get("connector")}
    return frozenset(connector_resource_key(document.name, name) for name in names)


def connector_resources(pipeline: CompiledPipeline) -> Mapping[str, dg.ResourceDefinition]:
    """Returns a resource for each connector; its value is the connector's resolved settings.

    They are resolved in the process which connects, when the resource starts: an environment
    variable or a secret which is missing there fails the resource. Nothing is connected yet, and
    no secret becomes run configuration.
    """
    document = pipeline.document
    return {
        connector_resource_key(document.name, name): dg.ResourceDefinition(
            resource_fn=_ConnectorResource(pipeline, name),
            description=f"Connector {name!r} ({connector.type}) of pipeline {document.name!r}.",
        )
        for name, connector in document.pipeline.connectors.items()
    }


class _ConnectorResource:
    def __init__(self, pipeline: CompiledPipeline, connector: str):
        self._pipeline = pipeline
        self._connector = connector
        # Dagster names a resource which fails by its function's name.
        self.__name__ = connector

    def __call__(self, context: dg.InitResourceContext) -> Mapping[str, Any]:
        if context.instance is None or context.run is None:
            raise SettingsError(
                f"Connector {self._connector!r} of pipeline {self._pipeline.document.name!r} is "
                "resolved for a run; outside of one, give the resource a value of your own."
            )
        execution = open_execution(context.instance, context.run, self._pipeline)
        reader = secrets_of(execution, self._pipeline)
        resolved = execution.resolved.connector(self._connector, environ=os.environ, secret=reader)
        execution.redaction.learn(resolved.secrets)
        return resolved.args
