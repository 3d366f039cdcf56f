"""A replica: the join of the deltas which it has been given, and its state document."""

from collections.abc import Iterable, Mapping
from typing import Any

from aether_dagster.state.delta import Delta, Outcome
from aether_dagster.state.document import NODE_FIELDS, PIPELINE_FIELDS
from aether_dagster.state.lattice import (
    Knowledge,
    NodeLattice,
    Register,
    first_report,
    greater,
    join,
    singleton,
    write_once,
)
from aether_dagster.state.mask import Path, same

_UNKNOWN = NodeLattice()


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
        self._last: tuple[int, str] = (-1, "")
        self._in_order = True

    def apply(self, delta: Delta) -> frozenset[Path]:
        """Joins a delta.

        Returns:
            The leaves of the state document which it changed, as paths.
        """
        return self._join(singleton(delta))

    def fold(self, deltas: Iterable[Delta]) -> None:
        """Joins many deltas as `apply` does, and is not asked which leaves they changed."""
        before: dict[str, NodeLattice | None] = {}
        for delta in deltas:
            said = singleton(delta)
            self._join_whole(said)
            for name, node in said.nodes.items():
                before.setdefault(name, self._join_node(name, node))
        for name, known in before.items():
            self._show(name, known)

    def join(self, other: "Replica") -> frozenset[Path]:
        """Joins all that another replica knows; returns the leaves which changed."""
        return self._join(other.knowledge())

    def knowledge(self) -> Knowledge:
        """Returns all that this replica knows, a view which follows it."""
        return Knowledge(self._pipeline, self._context, self._report, self._nodes, self._artifacts)

    def copy(self) -> "Replica":
        """Returns an independent replica which knows the same; costs a few bytes per node."""
        other = Replica()
        other.version = self.version
        other._pipeline, other._context, other._report = self._pipeline, self._context, self._report
        other._nodes = dict(self._nodes)
        other._artifacts = dict(self._artifacts)
        other._records = dict(self._records)
        other._last, other._in_order = self._last, self._in_order
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

    @property
    def context(self) -> dict[str, Any]:
        """The Execution Context, members in the documented order."""
        context = self._context or {}
        return {
            "environment_vars": dict(sorted(_variables(context).items())),
            "secret_store": context.get("secret_store"),
            "active_plugins": list(context.get("active_plugins", ())),
            "artifacts": self.artifacts(),
        }

    def nodes(self) -> list[str]:
        """Returns the declared nodes' names, in topological order."""
        return list(self._ordered_records())

    def node(self, name: str) -> Mapping[str, Any]:
        """Returns the Node State of a declared node; raises KeyError for another."""
        return self._records[name]

    def declares(self, name: str) -> bool:
        """Tells whether a node's declaration is known here."""
        return name in self._records

    def outcome(self, name: str) -> Outcome:
        """Returns how a node's newest attempt stands; pending, attempt 0, if it has none."""
        return self._nodes.get(name, _UNKNOWN).current()

    def settled(self, name: str) -> int:
        """Returns the newest attempt of which Dagster has said how it ended, or 0."""
        return self._nodes.get(name, _UNKNOWN).settled

    def worker(self, name: str) -> str | None:
        """Returns the identity of the process which runs the node's newest attempt."""
        node = self._nodes.get(name, _UNKNOWN)
        if node.worker is None or node.worker.stamp.attempt != node.current().attempt:
            return None
        return node.worker.value

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
        pipeline = self._pipeline
        return {
            "pipeline": {key: pipeline[key] for key in PIPELINE_FIELDS} if pipeline else {},
            "nodes": dict(self._ordered_records()),
            "context": self.context,
        }

    def _join(self, other: Knowledge) -> frozenset[Path]:
        changed = self._join_whole(other)
        for name, node in other.nodes.items():
            changed |= self._show(name, self._join_node(name, node))
        return frozenset(changed)

    def _join_whole(self, other: Knowledge) -> set[Path]:
        """Joins what is known beside the nodes."""
        changed: set[Path] = set()
        if other.pipeline is not None:
            changed |= self._join_pipeline(other.pipeline)
        if other.context is not None:
            changed |= self._join_context(other.context)
        if other.report is not None:
            self._report = first_report(self._report, other.report)
        for name, register in other.artifacts.items():
            changed |= self._join_artifact(name, register)
        return changed

    def _join_pipeline(self, pipeline: Mapping[str, Any]) -> set[Path]:
        before = self._pipeline or {}
        after = self._pipeline = write_once(self._pipeline, pipeline) or {}
        return {
            ("pipeline", key)
            for key in PIPELINE_FIELDS
            if key not in before or not same(before[key], after[key])
        }

    def _join_context(self, context: Mapping[str, Any]) -> set[Path]:
        before = self._context or {}
        after = self._context = write_once(self._context, context) or {}
        changed: set[Path] = set()
        if before.get("secret_store") != after.get("secret_store"):
            changed.add(("context", "secret_store"))
        if list(before.get("active_plugins", ())) != list(after.get("active_plugins", ())):
            changed.add(("context", "active_plugins"))
        old, new = _variables(before), _variables(after)
        for key in old.keys() | new.keys():
            if old.get(key) != new.get(key):
                changed.add(("context", "environment_vars", key))
        return changed

    def _join_artifact(self, name: str, register: Register[str | None]) -> set[Path]:
        before = self.artifact(name)
        after = greater(self._artifacts.get(name), register) or register
        self._artifacts[name] = after
        return {("context", "artifacts", name)} if before != after.value else set()

    def _join_node(self, name: str, node: NodeLattice) -> NodeLattice | None:
        """Joins what is known of a node, and returns what was known before; see `_show`."""
        known = self._nodes.get(name)
        self._nodes[name] = node if known is None else join(known, node)
        return known

    def _show(self, name: str, known: NodeLattice | None) -> set[Path]:
        """Makes a node's record anew, of which `known` was known when it was made last."""
        joined = self._nodes[name]
        if joined.declared is None:
            return set()
        before, after = self._records.get(name), joined.record()
        self._records[name] = after
        if before is None:
            self._place((joined.declared[0], name))
            return {("nodes", name, key) for key in NODE_FIELDS}
        if known is not None and known.declared != joined.declared:
            self._in_order = False
        return {("nodes", name, key) for key in NODE_FIELDS if not same(before[key], after[key])}

    def _place(self, place: tuple[int, str]) -> None:
        # Nodes are nearly always declared in order. Where not, they are put in order once, when
        # somebody reads them: declaring n nodes must not cost n sorts.
        if place < self._last:
            self._in_order = False
        else:
            self._last = place

    def _ordered_records(self) -> dict[str, dict[str, Any]]:
        if not self._in_order:
            places = sorted((_index(self._nodes[name]), name) for name in self._records)
            self._records = {name: self._records[name] for _, name in places}
            self._last, self._in_order = places[-1], True
        return self._records


def _index(node: NodeLattice) -> int:
    return 0 if node.declared is None else node.declared[0]


def _variables(context: Mapping[str, Any]) -> Mapping[str, str]:
    return context.get("environment_vars", {})
