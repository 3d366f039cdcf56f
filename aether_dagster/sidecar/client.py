"""A client: a connection and its session, given frames as fast as it takes them."""

import asyncio
from collections.abc import Iterable

from websockets.asyncio.server import broadcast

from aether_dagster.protocol import Close, Session
from aether_dagster.protocol.closing import TOO_SLOW
from aether_dagster.sidecar.connection import ClientConnection

STALL_SECONDS = 10.0
_FAREWELL_SECONDS = 1.0


class Client:
    """One client of a stream.

    Args:
        connection: Its connection, open and authorized.
        session: Its conversation.
    """

    def __init__(self, connection: ClientConnection, session: Session):
        self.connection = connection
        self.session = session
        self._closing: asyncio.Task[None] | None = None
        self._unsent = 0
        self._progress = 0.0
        connection.drained = self._drained

    def frame(self, now: float) -> str | None:
        """Returns what is to be sent now; None while it has not taken what was sent before."""
        if self._closing is not None or not self.connection.empty:
            return None
        return self.session.frame(now)

    def send(self, now: float) -> None:
        """Sends what there is, to this client alone."""
        text = self.frame(now)
        if text is not None:
            broadcast([self.connection], text)
        self.end_if_final()

    def end_if_final(self) -> None:
        """Closes where all was said and has left this process."""
        if self._closing is None and self.connection.empty:
            close = self.session.closing()
            if close is not None:
                self.close(close)

    def look_after(self, now: float) -> None:
        """Is called every second: heartbeats, and an end to who does not read."""
        if self._closing is not None:
            return
        if self.connection.empty:
            self._unsent = 0
            self.send(now)
            beat = self.session.heartbeat(now)
            if beat is not None and self._closing is None:
                broadcast([self.connection], beat)
            return
        unsent = self.connection.unsent
        if self._unsent == 0 or unsent < self._unsent:
            self._unsent, self._progress = unsent, now
        elif now - self._progress > STALL_SECONDS:
            self.close(TOO_SLOW)

    def close(self, close: Close) -> None:
        """Begins to close the connection."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(close))

    @property
    def open(self) -> bool:
        """Whether nothing has begun to close it."""
        return self._closing is None

    @property
    def complete(self) -> bool:
        """Whether it has all there is, or goes anyway."""
        return not self.open or (self.connection.empty and self.session.complete)

    async def _close(self, close: Close) -> None:
        if close.code == TOO_SLOW.code:
            # It will not read the farewell either, and what it was sent is kept until it is gone.
            asyncio.get_running_loop().call_later(
                _FAREWELL_SECONDS, self.connection.transport.abort
            )
        await self.connection.close(close.code, close.reason)

    def _drained(self) -> None:
        self.send(asyncio.get_running_loop().time())


def send_all(clients: Iterable[Client], now: float, *, final: bool = False) -> int:
    """Sends each client what it has not seen, writing what is the same for many together.

    Args:
        clients: All of one stream.
        now: The present moment.
        final: The stream has come to its end.

    Returns:
        How many frames were sent.
    """
    clients = list(clients)
    groups: dict[int, tuple[str, list[ClientConnection]]] = {}
    for client in clients:
        text = client.frame(now)
        if text is not None:
            # The hub makes a text once; the same text is the same object.
            groups.setdefault(id(text), (text, []))[1].append(client.connection)
    for text, connections in groups.values():
        broadcast(connections, text)
    if final:
        for client in clients:
            client.end_if_final()
    return sum(len(connections) for _, connections in groups.values())
