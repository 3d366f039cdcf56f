"""The list of executions as a document which is followed like any other (spec 4)."""

from collections.abc import Iterable, Mapping
from typing import Any

from aether_dagster.journal import ExecutionRecord
from aether_dagster.protocol import Hub, Pace
from aether_dagster.protocol.hub import Encode
from aether_dagster.sidecar.metrics import Metrics
from aether_dagster.sidecar.stream import ExecutionStream, Stream
from aether_dagster.state.mask import Path

FIELDS = ("name", "status", "start_timestamp", "nodes")
LISTED = 1000
"""So many of the newest executions are listed; each older one can be followed by its id."""


class ListStream(Stream):
    """The stream of the list.

    Args:
        records: The newest executions; those which were never initialized are left out.
        now: Unix seconds.
        encode: Makes text of a message.
        pace: When frames are due.
        metrics: Takes the counts.
    """

    def __init__(
        self,
        records: Iterable[ExecutionRecord],
        *,
        now: float,
        encode: Encode,
        pace: Pace,
        metrics: Metrics,
    ):
        super().__init__(Hub(None, encode, pace, since=now), pace, metrics)
        self._entries: dict[str, dict[str, Any]] = {}
        listed = [record for record in records if record.head > 0]
        for record in sorted(listed, key=lambda record: record.pipeline_id):
            self._entries[record.pipeline_id] = _entry(record)
        self.hub.commit(self._read, (), version=0, committed_at=now, now=0.0)

    @property
    def newest(self) -> str | None:
        """The id of the newest execution; None where there is none."""
        return next(reversed(self._entries), None)

    def show(self, stream: ExecutionStream) -> None:
        """Brings the entry of an execution up to date."""
        record = stream.record
        entry = {
            "name": record.pipeline,
            "status": stream.status,
            "start_timestamp": record.created_at,
            "nodes": dict(stream.counts),
        }
        before = self._entries.get(record.pipeline_id)
        changed = {key for key in FIELDS if before is None or before[key] != entry[key]}
        paths: list[Path] = [("executions", record.pipeline_id, key) for key in changed]
        self._entries[record.pipeline_id] = entry
        if before is None:
            ordered = sorted(self._entries.items())
            self._entries = dict(ordered[-LISTED:])
            if record.pipeline_id not in self._entries:
                return  # an old one which somebody looks at
            paths += [("executions", name) for name, _ in ordered[:-LISTED]]
        if paths:
            self._changed(paths, stream.hub.committed_at)

    def keep(self, present: Iterable[str]) -> None:
        """Takes out what was pruned: all which are not present any more."""
        gone = self._entries.keys() - set(present)
        for pipeline_id in gone:
            del self._entries[pipeline_id]
        if gone:
            self._changed([("executions", name) for name in gone], self.hub.committed_at)

    def _changed(self, paths: Iterable[Path], committed_at: float) -> None:
        # Executions are committed one beside the other; a cursor only goes forward.
        at = max(committed_at, self.hub.committed_at)
        self.commit(self._read, paths, version=0, committed_at=at)

    def _read(self) -> Mapping[str, Any]:
        return {"executions": self._entries}


def _entry(record: ExecutionRecord) -> dict[str, Any]:
    return {
        "name": record.pipeline,
        # The journal calls an execution pending until something summarizes it.
        "status": "executing" if record.status == "pending" else record.status,
        "start_timestamp": record.created_at,
        "nodes": dict(record.nodes),
    }
