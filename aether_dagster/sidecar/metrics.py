"""What `/metrics` says: how the sidecar and what it follows fare, and nothing of the state."""

from collections import deque
from collections.abc import Mapping

from aether_dagster.journal import Figures
from aether_dagster.protocol.pace import BOUND, Margin, percentile
from aether_dagster.sidecar.exposition import CONTENT_TYPE, Histogram, sample, samples, text
from aethersdk.state import NodeStatus

__all__ = ["CONTENT_TYPE", "Metrics"]

_SAMPLES = 1000
_LATENCIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, BOUND, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Those which an execution may have; each is told, so that a query finds a zero and not nothing.
_STATUSES = ("pending", "executing", "succeeded", "failed", "cancelled", "refused")
_PREFIX = "aetherscript_sidecar"


class Metrics:
    """Counts since the sidecar was started.

    Args:
        margin: What is measured of the event loop.
    """

    def __init__(self, margin: Margin):
        self.connections = 0
        self.tail_failures = 0
        self._margin = margin
        self._versions = 0
        self._frames = 0
        self._flushes = 0
        self._seconds: deque[float] = deque([0.0], maxlen=_SAMPLES)
        self._seen = Histogram(_LATENCIES)
        self._sent = Histogram(_LATENCIES)

    def seen(self, seconds: float) -> None:
        """Counts a version, so many seconds after its commit."""
        self._versions += 1
        self._seen.observe(seconds)

    def sent(self, seconds: float) -> None:
        """Counts a frame which clients were sent, so long after its oldest change's commit."""
        self._sent.observe(seconds)

    def flushed(self, frames: int, seconds: float) -> None:
        """Counts a flush."""
        self._frames += frames
        self._flushes += 1
        self._seconds.append(seconds)

    def text(
        self,
        *,
        clients: int,
        half_open: int,
        turned_away: int,
        streams: int,
        ready: bool,
        nodes: Mapping[str, int],
        figures: Figures | None,
        now: float,
    ) -> str:
        """Returns Prometheus' text format.

        Args:
            clients: How many are connected.
            half_open: Connections which are not yet clients.
            turned_away: How many of those were cut off for others.
            streams: Executions which are followed.
            ready: Whether the journal could be read just now.
            nodes: Nodes of executions which go on, by status.
            figures: The journal's; None where they could not be read.
            now: Unix seconds.
        """
        families = [
            sample("aetherscript_up", "gauge", "Whether the journal can be read.", int(ready)),
            *_of_journal(figures, now),
            samples(
                "aetherscript_nodes",
                "gauge",
                "Nodes of executions which go on, by status.",
                "status",
                {status.value: nodes.get(status.value, 0) for status in NodeStatus},
            ),
            self._seen.lines(
                "aetherscript_commit_seen_seconds",
                "From the commit of a version to its arrival at the sidecar.",
            ),
            self._sent.lines(
                "aetherscript_commit_sent_seconds",
                "From the commit of a change to the sending of the frame which holds it.",
            ),
            *self._of_sidecar(clients, half_open, turned_away, streams),
        ]
        return text(families)

    def _of_sidecar(
        self, clients: int, half_open: int, turned_away: int, streams: int
    ) -> list[list[str]]:
        gauges: list[tuple[str, float, str]] = [
            ("clients", clients, "Live clients."),
            ("half_open_connections", half_open, "Connections which are not yet clients."),
            ("streams", streams, "Executions which are followed."),
            ("flush_seconds_p99", percentile(self._seconds), "What giving frames out takes."),
            ("margin_seconds", self._margin.seconds, "What is kept of the bound for sending."),
        ]
        counters: list[tuple[str, float, str]] = [
            ("connections_total", self.connections, "Clients since the start."),
            ("connections_turned_away_total", turned_away, "Half-open ones cut off for others."),
            ("versions_total", self._versions, "Versions which were read."),
            ("frames_total", self._frames, "Frames which were sent."),
            ("flushes_total", self._flushes, "Moments at which frames were given out."),
            ("tail_failures_total", self.tail_failures, "Reads of the journal which failed."),
        ]
        return [
            *(sample(f"{_PREFIX}_{name}", "gauge", told, value) for name, value, told in gauges),
            *(sample(f"{_PREFIX}_{name}", "counter", told, v) for name, v, told in counters),
        ]


def _of_journal(figures: Figures | None, now: float) -> list[list[str]]:
    if figures is None:
        return []
    counts = {status: figures.executions.get(status, 0) for status in _STATUSES}
    waiting = figures.waiting
    return [
        samples(
            "aetherscript_executions",
            "gauge",
            "Executions in the journal, by status.",
            "status",
            {**counts, **figures.executions},
        ),
        samples(
            "aetherscript_hook_waiting_executions",
            "gauge",
            "Executions of which a state hook was not told everything yet.",
            "hook",
            {hook: found.executions for hook, found in waiting.items()},
        ),
        samples(
            "aetherscript_hook_lag_seconds",
            "gauge",
            "Age of the oldest version of which a state hook was not told yet.",
            "hook",
            {hook: max(0.0, now - found.since) for hook, found in waiting.items()},
        ),
    ]
