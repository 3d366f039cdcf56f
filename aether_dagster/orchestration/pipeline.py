"""A document together with what it was compiled with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import Document

if TYPE_CHECKING:
    from aether_dagster.plugins.checks import ActiveCheck


@dataclass(frozen=True)
class CompiledPipeline:
    """A document and what it was compiled with.

    Args:
        document: The validated document.
        settings: Where state, history and values go.
        directory: The document's folder; relative paths and modules resolve from there.
        asset_keys: The asset key of each step; empty where steps are ops.
        checks: What plugins check of the outputs of steps which are assets.
    """

    document: Document
    settings: AetherSettings
    directory: Path
    asset_keys: Mapping[str, tuple[str, ...]]
    checks: "Mapping[str, Sequence[ActiveCheck]]" = field(
        default_factory=dict[str, "Sequence[ActiveCheck]"]
    )

    @property
    def secret_store(self) -> str | None:
        """URL of the secret store: the document's, else the deployment's."""
        return self.document.pipeline.context.secret_store or self.settings.secret_store

    def value_key(self, step: str) -> tuple[str, ...]:
        """Returns the key under which the latest value of a step is found."""
        return self.asset_keys.get(step, (self.document.name, step))
