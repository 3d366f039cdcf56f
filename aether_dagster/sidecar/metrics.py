"""What `/metrics` says: how the sidecar fares, and nothing of the state."""

from collections import deque

from aether_dagster.protocol.pace import Margin, percentile

_SAMPLES = 1000


class Metrics:
    """Counts since the sidecar was started.

    Args:
        margin: What is measured of the event loop.
    """

    def __init__(self, margin: Margin):
        self.connections = 0
        self.versions = 0
        self.tail_failures = 0
        self._margin = margin
        self._frames = 0
        self._flushes = 0
        self._seconds: deque[float] = deque([0.0], maxlen=_SAMPLES)

    def flushed(self, frames: int, seconds: float) -> None:
        """Counts a flush."""
        self._frames += frames
        self._flushes += 1
        self._seconds.append(seconds)

    def text(self, *, clients: int, half_open: int, turned_away: int, streams: int) -> str:
        """Returns Prometheus' text format."""
        values: dict[str, tuple[str, float]] = {
            "clients": ("gauge", clients),
            "half_open_connections": ("gauge", half_open),
            "streams": ("gauge", streams),
            "clients_total": ("counter", self.connections),
            "connections_turned_away_total": ("counter", turned_away),
            "versions_total": ("counter", self.versions),
            "frames_total": ("counter", self._frames),
            "flushes_total": ("counter", self._flushes),
            "tail_failures_total": ("counter", self.tail_failures),
            "flush_seconds_p99": ("gauge", percentile(self._seconds)),
            "margin_seconds": ("gauge", self._margin.seconds),
        }
        lines: list[str] = []
        for name, (kind, value) in values.items():
            lines.append(f"# TYPE aetherscript_sidecar_{name} {kind}")
            lines.append(f"aetherscript_sidecar_{name} {value:g}")
        return "\n".join(lines) + "\n"
