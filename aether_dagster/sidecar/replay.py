"""Replay: the versions of a past execution, in their own time or faster (spec 4, issue 4)."""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aether_dagster.errors import StateError, UnknownExecution
from aether_dagster.journal import ExecutionRecord, Figures, Tail, Version
from aether_dagster.sidecar.source import Source, load
from aether_dagster.sidecar.stream import ExecutionStream
from aether_dagster.state import Replica

_AT_ONCE = 1000
_CURSOR = "r"


async def play(
    stream: ExecutionStream,
    read: Callable[[int, int], Awaitable[list[Version]]],
    *,
    head: int,
    speed: float,
) -> None:
    """Feeds a stream with the versions after its own, at a speed.

    Args:
        stream: Of the execution, which has the version where the replay begins.
        read: Gives the versions after one, up to another.
        head: The version at which it ends.
        speed: How many times as fast as it was.
    """
    loop = asyncio.get_running_loop()
    began, origin = loop.time(), stream.hub.committed_at
    while stream.replica.version < head:
        after = stream.replica.version
        for version in await read(after, min(after + _AT_ONCE, head)):
            due = began + (version.committed_at - origin) / speed
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            stream.feed(version)


class Replay:
    """A source in which one execution happens once more; it begins when `begin` is called.

    Has the readers of a journal; what has not happened yet is not there.

    Args:
        record: The execution.
        versions: All of its versions.
        speed: How many times as fast as it was.
        clock: Seconds which only go forward.
    """

    def __init__(
        self,
        record: ExecutionRecord,
        versions: Sequence[Version],
        speed: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._record = record
        self._versions = versions
        self._speed = speed
        self._clock = clock
        self._began: float | None = None
        self._wake = threading.Event()

    @staticmethod
    def of(source: Source, pipeline_id: str, speed: float) -> "Replay":
        """Reads an execution whole.

        Raises:
            UnknownExecution: There is none of that id, or it was never initialized.
        """
        record = load(source, pipeline_id).record
        return Replay(record, source.versions(pipeline_id), speed)

    @property
    def pipeline_id(self) -> str:
        """The execution."""
        return self._record.pipeline_id

    def begin(self) -> None:
        """Begins, unless it has begun."""
        if self._began is None:
            self._began = self._clock()
            self._wake.set()

    def executions(self, limit: int | None = None) -> list[ExecutionRecord]:  # noqa: ARG002
        """See `Journal.executions`: the one there is."""
        return [replace(self.record(self._record.pipeline_id), document=None)]

    def record(self, pipeline_id: str) -> ExecutionRecord:
        """See `Journal.record`: as it was at the version which is played."""
        self._check(pipeline_id)
        head = self._head()
        finalized = self._record.finalized
        if finalized is not None and finalized <= head:
            return replace(self._record, head=head)
        return replace(
            self._record, head=head, status="executing", nodes={}, finalized=None, ended_at=None
        )

    def replica(self, pipeline_id: str, version: int | None = None) -> Replica:
        """See `Journal.replica`."""
        head = self._head()
        target = head if version is None else version
        if not 0 <= target <= head:
            raise StateError(f"Version {target} was not played yet; {head} was.")
        replica = Replica()
        for found in self.versions(pipeline_id, 0, target):
            for delta in () if found.late else found.deltas:
                replica.apply(delta)
            replica.version = found.number
        return replica

    def versions(self, pipeline_id: str, after: int = 0, upto: int | None = None) -> list[Version]:
        """See `Journal.versions`."""
        self._check(pipeline_id)
        head = self._head()
        return list(self._versions[after : head if upto is None else min(upto, head)])

    def tail(self, after: str | None = None, timeout: float | None = None) -> Tail:
        """See `Journal.tail`: waits for the moment of the next version."""
        version = 0 if after is None else int(after.removeprefix(_CURSOR))
        until = math.inf if timeout is None else self._clock() + timeout
        while self._head() <= version:
            left = min(self._due(version), until) - self._clock()
            if left <= 0 and self._clock() >= until:
                break
            self._wake.wait(max(0.0, left)) if self._began is None else time.sleep(max(0.0, left))
        found = list(self._versions[version : self._head()])
        return Tail(found, f"{_CURSOR}{version + len(found)}")

    def cursor(self) -> str:
        """See `Journal.cursor`."""
        return f"{_CURSOR}{self._head()}"

    def figures(self) -> Figures:
        """See `Journal.figures`: of the one there is; a replay calls no hooks."""
        return Figures({self.record(self._record.pipeline_id).status: 1})

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, pipeline_id: str) -> None:
        if pipeline_id != self._record.pipeline_id:
            raise UnknownExecution(pipeline_id, [self._record.pipeline_id])

    def _head(self) -> int:
        """The newest version which was played; the first is there from the start."""
        now = self._clock()
        low, high = 1, len(self._versions)
        while low < high:
            middle = (low + high + 1) // 2
            if self._due(middle - 1) <= now:
                low = middle
            else:
                high = middle - 1
        return low

    def _due(self, index: int) -> float:
        if self._began is None or index >= len(self._versions):
            return math.inf
        first = self._versions[0].committed_at
        return self._began + (self._versions[index].committed_at - first) / self._speed
