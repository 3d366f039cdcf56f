"""What somebody who watches an execution wants to know, kept up to date from its changes."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aether_dagster.manager import Change
from aether_dagster.state import Replica

ENDED = frozenset({"succeeded", "failed"})
_SHOWN = frozenset({"status", "retry_count", "error"})


@dataclass(frozen=True)
class NodeProgress:
    """How one node stands.

    Args:
        name: The step's id.
        status: One of the five statuses.
        attempt: From 1; 0 where it never started.
        execution_time: Seconds of the ended attempt.
        error: The node's error, if it has one.
        since: When its attempt started, by the watcher's own clock.
        changed: Place in the order of all changes; the greatest is the latest.
        reused: Whether its output was taken over from the execution which this one resumes.
    """

    name: str
    status: str = "pending"
    attempt: int = 0
    execution_time: float = 0.0
    error: Mapping[str, Any] | None = None
    since: float = 0.0
    changed: int = 0
    reused: bool = False

    @property
    def shown(self) -> str:
        """Its status in the word which people read."""
        return "reused" if self.reused else self.status

    @property
    def skipped(self) -> bool:
        """Whether it is known that it will not start."""
        return self.status == "pending" and self.error is not None

    def seconds(self, now: float) -> float:
        """Returns how long its attempt took, or has taken until `now`."""
        return now - self.since if self.status == "executing" else self.execution_time


class Progress:
    """The nodes of an execution as far as its changes have been seen.

    Args:
        clock: Monotonic seconds, for what has elapsed on running nodes.

    Attributes:
        pipeline_id: The execution's id, empty until it is initialized.
        nodes: All nodes by name, in topological order.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.pipeline_id = ""
        self.nodes: dict[str, NodeProgress] = {}
        self._clock = clock
        self._changes = 0

    def observe(self, change: Change) -> list[NodeProgress]:
        """Takes a change in; returns the nodes whose status, attempt or error is another now."""
        replica = change.replica
        begins = not self.pipeline_id and replica.initialized
        if begins:
            self.pipeline_id = replica.pipeline["id"]
        names = {
            path[1]
            for path in change.paths
            if len(path) == 3 and path[0] == "nodes" and path[2] in _SHOWN
        }
        if names.difference(self.nodes):
            self.nodes = {
                name: self.nodes.get(name, NodeProgress(name)) for name in replica.nodes()
            }
        # Where one change touches several nodes, they are told in topological order.
        touched = [name for name in self.nodes if name in names] if len(names) > 1 else names
        found = (self._update(name, replica, begins=begins) for name in touched)
        return [node for node in found if node is not None]

    def counts(self) -> dict[str, int]:
        """Returns how many nodes have each status that occurs."""
        return Counter(node.status for node in self.nodes.values())

    def _update(self, name: str, replica: Replica, *, begins: bool) -> NodeProgress | None:
        before, record = self.nodes[name], replica.node(name)
        status = record["status"]
        attempt = 0 if status == "pending" else record["retry_count"] + 1
        after = replace(
            before,
            status=status,
            attempt=attempt,
            execution_time=record["execution_time"],
            error=record["error"],
            reused=before.reused or (begins and status == "succeeded"),
        )
        if after == before:
            return None
        self._changes += 1
        started = status == "executing" and (before.status != status or before.attempt != attempt)
        after = replace(
            after, changed=self._changes, since=self._clock() if started else before.since
        )
        self.nodes[name] = after
        return after
