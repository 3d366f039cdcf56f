"""Deltas: what a writer reports, small enough to be joined in any order (spec 1.5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal, NamedTuple, Self

EvidenceKind = Literal["start", "restart", "retry", "success", "failure"]


class Authority(IntEnum):
    """Who reports. It stands before the clock in a stamp: a logical clock of ours and an event
    id of Dagster's cannot be compared, and Dagster's events hold neither payloads nor artifacts.
    """

    RECONCILIATION = 1
    RUN = 2
    STEP = 3


class Stamp(NamedTuple):
    """Orders the writes to one register; join keeps the greater.

    `rank` is the status' rank inside its attempt, 0 where the register holds no status.
    """

    attempt: int
    rank: int
    authority: int
    clock: int
    delta_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt stands. The four travel under one stamp, or records would tear.

    Args:
        attempt: From 1; 0 where the node never started.
        status: One of the five statuses.
        execution_time: Seconds, 0.0 until the attempt ends.
        value: Reference to the stored value of a succeeded attempt; beside the document, which
            shows the value itself where it is small.
    """

    attempt: int
    status: str
    output_payload: Any = None
    error: Mapping[str, Any] | None = None
    execution_time: float = 0.0
    value: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object whose members are this class's arguments."""
        record = {
            "attempt": self.attempt,
            "status": self.status,
            "output_payload": self.output_payload,
            "error": self.error,
            "execution_time": self.execution_time,
        }
        return record if self.value is None else record | {"value": self.value}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One step event of Dagster's log. Which attempt it ended is a function of all of them.

    Args:
        kind: What the event says of the step.
        error: `type`, `message` and more, where it is a failure or a retry.
        time: When Dagster logged it, Unix seconds.
    """

    kind: EvidenceKind
    error: Mapping[str, Any] | None = None
    time: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object whose members are this class's arguments."""
        return {"kind": self.kind, "error": self.error, "time": self.time}


@dataclass(frozen=True, slots=True)
class NodeDelta:
    """What a delta says of one node; any part may be missing.

    Args:
        node_id: Set once, with `index`, when the execution is initialized.
        index: Place in the topological order of the whole document.
        outcome: How an attempt stands.
        input_payload: The resolved arguments of `outcome.attempt`; `has_input` says if given.
        settled: The attempt of which Dagster has said how it ended.
        worker: Identity of the process which runs `outcome.attempt`.
        evidence: Events of Dagster's log by their event id.
    """

    node_id: str | None = None
    index: int | None = None
    outcome: Outcome | None = None
    input_payload: Mapping[str, Any] | None = None
    has_input: bool = False
    settled: int = 0
    worker: str | None = None
    evidence: Mapping[int, Evidence] = field(default_factory=dict[int, Evidence])

    def __post_init__(self) -> None:
        if self.outcome is None and (self.has_input or self.worker is not None):
            raise ValueError("an input or a worker belongs to an attempt: give the outcome too")

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object which `from_json` takes; what is missing is left out."""
        record: dict[str, Any] = {}
        if self.node_id is not None:
            record["node_id"] = self.node_id
            record["index"] = self.index
        if self.outcome is not None:
            record["outcome"] = self.outcome.to_json()
        if self.has_input:
            record["input_payload"] = self.input_payload
        if self.settled:
            record["settled"] = self.settled
        if self.worker is not None:
            record["worker"] = self.worker
        if self.evidence:
            record["evidence"] = {str(k): e.to_json() for k, e in sorted(self.evidence.items())}
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Takes what `to_json` gave."""
        outcome = record.get("outcome")
        return cls(
            node_id=record.get("node_id"),
            index=record.get("index"),
            outcome=None if outcome is None else Outcome(**outcome),
            input_payload=record.get("input_payload"),
            has_input="input_payload" in record,
            settled=record.get("settled", 0),
            worker=record.get("worker"),
            evidence={int(k): Evidence(**e) for k, e in record.get("evidence", {}).items()},
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """One report on one execution.

    Args:
        id: The same report has the same id; a journal keeps the first of each.
        authority: Who reports.
        actor: For people: `runtime`, `dagster`, or a plugin's `Name@version`.
        clock: Logical time; None until the journal commits it and gives it its version's number.
        pipeline: The Pipeline State, written once.
        context: `environment_vars`, `secret_store` and `active_plugins`, written once.
        nodes: What is said of nodes, by step name.
        artifacts: Name to path or URI; None deletes.
        report: The final report; the execution is finalized with it.
    """

    id: str
    authority: Authority
    actor: str = "runtime"
    clock: int | None = None
    pipeline: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    nodes: Mapping[str, NodeDelta] = field(default_factory=dict[str, NodeDelta])
    artifacts: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    report: Mapping[str, Any] | None = None

    def at(self, clock: int) -> "Delta":
        """Returns this delta with its clock set, unless it has one already."""
        return self if self.clock is not None else replace(self, clock=clock)

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object which `from_json` takes; what is missing is left out."""
        record: dict[str, Any] = {
            "id": self.id,
            "authority": int(self.authority),
            "actor": self.actor,
            "clock": self.clock,
        }
        if self.pipeline is not None:
            record["pipeline"] = self.pipeline
        if self.context is not None:
            record["context"] = self.context
        if self.nodes:
            record["nodes"] = {name: node.to_json() for name, node in self.nodes.items()}
        if self.artifacts:
            record["artifacts"] = dict(self.artifacts)
        if self.report is not None:
            record["report"] = self.report
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Takes what `to_json` gave."""
        return cls(
            id=record["id"],
            authority=Authority(record["authority"]),
            actor=record["actor"],
            clock=record["clock"],
            pipeline=record.get("pipeline"),
            context=record.get("context"),
            nodes={k: NodeDelta.from_json(v) for k, v in record.get("nodes", {}).items()},
            artifacts=record.get("artifacts", {}),
            report=record.get("report"),
        )
