"""Which files the versions of an execution amount to: a pure projection of the journal (spec 3)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aether_dagster.snapshot.format import render_final, render_node, render_state
from aether_dagster.snapshot.naming import FINAL, INIT, attempt_name, node_final_name
from aether_dagster.state import Authority, Delta, Evidence, NodeDelta, Replica
from aether_dagster.state.machine import TERMINAL

_ENDED = TERMINAL | {"retrying"}


@dataclass(frozen=True)
class SnapshotFile:
    """A file to be written.

    Args:
        name: Its name in the execution's folder.
        data: Its whole content.
        version: The journal's version at which it became due.
    """

    name: str
    data: bytes
    version: int


class Projection:
    """Folds the versions of one execution, in order, into the files of its folder.

    The same versions give the same files with the same bytes, whoever folds them and when.

    - `state_init.json` when initialization has ended.
    - `_attemptN` once, when the end of attempt N is known. An output which was handled is not
      yet an end, for Dagster can still fail the step: `succeeded` waits for its word.
    - `_final` when Dagster has said how the node's last attempt ended, or at finalization.
    - `state_final.json` at finalization; nothing afterwards, whatever comes late.

    A node which was succeeded when initialization ended is reused (`--resume`) and has no files.
    """

    def __init__(self) -> None:
        self._replica = Replica()
        self._nodes: dict[str, _NodeFiles] = {}
        self._initialized = False
        self._finalized = False

    def fold(self, version: int, deltas: Iterable[Delta]) -> list[SnapshotFile]:
        """Joins one version and returns the files which it makes due, in their order.

        Args:
            version: Its number.
            deltas: Its deltas, with their clocks.
        """
        deltas = tuple(deltas)
        if not self._finalized:
            for delta in deltas:
                self._replica.apply(delta)
        return self.see(self._replica, version, deltas)

    def see(self, replica: Replica, version: int, deltas: Iterable[Delta]) -> list[SnapshotFile]:
        """Returns the files which a version makes due that somebody else has joined.

        Args:
            replica: The state after it.
            version: Its number.
            deltas: Its deltas, with their clocks.
        """
        if self._finalized:
            return []
        files: list[tuple[str, bytes]] = []
        touched: dict[str, None] = {}
        for delta in deltas:
            for name in delta.nodes:
                self._nodes.setdefault(name, _NodeFiles(name)).note(delta)
                touched[name] = None
        if not replica.initialized:
            return []
        initialized, self._initialized = self._initialized, True
        if not initialized:
            files.append((INIT, render_state(replica.document())))
            self._forget_reused(replica)
        report = replica.report
        # One version touches few of many nodes; all are looked at in the end alone.
        names = replica.nodes() if report is not None or not initialized else touched
        for name in names:
            if name in self._nodes and replica.declares(name):
                files += self._nodes[name].due(replica)
        if report is not None:
            self._finalized = True
            files.append((FINAL, render_final(replica.document(), report)))
        return [SnapshotFile(name, data, version) for name, data in files]

    def _forget_reused(self, replica: Replica) -> None:
        for name in replica.nodes():
            if replica.outcome(name).status == "succeeded":
                self._nodes[name].reused = True


class _NodeFiles:
    """What is known of a node's attempts one by one, and which files it has had.

    The replica's record shows the newest attempt alone; the end of an older one may become known
    after a newer one began.
    """

    __slots__ = ("_attempts", "_evidence", "_final", "_name", "_reports", "reused")

    def __init__(self, name: str) -> None:
        self.reused = False
        self._name = name
        self._reports: dict[int, list[Delta]] = {}
        self._evidence: dict[int, Evidence] = {}
        self._attempts: set[int] = set()
        self._final = False

    def note(self, delta: Delta) -> None:
        node = delta.nodes[self._name]
        if node.evidence:
            self._evidence = {**node.evidence, **self._evidence}
        if node.outcome is not None and node.outcome.attempt not in self._attempts:
            self._reports.setdefault(node.outcome.attempt, []).append(delta)

    def due(self, replica: Replica) -> Iterator[tuple[str, bytes]]:
        if self.reused:
            return
        node_id: str = replica.node(self._name)["node_id"]
        last = replica.outcome(self._name)
        settled = last.attempt if replica.report is not None else replica.settled(self._name)
        rendered: tuple[Mapping[str, Any], bytes] | None = None
        for attempt in range(1, last.attempt + 1):
            if attempt in self._attempts:
                continue
            if attempt == last.attempt and not self._evidence:
                # Nothing has happened after it, so that what is in force is of this attempt alone.
                record = replica.node(self._name)
            else:
                record = self._record(attempt, node_id)
            if _is_due(attempt, record["status"], settled):
                self._attempts.add(attempt)
                self._reports.pop(attempt, None)  # it is told
                rendered = record, render_node(record)
                yield attempt_name(node_id, attempt), rendered[1]
        if not self._final and settled >= last.attempt > 0 and last.status in TERMINAL:
            self._final = True
            record = replica.node(self._name)
            # After a last attempt of which all is known, both files say the same.
            if rendered is None or rendered[0] != record:
                rendered = record, render_node(record)
            yield node_final_name(node_id), rendered[1]

    def _record(self, attempt: int, node_id: str) -> Mapping[str, Any]:
        """Returns the record as it would be had nothing after that attempt happened."""
        evidence = dict(_until(attempt, self._evidence))
        declared = NodeDelta(node_id=node_id, index=0, evidence=evidence)
        alone = Replica()
        alone.apply(Delta("", Authority.RECONCILIATION, clock=0, nodes={self._name: declared}))
        for delta in self._reports.get(attempt, ()):
            reported = replace(delta.nodes[self._name], evidence={})
            alone.apply(replace(delta, nodes={self._name: reported}))
        return alone.node(self._name)


def _is_due(attempt: int, status: str, settled: int) -> bool:
    return status in _ENDED and (status != "succeeded" or attempt <= settled)


def _until(attempt: int, evidence: dict[int, Evidence]) -> Iterator[tuple[int, Evidence]]:
    retries = 0
    for event_id, event in sorted(evidence.items()):
        yield event_id, event
        retries += event.kind == "retry"
        if retries == attempt:
            return
