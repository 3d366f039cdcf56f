"""Two who watch the same runs: a client of the sidecar, and one of the webserver's subscription."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from aether_dagster.journal import Version
from aether_dagster.state import Replica, apply

_EXTENDED = Subprotocol("aetherscript.state.v1+seq")
_GRAPHQL = Subprotocol("graphql-ws")
_STEP_EVENTS = {
    "ExecutionStepStartEvent",
    "ExecutionStepSuccessEvent",
    "ExecutionStepFailureEvent",
    "ExecutionStepUpForRetryEvent",
    "ExecutionStepRestartEvent",
}
_SUBSCRIPTION = """
subscription Logs($runId: ID!) {
  pipelineRunLogs(runId: $runId) {
    __typename
    ... on PipelineRunLogsSubscriptionSuccess {
      messages { __typename ... on MessageEvent { timestamp } }
    }
  }
}
"""


@dataclass
class Watched:
    """What a client of the sidecar was sent of one execution."""

    state: dict[str, Any] = field(default_factory=dict[str, Any])
    arrivals: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    code: int | None = None

    def latencies(self, versions: Iterable[Version]) -> list[float]:
        """Seconds from the commit of each version which changed something to its arrival."""
        replica = Replica()
        found: list[float] = []
        arrivals = iter(self.arrivals)
        seen, at = next(arrivals)
        snapshot = seen
        for version in versions:
            paths: set[Any] = set()
            for delta in () if version.late else version.deltas:
                paths |= replica.apply(delta)
            while seen < version.number:
                seen, at = next(arrivals, (2**62, float("inf")))
            if paths and version.number > snapshot:
                found.append(at - version.committed_at)
        return found


class SidecarWatch:
    """Follows the list of executions, and each execution of it from when it appears.

    Args:
        url: The sidecar's, without the token.
        token: Its token.
    """

    def __init__(self, url: str, token: str):
        self._url = "ws" + url.removeprefix("http").rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self.executions: dict[str, Watched] = {}
        self.listed: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def follow(self) -> None:
        """Follows until it is cancelled."""
        try:
            async with self._connected("/executions") as connection:
                async for text in connection:
                    frame = json.loads(text)
                    self.listed = apply(self.listed, frame["update_mask"], frame["payload"])
                    for name in self.listed.get("executions", {}):
                        if name not in self.executions:
                            self.executions[name] = Watched()
                            self._tasks.append(asyncio.ensure_future(self._watch(name)))
        finally:
            for task in self._tasks:
                task.cancel()

    async def _watch(self, name: str) -> None:
        watched = self.executions[name]
        async with self._connected(f"/executions/{name}") as connection:
            try:
                while True:
                    frame = json.loads(await connection.recv())
                    now = time.time()
                    watched.state = apply(watched.state, frame["update_mask"], frame["payload"])
                    if "version" in frame:
                        watched.arrivals.append((frame["version"], now))
            except ConnectionClosed as closed:
                watched.code = None if closed.rcvd is None else closed.rcvd.code

    def _connected(self, path: str) -> connect:
        return connect(
            self._url + path,
            additional_headers=self._headers,
            subprotocols=[_EXTENDED],
            compression=None,
            max_size=None,
        )


async def watch_logs(port: int, run_id: str, latencies: list[float]) -> None:
    """Follows a run by the webserver's subscription, as Dagster's page does, until cancelled."""
    began = time.time()
    url = f"ws://127.0.0.1:{port}/graphql"
    async with connect(url, subprotocols=[_GRAPHQL], max_size=None) as connection:
        await connection.send(json.dumps({"type": "connection_init"}))
        payload = {"query": _SUBSCRIPTION, "variables": {"runId": run_id}}
        await connection.send(json.dumps({"id": "1", "type": "start", "payload": payload}))
        with suppress(ConnectionClosed):
            async for text in connection:
                now = time.time()
                message = json.loads(text)
                assert message["type"] != "error", message
                if message["type"] != "data":
                    continue
                logs = message["payload"]["data"]["pipelineRunLogs"]
                for event in logs.get("messages", ()):
                    at = int(event.get("timestamp", 0)) / 1000
                    if event["__typename"] in _STEP_EVENTS and at > began:
                        latencies.append(now - at)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and worst, in milliseconds."""
    ordered = sorted(seconds)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
        for name, share in shares.items()
    }
