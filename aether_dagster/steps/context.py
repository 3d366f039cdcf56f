"""What a step's code is given besides its arguments."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aether_dagster.steps.connections import Connections

Mask = Callable[[str, bool], str]


class ArtifactAccess(MutableMapping[str, str]):
    """The execution's shared resources: name → path or URI (spec 1.1, `artifacts`).

    Whoever runs a step subclasses it with the five methods of a mutable mapping. A step's code
    uses it as a mapping, or with `get`, `set` and `delete`; in a child process each use is a
    question to the parent.
    """

    @abstractmethod
    def __setitem__(self, name: str, uri: str) -> None: ...

    def set(self, name: str, uri: str) -> None:
        """Set an artifact's path or URI, for every step which reads it from now on."""
        self[name] = uri

    def delete(self, name: str) -> None:
        """Delete an artifact; it is no error if there is none of that name."""
        if name in self:
            del self[name]


@dataclass(frozen=True)
class StepContext:
    """What `python/call` hands to a callable which takes `context` (spec 2).

    Args:
        step_id: The step's name in the document.
        attempt: Number of this attempt, from 1.
        execution_id: The pipeline id of this execution.
        pipeline: The pipeline's name.
        logger: Where messages go; they reach the run's log from a child process too.
        artifacts: The execution's shared resources.
        connection: Gives a connector's resolved settings by name.
        directory: The document's folder; relative paths and imports start there.
        connections: Open connections of the execution, for step types which share them; None
            opens one for the step alone.
        masked: Makes what masks secrets in a stream of a command's output which is shown: it takes
            a piece, and whether it is the last, and gives what may be shown of it.
    """

    step_id: str
    attempt: int
    execution_id: str
    pipeline: str
    logger: logging.Logger
    artifacts: ArtifactAccess
    connection: Callable[[str], Mapping[str, Any]]
    directory: Path
    connections: Connections | None = None
    masked: Callable[[], Mask] | None = None
