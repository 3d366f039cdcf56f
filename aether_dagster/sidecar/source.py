"""Where executions come from: a journal's readers, a tail in a thread, and how one is loaded."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aether_dagster.errors import JournalError, UnknownExecution
from aether_dagster.journal import ExecutionRecord, Figures, Tail, Version
from aether_dagster.protocol.messages import EXECUTING
from aether_dagster.state import Replica

# How long one wait for the journal takes at most, in seconds; a wake-up ends it at once.
_WAIT = 0.5
# A client which was away for no more versions than this gets what changed, not a snapshot.
_REMEMBERED = 1000


class Source(Protocol):
    """What is read of a journal; a replay has the same face."""

    def executions(self, limit: int | None = None) -> list[ExecutionRecord]:
        """See `Journal.executions`."""
        ...

    def record(self, pipeline_id: str) -> ExecutionRecord:
        """See `Journal.record`."""
        ...

    def replica(self, pipeline_id: str, version: int | None = None) -> Replica:
        """See `Journal.replica`."""
        ...

    def versions(self, pipeline_id: str, after: int = 0, upto: int | None = None) -> list[Version]:
        """See `Journal.versions`."""
        ...

    def tail(self, after: str | None = None, timeout: float | None = None) -> Tail:
        """See `Journal.tail`."""
        ...

    def cursor(self) -> str:
        """See `Journal.cursor`."""
        ...

    def figures(self) -> Figures:
        """See `Journal.figures`."""
        ...

    def close(self) -> None:
        """See `Journal.close`."""
        ...


@dataclass(frozen=True)
class Loaded:
    """An execution as it was read from its source.

    Args:
        record: With its document.
        replica: Its state some versions ago.
        since: When that version was committed; minus infinity for version 0.
        started: When the attempts which were running then had been committed, by node.
        versions: Those which came after.
    """

    record: ExecutionRecord
    replica: Replica
    since: float = float("-inf")
    started: dict[str, float] = field(default_factory=dict[str, float])
    versions: Sequence[Version] = ()


def load(source: Source, pipeline_id: str) -> Loaded:
    """Reads an execution: its state some versions ago, and what came after.

    Raises:
        UnknownExecution: There is none of that id, or it was never initialized.
        JournalError: The journal cannot be read.
    """
    record = source.record(pipeline_id)
    if record.head == 0:
        raise UnknownExecution(pipeline_id)
    base = max(0, record.head - _REMEMBERED)
    if base == 0:
        return Loaded(record, Replica(), versions=source.versions(pipeline_id))
    replica = source.replica(pipeline_id, base)
    return Loaded(
        record,
        replica,
        since=source.versions(pipeline_id, base - 1, base)[0].committed_at,
        started=started_times(source, replica, pipeline_id),
        versions=source.versions(pipeline_id, base),
    )


def started_times(source: Source, replica: Replica, pipeline_id: str) -> dict[str, float]:
    """Returns when the running attempt of each executing node was committed, in Unix seconds."""
    started: dict[str, float] = {}
    known = replica.knowledge().nodes
    for name in replica.nodes():
        if replica.node(name)["status"] != EXECUTING:
            continue
        reported = known[name].outcome
        if reported is not None and reported.value == replica.outcome(name):
            # The clock of a report is the version which it was committed as.
            clock = reported.stamp.clock
            started[name] = source.versions(pipeline_id, clock - 1, clock)[0].committed_at
        else:
            started[name] = max(event.time for event in known[name].evidence.values())
    return started


class TailThread:
    """Follows a source in a thread of its own, and gives what is new to an event loop.

    Args:
        source: What is followed.
        cursor: Where to begin.
        deliver: Called in the loop with each batch.
        failed: Called in the loop when the source cannot be read; it is tried again.
    """

    def __init__(
        self,
        source: Source,
        cursor: str,
        deliver: Callable[[Sequence[Version]], None],
        failed: Callable[[], None],
    ):
        self._source = source
        self._cursor = cursor
        self._deliver = deliver
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._read_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)

    @property
    def silence(self) -> float:
        """For how many seconds the source was not read."""
        return time.monotonic() - self._read_at

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, at the latest after half a second."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                tail = self._source.tail(self._cursor, timeout=_WAIT)
            except JournalError:
                # It may answer later; clients keep what they have meanwhile.
                self._call(self._failed)
                self._stop.wait(_WAIT)
                continue
            self._cursor = tail.cursor
            self._read_at = time.monotonic()
            if tail.versions:
                self._call(self._deliver, tail.versions)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._stop.is_set():
            self._loop.call_soon_threadsafe(function, *arguments)
