"""A replica: the join of the deltas which it has been given, and its state document."""

import json
from collections.abc import Mapping
from typing import Any

from aether_dagster.state.delta import Authority, Delta, Outcome, Stamp
from aether_dagster.state.document import NODE_FIELDS, PIPELINE_FIELDS
from aether_dagster.state.lattice import NodeLattice, Register, greater

Path = tuple[str, ...]


class Replica:
    """The state of one execution as far as this replica knows it.

    `apply` takes deltas in any order and any number of times; replicas which were given the same
    deltas have the same document. Values handed out are shared and must not be changed.

    Attributes:
        version: The last version folded into it; whoever folds versions sets it.
    """

    def __init__(self) -> None:
        self.version = 0
        self._pipeline: Mapping[str, Any] | None = None
        self._context: Mapping[str, Any] | None = None
        self._report: Mapping[str, Any] | None = None
        self._nodes: dict[str, NodeLattice] = {}
        self._artifacts: dict[str, Register[str | None]] = {}
        self._records: dict[str, dict[str, Any]] = {}

    def apply(self, delta: Delta) -> frozenset[Path]:
        """Joins a delta.

        Returns:
            The leaves of the state document which it changed, as paths.
        """
        clock = delta.clock or 0
        changed: set[Path] = set()
        if delta.pipeline is not None:
            changed |= self._write_pipeline(delta.pipeline)
        if delta.context is not None:
            changed |= self._write_context(delta.context)
        if delta.report is not None:
            # The report's own version is the clock which its delta was committed at.
            self._report = _canonical_max(self._report, {**delta.report, "version": clock})
        for name, node in delta.nodes.items():
            lattice = self._nodes.get(name)
            if lattice is None:
                lattice = self._nodes[name] = NodeLattice()
            lattice.apply(node, delta, clock)
            changed |= self._refresh(name, lattice)
        stamp = Stamp(0, 0, Authority.STEP, clock, delta.id)
        for name, value in delta.artifacts.items():
            changed |= self._write_artifact(name, Register(stamp, value))
        return frozenset(changed)

    def join(self, other: "Replica") -> frozenset[Path]:
        """Joins all that another replica knows; returns the leaves which changed."""
        changed: set[Path] = set()
        if other._pipeline is not None:
            changed |= self._write_pipeline(other._pipeline)
        if other._context is not None:
            changed |= self._write_context(other._context)
        if other._report is not None:
            self._report = _canonical_max(self._report, other._report)
        for name, theirs in other._nodes.items():
            ours = self._nodes.get(name)
            if ours is None:
                ours = self._nodes[name] = NodeLattice()
            ours.join(theirs)
            changed |= self._refresh(name, ours)
        for name, register in other._artifacts.items():
            changed |= self._write_artifact(name, register)
        return frozenset(changed)

    def copy(self) -> "Replica":
        """Returns an independent replica which knows the same."""
        other = Replica()
        other.join(self)
        other.version = self.version
        return other

    @property
    def initialized(self) -> bool:
        """Whether the execution's initialization is known here."""
        return self._pipeline is not None

    @property
    def report(self) -> Mapping[str, Any] | None:
        """The final report, once the execution is finalized."""
        return self._report

    @property
    def pipeline(self) -> Mapping[str, Any]:
        """The Pipeline State; empty before initialization."""
        return self._pipeline or {}

    def nodes(self) -> list[str]:
        """Returns the declared nodes' names, in topological order."""
        return list(self._records)

    def node(self, name: str) -> Mapping[str, Any]:
        """Returns the Node State of a declared node; raises KeyError for another."""
        return self._records[name]

    def outcome(self, name: str) -> Outcome:
        """Returns how a node's newest attempt stands; pending, attempt 0, if it has none."""
        lattice = self._nodes.get(name)
        return Outcome(0, "pending") if lattice is None else lattice.current()

    def settled(self, name: str) -> int:
        """Returns the newest attempt of which Dagster has said how it ended, or 0."""
        lattice = self._nodes.get(name)
        return 0 if lattice is None else lattice.settled

    def worker(self, name: str) -> str | None:
        """Returns the identity of the process which runs the node's newest attempt."""
        lattice = self._nodes.get(name)
        if lattice is None or lattice.worker is None:
            return None
        now = lattice.current()
        return lattice.worker.value if lattice.worker.stamp.attempt == now.attempt else None

    def artifact(self, name: str) -> str | None:
        """Returns an artifact's path or URI, or None where there is none."""
        register = self._artifacts.get(name)
        return None if register is None else register.value

    def artifacts(self) -> dict[str, str]:
        """Returns all artifacts, by code point of their names."""
        return {
            name: register.value
            for name, register in sorted(self._artifacts.items())
            if register.value is not None
        }

    def document(self) -> dict[str, Any]:
        """Returns the state document, members in the documented order."""
        context = self._context or {}
        variables: Mapping[str, str] = context.get("environment_vars", {})
        return {
            "pipeline": {key: self._pipeline[key] for key in PIPELINE_FIELDS}
            if self._pipeline
            else {},
            "nodes": dict(self._records),
            "context": {
                "environment_vars": dict(sorted(variables.items())),
                "secret_store": context.get("secret_store"),
                "active_plugins": list(context.get("active_plugins", ())),
                "artifacts": self.artifacts(),
            },
        }

    def _write_pipeline(self, pipeline: Mapping[str, Any]) -> set[Path]:
        before, self._pipeline = self._pipeline, _canonical_max(self._pipeline, pipeline)
        return {
            ("pipeline", key)
            for key in PIPELINE_FIELDS
            if before is None or before[key] != self._pipeline[key]
        }

    def _write_context(self, context: Mapping[str, Any]) -> set[Path]:
        before, self._context = self._context or {}, _canonical_max(self._context, context)
        after = self._context
        changed: set[Path] = {
            ("context", key)
            for key in ("secret_store", "active_plugins")
            if before.get(key) != after[key] or not before
        }
        old: Mapping[str, str] = before.get("environment_vars", {})
        new: Mapping[str, str] = after["environment_vars"]
        changed |= {
            ("context", "environment_vars", key)
            for key in old.keys() | new.keys()
            if old.get(key) != new.get(key)
        }
        return changed

    def _write_artifact(self, name: str, register: Register[str | None]) -> set[Path]:
        before = self._artifacts.get(name)
        after = greater(before, register)
        if after is None or after is before:
            return set()
        self._artifacts[name] = after
        value = None if before is None else before.value
        return {("context", "artifacts", name)} if value != after.value else set()

    def _refresh(self, name: str, lattice: NodeLattice) -> set[Path]:
        if lattice.node_id is None:
            return set()
        before, after = self._records.get(name), lattice.record()
        self._records[name] = after
        if before is None:
            self._sort_last()
            return {("nodes", name, key) for key in NODE_FIELDS}
        return {("nodes", name, key) for key in NODE_FIELDS if before[key] != after[key]}

    def _sort_last(self) -> None:
        # Nodes are nearly always declared in order; then the new one is where it belongs.
        names = list(self._records)
        if len(names) > 1 and self._place(names[-2]) > self._place(names[-1]):
            names.sort(key=self._place)
            self._records = {name: self._records[name] for name in names}

    def _place(self, name: str) -> tuple[int, str]:
        return (self._nodes[name].index or 0, name)


def _canonical_max(a: Mapping[str, Any] | None, b: Mapping[str, Any]) -> Mapping[str, Any]:
    # Write-once: a second, different write is a writer's error. Join still has to be a function.
    return b if a is None or _text(b) > _text(a) else a


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
