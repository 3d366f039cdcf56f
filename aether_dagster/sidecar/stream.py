"""Streams: a hub, its clients, and the timer by which they are given what changed."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aether_dagster.journal import ExecutionRecord, Version
from aether_dagster.protocol import Hub, Pace
from aether_dagster.protocol.hub import Encode
from aether_dagster.protocol.messages import EXECUTING
from aether_dagster.sidecar.client import Client, send_all
from aether_dagster.sidecar.metrics import Metrics
from aether_dagster.state import Replica
from aether_dagster.state.mask import Path


class Stream:
    """A document which is followed.

    Args:
        hub: Of the document.
        pace: The hub's, whose margin is measured here.
        metrics: Takes the counts.
    """

    def __init__(self, hub: Hub, pace: Pace, metrics: Metrics):
        self.hub = hub
        self.clients: dict[Client, None] = {}
        self.touched = 0.0
        self._pace = pace
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        # A handle of uvloop cannot always say when it is due.
        self._due = float("inf")
        self._timer: asyncio.TimerHandle | None = None
        self._lag = 0.0
        self._committed: float | None = None

    def add(self, client: Client) -> None:
        """Takes a client in; its first frame goes out when it takes one."""
        self.clients[client] = None
        client.session.attach(self.hub)
        client.send(self._loop.time())

    def remove(self, client: Client) -> None:
        """Lets a client go."""
        self.clients.pop(client, None)

    def commit(
        self,
        read: Callable[[], Mapping[str, Any]],
        paths: Iterable[Path],
        *,
        version: int,
        committed_at: float,
        lag: float = 0.0,
        final: bool = False,
    ) -> None:
        """Gives a change to the hub, and its frame a time.

        Args:
            read: Gives the document.
            paths: What changed.
            version: The journal's.
            committed_at: Unix seconds.
            lag: Seconds for which it is known already.
            final: Nothing comes after it.
        """
        now = self._loop.time()
        self._lag = max(self._lag, lag)
        if self._committed is None:
            self._committed = committed_at
        self.hub.commit(
            read, paths, version=version, committed_at=committed_at, now=now, final=final
        )
        self._arm()

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        due = self.hub.due()
        if due is None or self._due <= due:
            return
        self.close()
        self._due = due
        self._timer = self._loop.call_at(due, self._flush, due)

    def _flush(self, due: float) -> None:
        self._timer, self._due = None, float("inf")
        now = self._loop.time()
        self.hub.flush(now)
        frames = send_all(self.clients, now, final=self.hub.final)
        after = self._loop.time()
        self._pace.margin.observe(flush=after - now, lag=max(0.0, now - due) + self._lag)
        self._lag = 0.0
        if self._committed is not None and frames:
            self._metrics.sent(max(0.0, time.time() - self._committed))
        self._committed = None
        self._metrics.flushed(frames, after - now)
        self._arm()


class ExecutionStream(Stream):
    """The stream of one execution, which folds its versions.

    Args:
        record: The execution, with its document.
        replica: Its state at a version.
        started: When the running attempts of its nodes were committed, at that version.
        since: When that version was committed; minus infinity for version 0.
        encode: Makes text of a message.
        pace: When frames are due.
        metrics: Takes the counts.
    """

    def __init__(
        self,
        record: ExecutionRecord,
        replica: Replica,
        started: dict[str, float],
        *,
        since: float,
        encode: Encode,
        pace: Pace,
        metrics: Metrics,
    ):
        super().__init__(Hub(record.pipeline_id, encode, pace, since=since), pace, metrics)
        self.record = record
        self.replica = replica
        self.counts: dict[str, int] = {}
        self._statuses: dict[str, str] = {}
        self._started = started
        self.hub.started = started
        for name in replica.nodes():
            self._tally(name)

    @property
    def status(self) -> str:
        """`executing`, or how the execution ended."""
        report = self.replica.report
        return EXECUTING if report is None else str(report.get("status", "failed"))

    def feed(self, version: Version, *, lag: float = 0.0) -> None:
        """Folds the next version; one which was folded already, or came late, changes nothing."""
        if version.number <= self.replica.version:
            return
        self.replica.version = version.number
        if version.late:
            return
        paths: set[Path] = set()
        for delta in version.deltas:
            paths |= self.replica.apply(delta)
        self._note(paths, version.committed_at)
        final = self.replica.report is not None
        if final:
            # Whatever still says that it executes has stopped.
            self._started.clear()
        self.commit(
            self.replica.document,
            paths,
            version=version.number,
            committed_at=version.committed_at,
            lag=lag,
            final=final,
        )

    def _note(self, paths: Iterable[Path], committed_at: float) -> None:
        for path in paths:
            if path[0] == "nodes" and path[2] in ("status", "retry_count"):
                if self._tally(path[1]) == EXECUTING:
                    self._started[path[1]] = committed_at
                else:
                    self._started.pop(path[1], None)

    def _tally(self, name: str) -> str:
        """Counts a node in its present status, which it returns."""
        before, status = self._statuses.get(name), str(self.replica.node(name)["status"])
        if before != status:
            self._statuses[name] = status
            self.counts[status] = self.counts.get(status, 0) + 1
            if before is not None:
                self.counts[before] -= 1
                if not self.counts[before]:
                    del self.counts[before]
        return status
