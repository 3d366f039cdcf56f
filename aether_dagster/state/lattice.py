"""The join semilattice of a node: registers with stamps, and what they amount to (spec 1.5).

Every field here only grows under `join`, so joins may come in any order and any number of times.
`record` is a function of the joined fields alone.
"""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from aether_dagster.state.delta import Authority, Delta, Evidence, NodeDelta, Outcome, Stamp
from aether_dagster.state.machine import RANK
from aethersdk.state import NodeStatus

T = TypeVar("T")

_STATUS_OF_EVIDENCE = {
    "start": NodeStatus.EXECUTING,
    "restart": NodeStatus.EXECUTING,
    "retry": NodeStatus.RETRYING,
    "success": NodeStatus.SUCCEEDED,
    "failure": NodeStatus.FAILED,
}


class Register(NamedTuple, Generic[T]):
    """A value and the stamp under which it was written."""

    stamp: Stamp
    value: T


def greater(a: Register[T] | None, b: Register[T] | None) -> Register[T] | None:
    """Returns the register with the greater stamp: the join of two registers."""
    if a is None or b is None:
        return b if a is None else a
    return b if b.stamp > a.stamp else a


def outcome_stamp(outcome: Outcome, authority: int, clock: int, delta_id: str) -> Stamp:
    """Returns the stamp of an outcome."""
    return Stamp(outcome.attempt, RANK[outcome.status], authority, clock, delta_id)


class NodeLattice:
    """One node: what was declared, reported and observed of it.

    Attributes:
        node_id, index: Set when the execution is initialized.
        outcome: The greatest reported outcome.
        input: The greatest reported input.
        settled: The greatest attempt of which Dagster said how it ended.
        worker: Who runs the greatest attempt.
        evidence: All events seen in Dagster's log.
    """

    __slots__ = (
        "_observed",
        "evidence",
        "index",
        "input",
        "node_id",
        "outcome",
        "settled",
        "worker",
    )

    def __init__(self) -> None:
        self.node_id: str | None = None
        self.index: int | None = None
        self.outcome: Register[Outcome] | None = None
        self.input: Register[Mapping[str, Any] | None] | None = None
        self.settled = 0
        self.worker: Register[str] | None = None
        self.evidence: dict[int, Evidence] = {}
        self._observed: Register[Outcome] | None = None

    def apply(self, node: NodeDelta, delta: Delta, clock: int) -> None:
        """Joins what a delta says of this node."""
        if node.node_id is not None:
            self._declare(node.node_id, node.index)
        outcome = node.outcome
        if outcome is not None:
            stamp = outcome_stamp(outcome, delta.authority, clock, delta.id)
            self.outcome = greater(self.outcome, Register(stamp, outcome))
            unranked = stamp._replace(rank=0)
            if node.has_input:
                self.input = greater(self.input, Register(unranked, node.input_payload))
            if node.worker is not None:
                self.worker = greater(self.worker, Register(unranked, node.worker))
        self.settled = max(self.settled, node.settled)
        if node.evidence:
            self._observe(node.evidence)

    def join(self, other: "NodeLattice") -> None:
        """Joins another replica's node into this one."""
        if other.node_id is not None:
            self._declare(other.node_id, other.index)
        self.outcome = greater(self.outcome, other.outcome)
        self.input = greater(self.input, other.input)
        self.worker = greater(self.worker, other.worker)
        self.settled = max(self.settled, other.settled)
        if other.evidence:
            self._observe(other.evidence)

    def current(self) -> Outcome:
        """Returns the outcome in force: the greatest of what was reported and observed."""
        register = greater(self.outcome, self._observed)
        return Outcome(0, NodeStatus.PENDING.value) if register is None else register.value

    def record(self) -> dict[str, Any]:
        """Returns the Node State object. A newer attempt masks every field of older ones."""
        now = self.current()
        has_input = self.input is not None and self.input.stamp.attempt == now.attempt
        return {
            "node_id": self.node_id,
            "status": now.status,
            "input_payload": self.input.value if self.input and has_input else None,
            "output_payload": now.output_payload,
            "error": now.error,
            "retry_count": max(0, now.attempt - 1),
            "execution_time": now.execution_time,
        }

    def _declare(self, node_id: str, index: int | None) -> None:
        # Written once; two different declarations are a writer's error, but join must still
        # give the same answer in any order.
        if self.node_id is None or (node_id, index or 0) > (self.node_id, self.index or 0):
            self.node_id, self.index = node_id, index

    def _observe(self, evidence: Mapping[int, Evidence]) -> None:
        for event_id, event in evidence.items():
            self.evidence.setdefault(event_id, event)
        self._observed = _greatest_observation(self.evidence)


def _greatest_observation(evidence: Mapping[int, Evidence]) -> Register[Outcome] | None:
    best: Register[Outcome] | None = None
    retries = 0
    started: float | None = None
    for event_id, event in sorted(evidence.items()):
        # Dagster's terminal events do not carry the attempt: it is 1 + the retries before.
        attempt = retries + 1
        if event.kind in ("start", "restart"):
            started = event.time
        ended = event.kind in ("retry", "success", "failure")
        seconds = round(event.time - started, 3) if ended and started is not None else 0.0
        outcome = Outcome(
            attempt,
            _STATUS_OF_EVIDENCE[event.kind].value,
            error=None if event.error is None else {**event.error, "attempt": attempt},
            execution_time=max(0.0, seconds),
        )
        stamp = outcome_stamp(outcome, Authority.RECONCILIATION, event_id, f"dagster:{event_id}")
        best = greater(best, Register(stamp, outcome))
        if event.kind == "retry":
            retries += 1
            started = None
    return best
