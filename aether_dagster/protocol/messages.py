"""State updates as frames of the live protocol (spec 4, "Message")."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from aether_dagster.state.mask import Path, select

EXECUTING = "executing"


class Message(TypedDict):
    """One frame: exactly these members, in this order."""

    event_type: str
    update_mask: list[str]
    timestamp: float
    payload: dict[str, Any]


class Frames:
    """Makes the frames of one connection, whose timestamps strictly increase.

    Times are Unix seconds: `committed_at` of the newest version which a frame holds.
    """

    def __init__(self) -> None:
        self._last_ms: int | None = None

    def snapshot(
        self, document: Mapping[str, Any], *, committed_at: float, started: Mapping[str, float]
    ) -> Message:
        """Returns the frame which replaces all that a client has.

        Args:
            document: The whole state document; it is not changed.
            committed_at: When its newest version was committed, in Unix seconds.
            started: When the running attempt of each executing node was committed. From it comes
                the `execution_time` so far, which only snapshots hold.
        """
        timestamp = self._next(committed_at)
        nodes = {
            name: {**node, "execution_time": _elapsed(timestamp, started[name])}
            if node["status"] == EXECUTING and name in started
            else node
            for name, node in document["nodes"].items()
        }
        return _message(["*"], timestamp, {**document, "nodes": nodes})

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
        mask, payload = select(document, paths)
        if not mask:
            return None
        return _message(mask, self._next(committed_at), payload)

    def _next(self, committed_at: float) -> float:
        now_ms = round(committed_at * 1000)
        if self._last_ms is not None:
            now_ms = max(now_ms, self._last_ms + 1)
        self._last_ms = now_ms
        return now_ms / 1000


def encode(message: Message) -> str:
    """Returns a message as compact JSON on one line; raises ValueError for NaN and infinities."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _message(mask: list[str], timestamp: float, payload: dict[str, Any]) -> Message:
    return {
        "event_type": "state_update",
        "update_mask": mask,
        "timestamp": timestamp,
        "payload": payload,
    }


def _elapsed(timestamp: float, started: float) -> float:
    return round(max(0.0, timestamp - started), 3)
