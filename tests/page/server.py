"""A small server of the live protocol, for tests of the page: it says what a test tells it to say.

The sidecar has tests of its own; with this one, a test can lose the connection, send a frame of its
own making, and need no run.
"""

import asyncio
import copy
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from aether_dagster.sidecar.static_files import page_files
from aether_dagster.state.mask import Path, select

TOKEN = "T0ken-of_the.tests"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'"
)


class Execution:
    """An execution which a test writes: its state document, its steps, and its frames."""

    def __init__(
        self,
        steps: Iterable[Mapping[str, Any]],
        *,
        name: str = "orders",
        pipeline_id: str = "pipeline_01HWS7Q2",
        start: float | None = None,
    ):
        self.steps = [{"type": "core/echo", "dependencies": [], **step} for step in steps]
        self.name, self.id = name, pipeline_id
        self.start = time.time() if start is None else start
        self.status, self.ended_at, self.finalized = "executing", None, None
        self.clock = self.start
        self.document: dict[str, Any] = {
            "pipeline": {
                "id": pipeline_id,
                "version": "2.1.0",
                "start_timestamp": self.start,
                "config_hash": "0123456789abcde",
            },
            "nodes": {step["id"]: pending(step["id"]) for step in self.steps},
            "context": {
                "environment_vars": {"STAGE": "test"},
                "secret_store": None,
                "active_plugins": [],
                "artifacts": {},
            },
        }
        self.records: dict[str, dict[int, dict[str, Any]]] = {}
        self.past = [(self.start, copy.deepcopy(self.document))]
        self.frames: list[dict[str, Any]] = []
        self.tell: Callable[[Execution, dict[str, Any]], None] = lambda *_: None

    def change(self, nodes: Mapping[str, Mapping[str, Any]], *, at: float | None = None) -> None:
        """Commits a version with new values of some nodes' fields, and sends its frame."""
        self.clock = max(self.clock + 0.001, time.time() if at is None else at)
        paths: list[Path] = []
        for name, fields in nodes.items():
            self.document["nodes"][name].update(fields)
            paths += [("nodes", name, field) for field in fields]
            self._attempt(name)
        self.commit(paths)

    def commit(self, paths: Iterable[Path]) -> None:
        """Commits what a test has done to the document at some paths."""
        self.past.append((self.clock, copy.deepcopy(self.document)))
        mask, payload = select(self.document, paths)
        frame = {
            "event_type": "state_update",
            "update_mask": mask,
            "timestamp": round(self.clock, 3),
            "payload": payload,
        }
        self.frames.append(frame)
        self.tell(self, frame)

    def _attempt(self, name: str) -> None:
        node = self.document["nodes"][name]
        if node["status"] == "pending":
            return
        known = self.records.setdefault(name, {}).setdefault(
            node["retry_count"] + 1,
            {"attempt": node["retry_count"] + 1, "started": self.clock, "ended": None},
        )
        known |= {"status": node["status"], "record": copy.deepcopy(node)}
        if node["status"] != "executing" and known["ended"] is None:
            known["ended"] = self.clock

    def run(self, name: str, *, seconds: float = 1.0, output: Any = None) -> None:
        """Starts a node and ends it well."""
        retries = self.document["nodes"][name]["retry_count"]
        if self.document["nodes"][name]["status"] == "retrying":
            retries += 1
        self.begin(name, retry_count=retries)
        self.end(name, seconds=seconds, output_payload=output)

    def begin(self, name: str, *, at: float | None = None, **fields: Any) -> None:
        self.change({name: {"status": "executing", "error": None, **fields}}, at=at)

    def end(self, name: str, *, seconds: float, status: str = "succeeded", **fields: Any) -> None:
        changed = {"status": status, "execution_time": seconds, **fields}
        self.change({name: changed}, at=self.clock + seconds)

    def finish(self, status: str) -> None:
        """Finalizes it: the last frame, and the server closes with 1000."""
        self.status, self.ended_at = status, self.clock
        self.finalized = len(self.past)
        self.tell(self, {})

    def snapshot(self, version: int | None = None) -> dict[str, Any]:
        at, document = self.past[(version or len(self.past)) - 1]
        return {
            "event_type": "state_update",
            "update_mask": ["*"],
            "timestamp": round(at, 3),
            "payload": document,
        }

    def told(self) -> dict[str, Any]:
        return {
            "pipeline_id": self.id,
            "name": self.name,
            "description": None,
            "run_id": "6a1f1ed0",
            "partition": None,
            "resumed_from": None,
            "created_at": self.start,
            "status": self.status,
            "head": len(self.past),
            "finalized": self.finalized,
            "ended_at": self.ended_at,
            "history": None,
            "steps": self.steps,
        }

    def attempts(self, node: str | None) -> dict[str, Any]:
        nodes = {
            name: [
                {key: value for key, value in entry.items() if key != "record" or name == node}
                for entry in records.values()
            ]
            for name, records in self.records.items()
            if node in (None, name)
        }
        return {"nodes": nodes}


def pending(name: str) -> dict[str, Any]:
    return {
        "node_id": f"{name}_01HWS7Q3",
        "status": "pending",
        "input_payload": None,
        "output_payload": None,
        "error": None,
        "retry_count": 0,
        "execution_time": 0.0,
    }


class PageServer:
    """Serves the page and executions on loopback, from a thread of its own."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self.asked: list[str] = []
        self.refusing = False
        self._open: dict[ServerConnection, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.start()

    def start(self) -> None:
        async def begin() -> Server:
            return await serve(
                self._talk,
                "127.0.0.1",
                self.port,
                process_request=self._request,
                select_subprotocol=lambda _, offered: next(iter(offered), None),
                compression=None,
                max_size=2**16,
            )

        self._server = self._do(begin())
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Goes away without a word, as a killed process does."""

        async def end() -> None:
            for connection in self._open:
                connection.transport.abort()
            self._server.close()
            await self._server.wait_closed()

        self._do(end())

    def close(self) -> None:
        async def settle() -> None:
            own = asyncio.current_task()
            if others := [task for task in asyncio.all_tasks() if task is not own]:
                for late in (await asyncio.wait(others, timeout=3))[1]:
                    late.cancel()
                await asyncio.wait(others)

        self.stop()
        self._do(settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def add(self, execution: Execution) -> Execution:
        self.executions[execution.id] = execution
        execution.tell = lambda *told: self._do(self._tell(*told))
        self._do(self._begun(execution))
        return execution

    def url(self, fragment: str = "", *, query: str = "", token: str = TOKEN) -> str:
        return f"http://127.0.0.1:{self.port}/{query}#token={token}{fragment}"

    @property
    def connections(self) -> list[str]:
        return list(self._open.values())

    async def _begun(self, execution: Execution) -> None:
        for connection, path in list(self._open.items()):
            if path == "/executions/latest" and execution.id == max(self.executions):
                await connection.send(json.dumps(execution.snapshot()))
        await self._list(execution)

    async def _tell(self, execution: Execution, frame: Mapping[str, Any]) -> None:
        for connection, path in list(self._open.items()):
            if urlsplit(path).path in (f"/executions/{execution.id}", "/executions/latest"):
                if frame:
                    await connection.send(json.dumps(frame))
                elif not path.endswith("latest"):
                    await connection.close(1000, "finalized")
        await self._list(execution)

    async def _list(self, execution: Execution) -> None:
        frame = {
            "event_type": "state_update",
            "update_mask": [f"executions.{execution.id}"],
            "timestamp": time.time(),
            "payload": {"executions": {execution.id: self._entry(execution)}},
        }
        for connection, path in list(self._open.items()):
            if path == "/executions":
                await connection.send(json.dumps(frame))

    @staticmethod
    def _entry(execution: Execution) -> dict[str, Any]:
        statuses = [node["status"] for node in execution.document["nodes"].values()]
        return {
            "name": execution.name,
            "status": execution.status,
            "start_timestamp": execution.start,
            "nodes": {status: statuses.count(status) for status in sorted(set(statuses))},
        }

    def _found(self, path: str) -> Execution | None:
        name = unquote(path.split("/")[2])
        if name == "latest" and self.executions:
            return self.executions[max(self.executions)]
        return self.executions.get(name)

    def _first(self, path: str) -> dict[str, Any] | None:
        if path == "/executions":
            listed = {key: self._entry(each) for key, each in self.executions.items()}
            return {
                "event_type": "state_update",
                "update_mask": ["*"],
                "timestamp": time.time(),
                "payload": {"executions": listed},
            }
        found = self._found(path)
        return found.snapshot() if found else None

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        target = urlsplit(connection.request.path)
        asked = parse_qs(target.query)
        first = self._first(target.path)
        self._open[connection] = connection.request.path
        try:
            if "replay" in asked:
                found = self._found(target.path)
                assert found
                for number in range(max(1, int(asked["from"][0])), len(found.past) + 1):
                    await connection.send(json.dumps({**found.snapshot(number), "version": number}))
                    await asyncio.sleep(0.3 / float(asked["replay"][0]))
                await connection.close(1000, "replayed")
            elif "since" in asked and target.path != "/executions":
                found = self._found(target.path)
                assert found
                for frame in found.frames:
                    if frame["timestamp"] >= float(asked["since"][0]) - 1:
                        await connection.send(json.dumps(frame))
            elif first:
                await connection.send(json.dumps(first))
            found = None if target.path == "/executions" else self._found(target.path)
            if found and found.finalized and not target.path.endswith("latest"):
                await connection.close(1000, "finalized")
            await connection.wait_closed()
        finally:
            self._open.pop(connection, None)

    async def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = urlsplit(request.path)
        self.asked.append(request.path)
        if (file := page_files().get(target.path)) is not None:
            return _response(200, file.body, file.media_type)
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        told = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if f"aetherscript.token.{TOKEN}" not in offered and told != TOKEN:
            return _response(401, b"The token is missing or wrong.", "text/plain")
        if self.refusing:
            return _response(503, b"Busy.", "text/plain")
        if not target.path.startswith("/executions"):
            return _response(404, b"No such path.", "text/plain")
        first = self._first(target.path)
        if first is None and not target.path.endswith("latest"):
            return _response(404, b"No such execution.", "text/plain")
        if "Upgrade" in request.headers:
            return None
        found = None if target.path == "/executions" else self._found(target.path)
        asked = parse_qs(target.query)
        body: Any = first
        if found and target.path.endswith("/pipeline"):
            body = found.told()
        elif found and target.path.endswith("/versions"):
            body = {"versions": [[n + 1, at] for n, (at, _) in enumerate(found.past)]}
        elif found and target.path.endswith("/attempts"):
            body = found.attempts(asked.get("node", [None])[0])
        elif found and "version" in asked:
            body = found.snapshot(int(asked["version"][0]))
        return _response(200, json.dumps(body).encode(), "application/json")


def _response(status: int, body: bytes, media_type: str) -> Response:
    headers = Headers(
        {
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": POLICY,
            "Connection": "close",
        }
    )
    return Response(status, "OK", headers, body)
