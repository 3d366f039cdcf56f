"""`context.artifacts` of an execution, as a step reads and writes them (spec 1.2)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aether_dagster.steps import ArtifactAccess

if TYPE_CHECKING:
    from aether_dagster.manager.execution import Execution


class Artifacts(ArtifactAccess):
    """Reads at the journal's head; what is written is committed at once.

    Args:
        execution: The execution.
        step: The step which writes.
    """

    def __init__(self, execution: "Execution", step: str):
        self._execution = execution
        self._step = step

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __setitem__(self, name: str, uri: str) -> None:
        self._execution.write_artifact(self._step, name, uri)

    def __delitem__(self, name: str) -> None:
        if name not in self._all():
            raise KeyError(name)
        self._execution.write_artifact(self._step, name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        return self._execution.catch_up().artifacts()
