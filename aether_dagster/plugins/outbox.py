"""Deliveries of `post_` events: what the versions of a journal amount to, and who was told of it.

At least once, in order, each with an id which is the same when it is repeated (spec 5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aether_dagster.state import Delta, Replica
from aether_dagster.state.machine import TERMINAL
from aethersdk import NodeState, Report, State

EXECUTE = "post_node_execute"
FINALIZE = "post_state_finalize"
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
        attempts: How often the next delivery was begun, or a turn which begins with it.
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
