"""Where the hooks of an execution stand, and what deliveries came to, in the journal (spec 5)."""

from collections.abc import Sequence
from dataclasses import replace

from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import CallEnd, HookCallRecord, HookCursor
from aether_dagster.plugins.deliverer import Delivered
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.plugins.outbox import Delivery, Position


class DeliveryLedger:
    """The journal's outbox as the plugins ring sees it.

    How a call ended is written together with the beginning of the next one; those made in turn
    are written when they have ended.

    Args:
        journal: The journal.
        pipeline_id: The execution.
    """

    def __init__(self, journal: Journal, pipeline_id: str):
        self._outbox, self._pipeline_id = journal.outbox, pipeline_id
        self._ended: list[CallEnd] = []

    def begin(
        self, active: ActiveHook, delivery: Delivery, identity: str, position: Position
    ) -> int:
        """See `OutboxStore.begin`."""
        call = self._outbox.begin_call(
            self._pipeline_id,
            event=delivery.event,
            hook=active.key,
            plugin=active.label,
            node=delivery.node,
            delivery=identity,
            cursor=cursor_of(self._pipeline_id, active, position),
            # The cursor moves to where the ended call left it, and counts this one, in one step.
            ended=[replace(each, cursor=None) for each in self._ended],
        )
        self._ended = []
        return call

    def end(self, active: ActiveHook, call: int, delivered: Delivered) -> None:
        """See `OutboxStore.end`; it is written with what is written next."""
        cursor = cursor_of(self._pipeline_id, active, delivered.position)
        self._ended.append(
            CallEnd(call, delivered.outcome, delivered.milliseconds, delivered.detail, cursor)
        )

    def begin_turn(self, active: ActiveHook, position: Position) -> None:
        """See `OutboxStore.begin_turn`."""
        self.flush()
        self._outbox.move(cursor_of(self._pipeline_id, active, position))

    def end_turn(self, active: ActiveHook, made: Sequence[tuple[Delivery, Delivered]]) -> None:
        """See `OutboxStore.end_turn`."""
        calls = [
            HookCallRecord(
                number=0,
                pipeline_id=self._pipeline_id,
                called_at=delivered.called_at,
                event=delivery.event,
                hook=active.key,
                plugin=active.label,
                node=delivery.node,
                delivery=delivery.identity(active.key),
                outcome=delivered.outcome,
                milliseconds=delivered.milliseconds,
                detail=delivered.detail,
            )
            for delivery, delivered in made
        ]
        position = made[-1][1].position
        self._outbox.note_calls(calls, cursor_of(self._pipeline_id, active, position))

    def flush(self) -> None:
        """Writes what the last call came to."""
        if self._ended:
            self._outbox.end_calls(self._ended)
            self._ended = []


def register_hooks(journal: Journal, pipeline_id: str, hooks: Sequence[ActiveHook]) -> None:
    """Notes which hooks want to be told of an execution."""
    cursors = [cursor_of(pipeline_id, hook, Position()) for hook in hooks if hook.delivers]
    if cursors:
        journal.outbox.register(cursors)


def cursor_of(pipeline_id: str, hook: ActiveHook, position: Position) -> HookCursor:
    """Returns the cursor which says in the journal where a hook stands."""
    return HookCursor(
        pipeline_id,
        hook.key,
        hook.label,
        hook.source,
        position.version,
        position.part,
        position.attempts,
        position.retry_at,
        position.done,
    )
