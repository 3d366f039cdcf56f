"""Makes deliveries of `post_` events to hooks, and tells the ledger what came of them (spec 5)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aether_dagster.plugins.call import BeginTransaction, Called, call_hook, call_in_turn
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.plugins.outbox import FINALIZE, Delivery, Position
from aethersdk import Trigger

ATTEMPTS = 5
"""How often a delivery is tried before it is recorded as dead."""

_LONGEST_DELAY = 300.0


class OutboxStore(Protocol):
    """Where positions and the ledger of one execution are kept."""

    def begin(
        self, active: ActiveHook, delivery: Delivery, identity: str, position: Position
    ) -> int:
        """Notes that a delivery is being made, and which attempt; returns the call's number."""
        ...

    def end(self, active: ActiveHook, call: int, delivered: "Delivered") -> None:
        """Notes what a delivery came to, and with it where its hook stands now."""
        ...

    def begin_turn(self, active: ActiveHook, position: Position) -> None:
        """Notes that deliveries are being made, as an attempt of the first of them."""
        ...

    def end_turn(self, active: ActiveHook, made: Sequence[tuple[Delivery, "Delivered"]]) -> None:
        """Notes deliveries and what they came to, and with it where their hook stands now."""
        ...


@dataclass(frozen=True)
class Delivered:
    """What came of one delivery.

    Args:
        outcome: `returned`, `triggered`, `raised`, `timed out`, `dead`, or what was ignored.
        position: Where the hook stands now.
        error: What it raised, as text.
        log: What it logged: levels and texts.
        detail: What more the ledger keeps.
        called_at: When it was made, Unix seconds.
        milliseconds: How long it took.
    """

    outcome: str
    position: Position
    error: str | None
    log: Sequence[tuple[int, str]]
    detail: Mapping[str, Any] | None
    called_at: float
    milliseconds: float


@dataclass(frozen=True)
class Deliverer:
    """Makes deliveries to hooks; the caller holds the hook's lease meanwhile.

    Args:
        store: Positions and ledger.
        now: Unix seconds.
        redact: Masks secrets in a text or JSON value.
        begin: Begins a transaction of the execution.
        launches: Whether somebody launches the jobs of triggers.
    """

    store: OutboxStore
    now: Callable[[], float]
    redact: Callable[[Any], Any]
    begin: BeginTransaction
    launches: bool = False

    def deliver(
        self,
        active: ActiveHook,
        position: Position,
        delivery: Delivery,
        limit: float | None = None,
    ) -> Delivered:
        """Makes one delivery, notes it in the ledger, and moves the hook's position.

        Args:
            active: The hook.
            position: Where it stands, before the delivery.
            delivery: What it is told.
            limit: Seconds, if less than the hook's own time limit.
        """
        identity = delivery.identity(active.key)
        # Counted before the call: a hook may end the process which calls it.
        attempts = position.attempts + 1
        call = self.store.begin(active, delivery, identity, replace(position, attempts=attempts))
        if attempts > ATTEMPTS:
            problem = "each time its process ended in the middle of it"
            delivered = Delivered(
                "dead", _after(delivery), problem, (), {"problem": problem}, self.now(), 0.0
            )
            self.store.end(active, call, delivered)
            return delivered
        called = call_hook(
            active,
            delivery.event,
            delivery.values,
            pipeline_id=delivery.pipeline_id,
            delivery_id=identity,
            begin=self.begin,
            redact=self.redact,
            limit=limit,
        )
        delivered = self._came_to(active, position, attempts, delivery, called)
        self.store.end(active, call, delivered)
        return delivered

    def deliver_in_turn(
        self,
        active: ActiveHook,
        position: Position,
        deliveries: Sequence[Delivery],
        limit: float | None = None,
    ) -> list[Delivered]:
        """Makes several deliveries of one event, of which none was tried before.

        They are noted together: whoever finds that their process was killed makes all of them
        again, one by one.

        Args:
            active: The hook.
            position: Where it stands, before the first.
            deliveries: What it is told, in order.
            limit: Seconds, if less than the hook's own time limit.

        Returns:
            What came of those which were made, at least one; only the last may have failed.
        """
        self.store.begin_turn(active, replace(position, attempts=1))
        calls = call_in_turn(
            active,
            deliveries[0].event,
            [(each.values, each.identity(active.key)) for each in deliveries],
            pipeline_id=deliveries[0].pipeline_id,
            begin=self.begin,
            redact=self.redact,
            limit=limit,
        )
        made: list[tuple[Delivery, Delivered]] = []
        for delivery, called in zip(deliveries, calls, strict=False):
            delivered = self._came_to(active, position, 1, delivery, called)
            position = delivered.position
            made.append((delivery, delivered))
        self.store.end_turn(active, made)
        return [delivered for _, delivered in made]

    def _came_to(
        self,
        active: ActiveHook,
        position: Position,
        attempts: int,
        delivery: Delivery,
        called: Called,
    ) -> Delivered:
        after = _after(delivery)
        outcome, detail = _outcome(active, called, launches=self.launches)
        detail = None if detail is None else self.redact(detail)
        error = None
        if outcome in ("raised", "timed out"):
            error = f"{detail['type']}: {detail['message']}" if detail else outcome
            if attempts >= ATTEMPTS:
                outcome = "dead"
            else:
                delay = min(_LONGEST_DELAY, active.hook.retry_delay * 2 ** (attempts - 1))
                after = replace(position, attempts=attempts, retry_at=self.now() + delay)
        return Delivered(
            outcome, after, error, called.log, detail, called.called_at, called.milliseconds
        )


def _after(delivery: Delivery) -> Position:
    return Position(delivery.version, delivery.part, done=delivery.event == FINALIZE)


def _outcome(
    active: ActiveHook, called: Called, *, launches: bool
) -> tuple[str, dict[str, Any] | None]:
    if called.outcome == "vetoed":
        return "veto ignored", {"reason": called.reason}
    if called.outcome != "returned":
        return called.outcome, called.error
    if called.value is None:
        return "returned", None
    if not isinstance(called.value, Trigger):
        return "amendment ignored", None
    if active.hook.job is None:
        return "trigger ignored", {"problem": "the hook's class names no job"}
    trigger = called.value
    detail: dict[str, Any] = {
        "job": active.hook.job,
        "run_config": dict(trigger.run_config),
        "tags": dict(trigger.tags),
        "partition_key": trigger.partition_key,
    }
    return "triggered" if launches else "trigger not launched", detail
