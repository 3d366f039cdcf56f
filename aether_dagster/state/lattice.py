"""The join semilattice of a node: registers with stamps, and what they amount to (spec 1.5).

Values here are never changed: `join` returns the least one which knows what both knew, so joins
may come in any order and any number of times. `NodeLattice.record` is a function of the joined
fields alone.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
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
_NEVER_STARTED = Outcome(0, NodeStatus.PENDING.value)
_NO_EVIDENCE: Mapping[int, Evidence] = MappingProxyType({})


class Register(NamedTuple, Generic[T]):
    """A value and the stamp under which it was written."""

    stamp: Stamp
    value: T


def greater(a: Register[T] | None, b: Register[T] | None) -> Register[T] | None:
    """Returns the register with the greater stamp: the join of two registers."""
    if a is None or b is None:
        return b if a is None else a
    if a.stamp != b.stamp:
        return a if a.stamp > b.stamp else b
    return a if a.value is b.value else max(a, b, key=lambda register: text(register.value))


def write_once(a: T | None, b: T | None) -> T | None:
    """Returns the value which was written: the join of two write-once values.

    A second, different write is a writer's error; join still gives one answer in any order.
    """
    if a is None or b is None:
        return b if a is None else a
    return a if a is b else max(a, b, key=text)


def first_report(a: Mapping[str, Any] | None, b: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the report of the earlier version: a second finalization came too late."""
    return b if a is None else min(a, b, key=lambda report: (report["version"], text(report)))


def text(value: Any) -> str:
    """Returns a text which two values share only where a reader cannot tell them apart."""
    return json.dumps(value, separators=(",", ":"), default=lambda part: part.to_json())


def outcome_stamp(outcome: Outcome, authority: int, clock: int, delta_id: str) -> Stamp:
    """Returns the stamp of an outcome."""
    return Stamp(outcome.attempt, RANK[outcome.status], authority, clock, delta_id)


def observation(evidence: Mapping[int, Evidence]) -> Register[Outcome] | None:
    """Returns the greatest outcome which events of Dagster's log amount to, by event id."""
    best: Register[Outcome] | None = None
    attempt = 1
    started: float | None = None
    for event_id, event in sorted(evidence.items()):
        if event.kind in ("start", "restart"):
            started = event.time
        seconds = 0.0 if started is None else max(0.0, round(event.time - started, 3))
        outcome = Outcome(
            attempt,
            _STATUS_OF_EVIDENCE[event.kind].value,
            error=None if event.error is None else _error(event.error, attempt),
            execution_time=seconds,
        )
        stamp = outcome_stamp(outcome, Authority.RECONCILIATION, event_id, f"dagster:{event_id}")
        best = greater(best, Register(stamp, outcome))
        if event.kind == "retry":
            # Dagster's terminal events do not carry the attempt: it is 1 + the retries before.
            attempt += 1
            started = None
    return best


class NodeLattice(NamedTuple):
    """One node: what was declared, reported and observed of it.

    Attributes:
        declared: Index and node id, written once when the execution is initialized.
        outcome: The greatest reported outcome.
        input: The greatest reported input; its stamp has no rank.
        worker: Who runs the greatest attempt; its stamp has no rank.
        settled: The greatest attempt of which Dagster said how it ended.
        evidence: All events seen in Dagster's log.
        observed: What the evidence amounts to.
    """

    declared: tuple[int, str] | None = None
    outcome: Register[Outcome] | None = None
    input: Register[Mapping[str, Any] | None] | None = None
    worker: Register[str] | None = None
    settled: int = 0
    evidence: Mapping[int, Evidence] = _NO_EVIDENCE
    observed: Register[Outcome] | None = None

    def current(self) -> Outcome:
        """Returns the outcome in force: the greatest of what was reported and observed."""
        register = greater(self.outcome, self.observed)
        return _NEVER_STARTED if register is None else register.value

    def record(self) -> dict[str, Any]:
        """Returns the Node State object. A newer attempt masks every field of older ones."""
        now = self.current()
        given = self.input
        return {
            "node_id": None if self.declared is None else self.declared[1],
            "status": now.status,
            "input_payload": given.value if given and given.stamp.attempt == now.attempt else None,
            "output_payload": now.output_payload,
            "error": now.error,
            "retry_count": max(0, now.attempt - 1),
            "execution_time": now.execution_time,
        }


class Knowledge(NamedTuple):
    """What can be known of an execution: the elements which replicas join."""

    pipeline: Mapping[str, Any] | None
    context: Mapping[str, Any] | None
    report: Mapping[str, Any] | None
    nodes: Mapping[str, NodeLattice]
    artifacts: Mapping[str, Register[str | None]]


def singleton(delta: Delta) -> Knowledge:
    """Returns what one delta says."""
    clock = delta.clock or 0
    # Artifacts are ordered by their versions alone: a transaction which read the journal's head
    # and deletes what a step wrote there has the last word.
    stamp = Stamp(0, 0, Authority.STEP, clock, delta.id)
    return Knowledge(
        delta.pipeline,
        delta.context,
        # The report's own version is the clock which its delta was committed at.
        None if delta.report is None else {**delta.report, "version": clock},
        {name: _node(node, delta, clock) for name, node in delta.nodes.items()},
        {name: Register(stamp, value) for name, value in delta.artifacts.items()},
    )


def join(a: NodeLattice, b: NodeLattice) -> NodeLattice:
    """Returns the least element which knows all that `a` and `b` know."""
    evidence, observed = a.evidence, a.observed
    if b.evidence and b.evidence is not evidence:
        evidence = {**evidence, **b.evidence}
        for event_id in a.evidence.keys() & b.evidence.keys():
            evidence[event_id] = max(a.evidence[event_id], b.evidence[event_id], key=text)
        observed = observation(evidence)
    return NodeLattice(
        write_once(a.declared, b.declared),
        greater(a.outcome, b.outcome),
        greater(a.input, b.input),
        greater(a.worker, b.worker),
        max(a.settled, b.settled),
        evidence,
        observed,
    )


def _node(node: NodeDelta, delta: Delta, clock: int) -> NodeLattice:
    reported: Register[Outcome] | None = None
    given: Register[Mapping[str, Any] | None] | None = None
    worker: Register[str] | None = None
    if node.outcome is not None:
        stamp = outcome_stamp(node.outcome, delta.authority, clock, delta.id)
        reported = Register(stamp, node.outcome)
        if node.has_input or node.worker is not None:
            # An attempt has one input and one worker, whichever of its statuses reported them.
            unranked = stamp._replace(rank=0)
            given = Register(unranked, node.input_payload) if node.has_input else None
            worker = None if node.worker is None else Register(unranked, node.worker)
    return NodeLattice(
        declared=None if node.node_id is None else (node.index or 0, node.node_id),
        outcome=reported,
        input=given,
        worker=worker,
        settled=node.settled,
        evidence=node.evidence,
        observed=observation(node.evidence) if node.evidence else None,
    )


def _error(error: Mapping[str, Any], attempt: int) -> dict[str, Any]:
    placed = {"type": error.get("type"), "message": error.get("message"), "attempt": attempt}
    return placed | {key: value for key, value in error.items() if key not in placed}
