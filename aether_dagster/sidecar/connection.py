"""A client's connection: small kernel buffers, a bound on half-open ones, word when it drains."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from websockets.asyncio.server import Server, ServerConnection
from websockets.server import ServerProtocol

from aether_dagster.protocol import Close
from aether_dagster.protocol.session import Wanted

# What the kernel may hold which is not yet sent: a client which does not read costs no more.
_NOT_SENT = 16 * 1024
_TCP_NOTSENT_LOWAT: int = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class Door:
    """Counts the connections which are not yet clients, and lets go of the oldest when too many.

    So whoever opens connections and says nothing keeps nobody else out.

    Args:
        limit: How many may be half-open.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._waiting: dict[ClientConnection, None] = {}
        self.turned_away = 0

    def enter(self, connection: "ClientConnection") -> None:
        """Takes note of a new connection."""
        self._waiting[connection] = None
        while len(self._waiting) > self._limit:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self.turned_away += 1
            oldest.transport.abort()

    def leave(self, connection: "ClientConnection") -> None:
        """Takes note that it has become a client, was answered, or is gone."""
        self._waiting.pop(connection, None)

    def __len__(self) -> int:
        return len(self._waiting)


@dataclass(frozen=True)
class Target:
    """What a WebSocket was opened for.

    Args:
        name: A pipeline id, `latest`, or None for the list.
        wanted: Mask and cursor of its URL.
        version: A past version of the execution, or None.
        replay: How many times as fast its versions are to be sent again, or None.
        start: The version from which they are.
        refusal: How to close at once, because the URL makes no sense.
    """

    name: str | None = None
    wanted: Wanted = field(default_factory=Wanted)
    version: int | None = None
    replay: float | None = None
    start: int = 0
    refusal: Close | None = None


class ClientConnection(ServerConnection):
    """A connection, and what its request was found to be.

    Attributes:
        target: What it was opened for.
        authorized: Whether its token was right; None where its request had none.
        drained: Called when all that was written has left this process.
        door: Of the server; set on the class which a server makes its connections of.
    """

    door: ClassVar[Door]

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any):
        super().__init__(protocol, server, **options)
        self.target = Target()
        self.authorized: bool | None = None
        self.drained: Callable[[], None] | None = None

    @property
    def empty(self) -> bool:
        """Whether all that was written has left this process."""
        return not self.transport.get_write_buffer_size()

    @property
    def unsent(self) -> int:
        """Bytes which were written and have not left this process."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        connected = cast("socket.socket | None", transport.get_extra_info("socket"))
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _NOT_SENT)
        super().connection_made(transport)
        self.door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.door.leave(self)
        super().connection_lost(exc)

    def admit(self) -> None:
        """Counts it as a client from now on."""
        self.door.leave(self)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if self.drained is not None:
            # Not from inside a transport: one of TLS cannot be written to while it calls this.
            self.loop.call_soon(self.drained)


def connections_of(door: Door) -> type[ClientConnection]:
    """Returns the class of the connections which come through a door."""
    return type("DoorConnection", (ClientConnection,), {"door": door})
