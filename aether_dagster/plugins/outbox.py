"""Deliveries of `post_` events: what the versions of a journal amount to, and who was told of it.

At least once, in order, each with an id which is the same when it is repeated (spec 5).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aether_dagster.plugins.call import BeginTransaction, Called, call_hook, call_in_turn
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.state import Delta, Replica
from aether_dagster.state.machine import TERMINAL
from aethersdk import NodeState, Report, State, Trigger

EXECUTE = "post_node_execute"
FINALIZE = "post_state_finalize"
ATTEMPTS = 5
"""How often a delivery is tried before it is recorded as dead."""

_LONGEST_DELAY = 300.0
_ENDED = TERMINAL | {"retrying"}


@dataclass(frozen=True)
class Delivery:
    """Something which hooks are told of.

    Args:
        pipeline_id: The execution.
        version: The journal's version at which it became due.
        part: Which of that version's deliveries it is, from 1.
        event: The event.
        node: The step, where the event is of one.
        values: The event's parameters.
    """

    pipeline_id: str
    version: int
    part: int
    event: str
    node: str | None
    values: Mapping[str, Any] = field(repr=False)

    def identity(self, hook: str) -> str:
        """Returns the delivery's id for a hook: pipeline id, version, node, hook."""
        return "/".join((self.pipeline_id, str(self.version), self.node or "", hook))


class Deliveries:
    """Folds the versions of one execution, in order, into what hooks are told of.

    `post_node_execute` waits for Dagster's word on the attempt, as `_final` files do; at the
    finalization what was never settled is told.

    Args:
        pipeline_id: The execution.
    """

    def __init__(self, pipeline_id: str):
        self._pipeline_id = pipeline_id
        self._replica = Replica()
        self._nodes: dict[str, _Node] = {}
        self._initialized = False
        self._finalized = False

    @property
    def version(self) -> int:
        """The newest version which `fold` was given."""
        return self._replica.version

    def fold(self, version: int, deltas: Sequence[Delta], *, late: bool = False) -> list[Delivery]:
        """Joins one version; returns the deliveries which it makes due."""
        if not late:
            for delta in deltas:
                self._replica.apply(delta)
        self._replica.version = version
        return self.see(self._replica, version, deltas, late=late)

    def see(
        self, replica: Replica, version: int, deltas: Sequence[Delta], *, late: bool = False
    ) -> list[Delivery]:
        """Returns the deliveries which a version makes due that somebody else has joined.

        Args:
            replica: The state after it.
            version: Its number.
            deltas: Its deltas.
            late: It came after the final report, and is no part of the state.
        """
        if late or self._finalized:
            return []
        found: list[tuple[str, str | None, dict[str, Any]]] = []
        for name in dict.fromkeys(name for delta in deltas for name in delta.nodes):
            if replica.declares(name):
                found += self._nodes.setdefault(name, _Node(name)).look(replica)
        if not self._initialized:
            self._initialized = replica.initialized
            found = []  # a node which is reused has ended before
        if replica.report is not None:
            self._finalized = True
            for name in replica.nodes():
                found += self._nodes.setdefault(name, _Node(name)).look(replica)
            values = {
                "report": Report.from_dict(replica.report),
                "state": State(replica.copy().document()),
            }
            found.append((FINALIZE, None, values))
        return [
            Delivery(self._pipeline_id, version, part, event, node, values)
            for part, (event, node, values) in enumerate(found, 1)
        ]


class _Node:
    """How far the attempts of one node were told."""

    def __init__(self, name: str):
        self._name = name
        self._told = (0, "")
        self._before: Mapping[str, Any] | None = None
        self._waiting: tuple[int, str, Mapping[str, Any]] | None = None

    def look(self, replica: Replica) -> list[tuple[str, str | None, dict[str, Any]]]:
        outcome, record = replica.outcome(self._name), replica.node(self._name)
        attempt, status = outcome.attempt, outcome.status
        found: list[tuple[str, str | None, dict[str, Any]]] = []
        if self._waiting is not None and self._waiting[0] < attempt:
            # Dagster never said a word of it, and the next attempt says that it has ended.
            found += self._tell()
        if status == "executing" or self._before is None:
            self._before = record
        if status in _ENDED and attempt > 0 and self._told != (attempt, status):
            self._waiting = (attempt, status, record)
            if replica.report is not None or replica.settled(self._name) >= attempt:
                found += self._tell()
        return found

    def _tell(self) -> list[tuple[str, str | None, dict[str, Any]]]:
        assert self._waiting is not None
        attempt, status, record = self._waiting
        before = record if self._before is None else self._before
        self._waiting, self._told, self._before = None, (attempt, status), record
        values = {
            "node_id": record["node_id"],
            "previous_state": NodeState.from_dict(before),
            "current_state": NodeState.from_dict(record),
        }
        return [(EXECUTE, self._name, values)]


@dataclass(frozen=True)
class Position:
    """How far one hook was told of one execution.

    Args:
        version: The newest version of which something was delivered, or passed over.
        part: How many deliveries of that version were made.
        attempts: How often the next delivery failed.
        retry_at: When it may be tried again, Unix seconds.
        done: Everything was delivered.
    """

    version: int = 0
    part: int = 0
    attempts: int = 0
    retry_at: float = 0.0
    done: bool = False

    def is_before(self, delivery: Delivery) -> bool:
        """Tells whether a delivery is still to be made."""
        return (delivery.version, delivery.part) > (self.version, self.part)


@dataclass(frozen=True)
class Made:
    """A delivery which was made, as the ledger keeps it.

    Args:
        delivery: The delivery.
        identity: Its id for the hook.
        called_at: Unix seconds.
        outcome: What it came to.
        milliseconds: How long it took.
        detail: What more is known.
    """

    delivery: Delivery
    identity: str
    called_at: float
    outcome: str
    milliseconds: float
    detail: Mapping[str, Any] | None


class OutboxStore(Protocol):
    """Where positions and the ledger of one execution are kept."""

    def begin(
        self, active: ActiveHook, delivery: Delivery, identity: str, position: Position
    ) -> int:
        """Notes that a delivery is being made, and which attempt; returns the call's number."""
        ...

    def end(
        self,
        active: ActiveHook,
        call: int,
        outcome: str,
        milliseconds: float,
        detail: Mapping[str, Any] | None,
        position: Position,
    ) -> None:
        """Notes what a delivery came to, and with it where its hook stands now."""
        ...

    def begin_turn(self, active: ActiveHook, position: Position) -> None:
        """Notes that deliveries are being made, as an attempt of the first of them."""
        ...

    def end_turn(self, active: ActiveHook, made: Sequence[Made], position: Position) -> None:
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
        milliseconds: How long it took.
    """

    outcome: str
    position: Position
    error: str | None
    log: Sequence[tuple[int, str]]
    milliseconds: float = 0.0


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
            after = _after(delivery)
            detail = {"problem": "each time its process ended in the middle of it"}
            self.store.end(active, call, "dead", 0.0, detail, after)
            return Delivered("dead", after, detail["problem"], ())
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
        delivered, detail = self._came_to(active, position, attempts, delivery, called)
        milliseconds, after = called.milliseconds, delivered.position
        self.store.end(active, call, delivered.outcome, milliseconds, detail, after)
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
        identities = [delivery.identity(active.key) for delivery in deliveries]
        calls = call_in_turn(
            active,
            deliveries[0].event,
            [(each.values, name) for each, name in zip(deliveries, identities, strict=True)],
            pipeline_id=deliveries[0].pipeline_id,
            begin=self.begin,
            redact=self.redact,
            limit=limit,
        )
        told: list[Delivered] = []
        made: list[Made] = []
        for delivery, identity, called in zip(deliveries, identities, calls, strict=False):
            delivered, detail = self._came_to(active, position, 1, delivery, called)
            position = delivered.position
            told.append(delivered)
            made.append(
                Made(
                    delivery,
                    identity,
                    called.called_at,
                    delivered.outcome,
                    called.milliseconds,
                    detail,
                )
            )
        self.store.end_turn(active, made, position)
        return told

    def _came_to(
        self,
        active: ActiveHook,
        position: Position,
        attempts: int,
        delivery: Delivery,
        called: Called,
    ) -> tuple[Delivered, dict[str, Any] | None]:
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
        return Delivered(outcome, after, error, called.log, called.milliseconds), detail


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
