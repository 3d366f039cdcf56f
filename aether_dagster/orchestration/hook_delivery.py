"""Delivers to state hooks in the run's own process (spec 5): all of them under a command line,
where there is no daemon, and else those which ask for it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aether_dagster.manager import Change, Execution
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import secrets_of

if TYPE_CHECKING:
    from aether_dagster.manager.deliveries import Drained
    from aether_dagster.manager.delivery_thread import DeliveryThread

# How long deliveries may go on after the final state is written, in seconds. What is left then
# stays in the outbox, for a sensor or `aetherscript recover`.
_LIMIT = 30.0


# How long the finalization waits for them, in seconds: a hook may still write an artifact then.
_SETTLING = 10.0


class RunDeliveries:
    """Deliveries of one execution, beside its run.

    Args:
        thread: Makes them.
    """

    def __init__(self, thread: "DeliveryThread"):
        self._thread = thread

    def see(self, change: Change) -> None:
        """Takes a version of the execution; an observer of its follower."""
        if self._thread.deliveries.see(change.version, change.replica):
            self._thread.notify()

    def take_log(self) -> Iterator[tuple[int, str]]:
        """Yields what hooks logged since the last time: levels and texts."""
        log = self._thread.deliveries.log
        while log:
            yield log.popleft()

    @property
    def failures(self) -> list[str]:
        """The failures which count, until now."""
        return list(self._thread.deliveries.failures)

    def settle(self) -> None:
        """Waits until what is committed was delivered once."""
        self._thread.settle(_SETTLING)

    def finish(self) -> "Drained":
        """Delivers the rest, now that the final state is written; returns what is left."""
        return self._thread.finish(_LIMIT)


def start_deliveries(
    execution: Execution, pipeline: CompiledPipeline, *, everything: bool
) -> RunDeliveries | None:
    """Begins to deliver; None, at no cost, where nobody wants anything.

    Args:
        execution: The execution.
        pipeline: Its pipeline.
        everything: Deliver to all hooks, and those of the document; else to `inline` ones alone.
    """
    active = execution.active
    hooks = [] if active is None else [h for h in active.hooks if h.delivers]
    if not everything:
        hooks = [hook for hook in hooks if hook.hook.delivery == "inline"]
    declared = pipeline.document.pipeline.hooks
    documents = everything and (declared.on_success or declared.on_failure or declared.on_complete)
    if not hooks and not documents:
        return None
    # Imported here: a run without hooks pays nothing for them.
    from aether_dagster.manager.deliveries import HookDeliveries
    from aether_dagster.manager.delivery_thread import DeliveryThread

    if documents:
        from aether_dagster.manager.document_hooks import document_hooks

        hooks += document_hooks(
            pipeline.document,
            pipeline.directory,
            execution,
            secret=secrets_of(execution, pipeline),
            step_types={} if active is None else active.step_types,
        )
    deliveries = HookDeliveries(
        execution.journal,
        execution.id,
        hooks,
        begin=execution.transaction,
        redact=execution.redaction.value,
        followed=True,
    )
    return RunDeliveries(DeliveryThread(deliveries))
