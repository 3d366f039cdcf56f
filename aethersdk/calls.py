"""What surrounds one call of a state hook, for the hook's own `self.…` (spec 5)."""

from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol


class Transaction(Protocol):
    """What `with self.transaction() as tx:` gives: one snapshot to read, artifacts to write.

    It is committed on leaving the block, if nothing which it read or wrote was changed since it
    began; otherwise `WriteConflict` is raised, and nothing is written (spec 1.6).
    """

    @property
    def private(self) -> MutableMapping[str, Any]:
        """What the plugin remembers of this execution: JSON values by name."""
        ...

    def get(self, path: str, default: Any = None) -> Any:
        """Returns what is at a path of the state document, such as `nodes.load.status`."""
        ...

    def set(self, path: str, value: str) -> None:
        """Writes an artifact: `context.artifacts.<name>`."""
        ...

    def delete(self, path: str) -> None:
        """Deletes an artifact, if it is there."""
        ...


@dataclass(frozen=True)
class HookCall:
    """One call of one hook. Made by whoever calls it.

    Args:
        event: The event's name.
        pipeline_id: The execution.
        delivery_id: The delivery's id, the same each time it is repeated; None where the event is
            no delivery.
        transaction: Begins a transaction; None where the execution has no state yet.
        log: Takes what the hook logs, besides standard error.
        redact: Masks secrets in what the hook logs.
    """

    event: str
    pipeline_id: str
    delivery_id: str | None = None
    transaction: Callable[[], AbstractContextManager[Transaction]] | None = None
    log: Callable[[int, str], None] | None = None
    redact: Callable[[str], str] = str


current_call: ContextVar[HookCall | None] = ContextVar("current_call", default=None)
"""The call which this thread is in."""
