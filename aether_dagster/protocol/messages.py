"""Frames of the live protocol: snapshots, updates and heartbeats (spec 4, "Message")."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

from aether_dagster.state.mask import Path, select

EXECUTING = "executing"
_NONE_STARTED: Mapping[str, float] = {}


class Message(TypedDict):
    """One frame: exactly these members, in this order."""

    event_type: str
    update_mask: list[str]
    timestamp: float
    payload: dict[str, Any]


class Timestamps:
    """The timestamps of one connection's frames, which strictly increase.

    Times are Unix seconds: `committed_at` of the newest version which a frame holds.
    """

    def __init__(self) -> None:
        self._last_ms: int | None = None

    def next(self, committed_at: float) -> float:
        """Returns a frame's timestamp: `committed_at`, raised by 1 ms where it must be."""
        now_ms = round(committed_at * 1000)
        if self._last_ms is not None:
            now_ms = max(now_ms, self._last_ms + 1)
        self._last_ms = now_ms
        return now_ms / 1000


def snapshot(
    document: Mapping[str, Any],
    timestamp: float,
    started: Mapping[str, float] = _NONE_STARTED,
) -> Message:
    """Returns the message which replaces all that a client has.

    Args:
        document: The whole state document, or the list of executions; it is not changed.
        timestamp: The frame's, in Unix seconds.
        started: When the running attempt of each executing node was committed. From it comes
            the `execution_time` so far, which only snapshots hold.
    """
    return _message(["*"], timestamp, elapsed(document, timestamp, started))


def update(document: Mapping[str, Any], paths: Iterable[Path], timestamp: float) -> Message:
    """Returns the message which brings these paths of a client up to `document`."""
    mask, payload = select(document, paths)
    return _message(mask, timestamp, payload)


def heartbeat(timestamp: float) -> Message:
    """Returns the message which says that nothing happened."""
    return {"event_type": "heartbeat", "update_mask": [], "timestamp": timestamp, "payload": {}}


def elapsed(document: Mapping[str, Any], at: float, started: Mapping[str, float]) -> dict[str, Any]:
    """Returns a document whose executing nodes have the time which has elapsed `at` a moment."""
    if not started:
        return dict(document)
    nodes = dict(cast(Mapping[str, Mapping[str, Any]], document["nodes"]))
    for name, since in started.items():
        if name in nodes and nodes[name]["status"] == EXECUTING:
            nodes[name] = {**nodes[name], "execution_time": round(max(0.0, at - since), 3)}
    return {**document, "nodes": nodes}


def encode(message: Mapping[str, Any]) -> str:
    """Returns a message as compact JSON on one line; raises ValueError for NaN and infinities."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Frames:
    """Makes the frames of one reader who is given every change at once."""

    def __init__(self) -> None:
        self._timestamps = Timestamps()

    def snapshot(
        self, document: Mapping[str, Any], *, committed_at: float, started: Mapping[str, float]
    ) -> Message:
        """Returns the frame which replaces all that a client has; arguments as of `snapshot`."""
        return snapshot(document, self._timestamps.next(committed_at), started)

    def update(
        self, document: Mapping[str, Any], paths: Iterable[Path], *, committed_at: float
    ) -> Message | None:
        """Returns the frame which brings these paths of a client up to `document`.

        Args:
            document: The state document as it is now.
            paths: The leaves which changed; one which `document` does not have is deleted.
            committed_at: When the newest version in the frame was committed, in Unix seconds.

        Returns:
            None where nothing changed: there is no frame without a change.
        """
        changed = list(paths)
        return update(document, changed, self._timestamps.next(committed_at)) if changed else None


def _message(mask: list[str], timestamp: float, payload: dict[str, Any]) -> Message:
    return {
        "event_type": "state_update",
        "update_mask": mask,
        "timestamp": timestamp,
        "payload": payload,
    }
