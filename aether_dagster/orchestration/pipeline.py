"""A document together with what it was compiled with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import Document


@dataclass(frozen=True)
class CompiledPipeline:
    """A document and what it was compiled with.

    Args:
        document: The validated document.
        settings: Where state, history and values go.
        directory: The document's folder; relative paths and modules resolve from there.
        asset_keys: The asset key of each step; empty where steps are ops.
    """

    document: Document
    settings: AetherSettings
    directory: Path
    asset_keys: Mapping[str, tuple[str, ...]]

    @property
    def secret_store(self) -> str | None:
        """URL of the secret store: the document's, else the deployment's."""
        return self.document.pipeline.context.secret_store or self.settings.secret_store

    def value_key(self, step: str) -> tuple[str, ...]:
        """Returns the key under which the latest value of a step is found."""
        return self.asset_keys.get(step, (self.document.name, step))
