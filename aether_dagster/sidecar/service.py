"""The conversations with clients: who is let in, and what each follows (spec 4, "Conversation")."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import orjson
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from aether_dagster.errors import AetherError, StateError
from aether_dagster.journal import Version
from aether_dagster.protocol import Close, Pace, Session
from aether_dagster.protocol.closing import (
    NOT_FOUND,
    REPLAYED,
    TOO_MANY_CLIENTS,
    UNAUTHORIZED,
    VERSION_SENT,
)
from aether_dagster.sidecar import views
from aether_dagster.sidecar.client import Client
from aether_dagster.sidecar.connection import ClientConnection, Target
from aether_dagster.sidecar.metrics import Metrics
from aether_dagster.sidecar.replay import play
from aether_dagster.sidecar.requests import EXTENDED_PROTOCOL, LATEST, STATE_PROTOCOL, offered
from aether_dagster.sidecar.security import Gate
from aether_dagster.sidecar.source import Source
from aether_dagster.sidecar.stream import ExecutionStream, Stream
from aether_dagster.sidecar.streams import Streams

_TOKEN_SECONDS = 3.0
_LOOK = 0.02


class Service:
    """Converses with clients until they go.

    Args:
        gate: Knows the token.
        streams: What can be followed.
        source: Where past states are read.
        pace: When the frames of a replay are due.
        metrics: Takes the counts.
        limit: How many clients at once.
    """

    def __init__(
        self,
        gate: Gate,
        streams: Streams,
        source: Source,
        pace: Pace,
        metrics: Metrics,
        limit: int,
    ):
        self.arrived = asyncio.Event()
        self._gate = gate
        self._streams = streams
        self._source = source
        self._pace = pace
        self._metrics = metrics
        self._limit = limit
        # What each client follows; None for those who wait for a first execution.
        self._follows: dict[Client, Stream | None] = {}
        self._latest: set[Client] = set()
        streams.newest_changed = self._newest_changed

    def __len__(self) -> int:
        return len(self._follows)

    async def converse(self, connection: ServerConnection) -> None:
        """Is given each connection when it has become a WebSocket."""
        assert isinstance(connection, ClientConnection)
        try:
            close = await self._admit(connection) or await self._serve(connection)
        except ConnectionClosed:
            return
        except AetherError as error:
            close = Close(NOT_FOUND, str(error))
        if close is not None:
            await connection.close(close.code, close.reason)

    async def finished(self, pipeline_id: str, patience: float) -> None:
        """Waits until every client has what there is of an execution which ended.

        Args:
            pipeline_id: The execution.
            patience: Seconds to wait at most.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        stream = await self._streams.execution(pipeline_id)
        while loop.time() < until:
            if stream.hub.final and all(client.complete for client in self._follows):
                return
            await asyncio.sleep(_LOOK)

    def look_after(self) -> None:
        """Is called every second."""
        now = asyncio.get_running_loop().time()
        for client in list(self._follows):
            client.look_after(now)

    async def _admit(self, connection: ClientConnection) -> Close | None:
        if connection.authorized is None:
            try:
                first = await asyncio.wait_for(connection.recv(), _TOKEN_SECONDS)
            except TimeoutError:
                return UNAUTHORIZED
            connection.authorized = self._gate.matches(_token_in(first))
        if not connection.authorized:
            return UNAUTHORIZED
        if len(self._follows) >= self._limit:
            return TOO_MANY_CLIENTS
        connection.admit()
        return connection.target.refusal

    async def _serve(self, connection: ClientConnection) -> Close | None:
        target = connection.target
        if target.version is not None and target.name is not None:
            read = self._streams.read
            past = await read(views.state_at, self._source, target.name, target.version)
            await connection.send(encode(past))
            return VERSION_SENT
        client = Client(connection, _session(connection, target))
        self._follows[client] = None
        self._metrics.connections += 1
        try:
            if target.replay is not None and target.name is not None:
                return await self._replay(client, target.name, target.replay, target.start)
            return await self._follow(client, target.name)
        finally:
            self._latest.discard(client)
            stream = self._follows.pop(client)
            if stream is not None:
                stream.remove(client)

    async def _follow(self, client: Client, name: str | None) -> Close | None:
        stream: Stream | None = self._streams.listing
        if name == LATEST:
            self._latest.add(client)
            name = self._streams.listing.newest
            stream = None
        if name is not None:
            stream = await self._streams.execution(name)
        if stream is not None and self._follows[client] is None:
            self._move(client, stream)
        return await self._listen(client)

    async def _listen(self, client: Client) -> Close | None:
        self.arrived.set()
        async for message in client.connection:
            now = asyncio.get_running_loop().time()
            close = client.session.receive(message, now)
            if close is not None:
                return close
            client.send(now)
        return None

    async def _replay(self, client: Client, name: str, speed: float, start: int) -> Close | None:
        read = self._streams.read

        async def versions(after: int, upto: int) -> list[Version]:
            return await read(self._source.versions, name, after, upto)

        record = await read(self._source.record, name)
        if start > record.head:
            raise StateError(f"{name} has versions 1 to {record.head}.")
        base = max(0, start - 1)
        stream = ExecutionStream(
            record,
            await read(self._source.replica, name, base),
            {},
            since=float("-inf"),
            encode=encode,
            pace=self._pace,
            metrics=self._metrics,
        )
        for version in await versions(base, base + 1):
            stream.feed(version)
        self._move(client, stream)

        async def replay() -> None:
            await play(stream, versions, head=record.head, speed=speed)
            while client.open and not client.complete:  # noqa: ASYNC110 - a buffer has no event
                await asyncio.sleep(_LOOK)
            client.close(REPLAYED)

        playing = asyncio.ensure_future(replay())
        try:
            return await self._listen(client)
        finally:
            playing.cancel()
            stream.close()

    def _move(self, client: Client, stream: Stream) -> None:
        before = self._follows[client]
        if before is not None:
            before.remove(client)
        self._follows[client] = stream
        stream.add(client)

    def _newest_changed(self, stream: ExecutionStream) -> None:
        for client in list(self._latest):
            self._move(client, stream)


def encode(message: Mapping[str, Any]) -> str:
    """Returns a message as compact JSON text."""
    return orjson.dumps(message).decode()


def _session(connection: ClientConnection, target: Target) -> Session:
    protocols = offered(connection.request.headers) if connection.request else []
    return Session(
        target.wanted,
        heartbeats=STATE_PROTOCOL in protocols or EXTENDED_PROTOCOL in protocols,
        extended=EXTENDED_PROTOCOL in protocols,
        # A replay says by itself that it ends.
        follows=target.name in (None, LATEST) or target.replay is not None,
        now=asyncio.get_running_loop().time(),
    )


def _token_in(message: str | bytes) -> str:
    try:
        value: Any = orjson.loads(message)
    except orjson.JSONDecodeError:
        return ""
    members = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    token: Any = members.get("token")
    return token if isinstance(token, str) and len(members) == 1 else ""
