"""The streams which are open: those with clients, and those which something happens in."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from aether_dagster.journal import Version
from aether_dagster.protocol import Pace
from aether_dagster.protocol.hub import Encode
from aether_dagster.sidecar.listing import LISTED, ListStream
from aether_dagster.sidecar.metrics import Metrics
from aether_dagster.sidecar.source import Loaded, Source, TailThread, load
from aether_dagster.sidecar.stream import ExecutionStream

T = TypeVar("T")

# How many executions without clients are kept folded.
_IDLE = 64
# At the start, so many of the newest executions are looked at whether they still run.
_LOOKED_AT = 20
# The tail does not tell what was pruned; seconds between looks.
_PRUNED_SECONDS = 60.0


class Streams:
    """All streams of a sidecar.

    Args:
        source: Where executions come from.
        pace: When frames are due.
        encode: Makes text of a message.
        metrics: Takes the counts.
        readers: Where the source is read, outside the event loop.

    Attributes:
        newest_changed: Called when there is a newer execution than before.
    """

    def __init__(
        self,
        source: Source,
        *,
        pace: Pace,
        encode: Encode,
        metrics: Metrics,
        readers: Executor,
    ):
        self._source = source
        self._pace = pace
        self._encode = encode
        self._metrics = metrics
        self._readers = readers
        self.newest_changed: Callable[[ExecutionStream], None] = _nobody_waits
        self._open: dict[str, ExecutionStream] = {}
        self._opening: dict[str, asyncio.Task[ExecutionStream]] = {}
        self._early: dict[str, list[Version]] = {}
        self._looked = 0.0
        self._tail: TailThread | None = None
        self._listing: ListStream | None = None

    @property
    def listing(self) -> ListStream:
        """The stream of the list of executions."""
        assert self._listing is not None
        return self._listing

    def __len__(self) -> int:
        return len(self._open)

    @property
    def silence(self) -> float:
        """For how many seconds the source was not read; infinite before the start."""
        return math.inf if self._tail is None else self._tail.silence

    def running_nodes(self) -> Counter[str]:
        """Counts the nodes of the executions which are followed and have not ended, by status."""
        counts = Counter[str]()
        for stream in self._open.values():
            if not stream.hub.final:
                counts.update(stream.counts)
        return counts

    async def start(self) -> None:
        """Reads the list and begins to follow the source; nothing is folded for it."""
        cursor = await self.read(self._source.cursor)
        records = await self.read(self._source.executions, LISTED)
        self._listing = ListStream(
            records,
            now=time.time(),
            encode=self._encode,
            pace=self._pace,
            metrics=self._metrics,
        )
        self._looked = time.monotonic()
        self._tail = TailThread(self._source, cursor, self._deliver, self._tail_failed)
        self._tail.start()
        for record in records[:_LOOKED_AT]:
            if record.finalized is None and record.head > 0:
                self._begin(record.pipeline_id)

    async def stop(self) -> None:
        """Ends the tail and the timers."""
        if self._tail is not None:
            await asyncio.to_thread(self._tail.stop)
        for task in self._opening.values():
            task.cancel()
        for stream in self._open.values():
            stream.close()
        if self._listing is not None:
            self._listing.close()

    async def read(self, function: Callable[..., T], *arguments: object) -> T:
        """Calls a function which reads the source, outside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, function, *arguments)

    async def execution(self, pipeline_id: str) -> ExecutionStream:
        """Returns the stream of an execution.

        Raises:
            UnknownExecution: There is none, or it was never initialized.
            JournalError: The source cannot be read.
        """
        stream = self._open.get(pipeline_id)
        if stream is None:
            stream = await asyncio.shield(self._begin(pipeline_id))
        stream.touched = time.monotonic()
        return stream

    def look_after(self) -> None:
        """Is called every second: lets go of what nobody looks at, looks for what was pruned."""
        now = time.monotonic()
        idle = [stream for stream in self._open.values() if not stream.clients]
        idle.sort(key=lambda stream: (not stream.hub.final, stream.touched))
        for stream in idle[: max(0, len(idle) - _IDLE)]:
            stream.close()
            del self._open[stream.record.pipeline_id]
        if self.listing.clients and now - self._looked > _PRUNED_SECONDS:
            self._looked = now
            looking = asyncio.ensure_future(self._look_for_pruned())
            looking.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _look_for_pruned(self) -> None:
        listed = self.listing.newest
        records = await self.read(self._source.executions, LISTED)
        # What began meanwhile is in the list already, or will be by the tail.
        newer = (record.pipeline_id for record in records)
        since = [name for name in self._open if listed is None or name > listed]
        self.listing.keep([*newer, *since])

    def _begin(self, pipeline_id: str) -> "asyncio.Task[ExecutionStream]":
        task = self._opening.get(pipeline_id)
        if task is None:
            task = asyncio.ensure_future(self._load(pipeline_id))
            self._opening[pipeline_id] = task
            # Where nobody waits for it, its error is nobody's either.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    async def _load(self, pipeline_id: str) -> ExecutionStream:
        # What the tail brings from now on is kept, so that no version falls between.
        self._early[pipeline_id] = []
        try:
            loaded = await self.read(load, self._source, pipeline_id)
            stream = self._stream(loaded)
            for version in (*loaded.versions, *self._early[pipeline_id]):
                stream.feed(version)
            self._open[pipeline_id] = stream
        finally:
            del self._early[pipeline_id], self._opening[pipeline_id]
        self._show(stream)
        return stream

    def _stream(self, loaded: Loaded) -> ExecutionStream:
        return ExecutionStream(
            loaded.record,
            loaded.replica,
            loaded.started,
            since=loaded.since,
            encode=self._encode,
            pace=self._pace,
            metrics=self._metrics,
        )

    def _deliver(self, versions: Sequence[Version]) -> None:
        now = time.time()
        touched: dict[str, ExecutionStream] = {}
        for version in versions:
            self._metrics.seen(max(0.0, now - version.committed_at))
            name = version.pipeline_id
            if name in self._early:
                self._early[name].append(version)
            elif name in self._open:
                stream = touched[name] = self._open[name]
                stream.feed(version, lag=min(1.0, max(0.0, now - version.committed_at)))
            elif not version.late:
                self._begin(name)
        for stream in touched.values():
            stream.touched = time.monotonic()
            self._show(stream)

    def _show(self, stream: ExecutionStream) -> None:
        before = self.listing.newest
        self.listing.show(stream)
        if self.listing.newest != before:
            self.newest_changed(stream)

    def _tail_failed(self) -> None:
        self._metrics.tail_failures += 1


def _nobody_waits(stream: ExecutionStream) -> None:
    """What happens at a new execution until somebody wants to know."""
