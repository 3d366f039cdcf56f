"""The sidecar's server: where it listens, and its life (spec 4, "Sidecar")."""

import asyncio
import logging
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.server import Server, serve

from aether_dagster.errors import SettingsError
from aether_dagster.protocol import Close, Margin, Pace
from aether_dagster.protocol.closing import GOING_AWAY
from aether_dagster.protocol.pace import DEFAULT_RATE
from aether_dagster.sidecar.connection import Door, connections_of
from aether_dagster.sidecar.figures import FiguresReader
from aether_dagster.sidecar.metrics import Metrics
from aether_dagster.sidecar.requests import Requests
from aether_dagster.sidecar.security import LOOPBACK_NAMES, Gate, is_loopback
from aether_dagster.sidecar.service import Service, encode
from aether_dagster.sidecar.source import Source
from aether_dagster.sidecar.static_files import page_files
from aether_dagster.sidecar.streams import Streams

_MESSAGE_BYTES = 64 * 1024
_OPEN_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_PING_SECONDS = 5.0
_PONG_SECONDS = 10.0
_READERS = 2
# A tail reads the journal twice a second.
_SILENCE_SECONDS = 5.0

# What clients do wrong is theirs to know, and a log which they can fill is a way to fill a disk.
_silent = logging.getLogger("aether_dagster.sidecar.connections")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True)
class SidecarSettings:
    """How a sidecar listens.

    Args:
        token: The secret which clients say; 256 bits.
        host: The address to listen on.
        port: 0 takes any which is free.
        rate: `--vis-update-rate`, in frames a second.
        clients: How many at once.
        hosts: More names by which it may be called.
        origins: Foreign pages which may connect.
        certificate: File of the TLS certificate, with its chain.
        key: File of its private key, if it is not in `certificate`.
    """

    token: str
    host: str = "127.0.0.1"
    port: int = 8787
    rate: float = DEFAULT_RATE
    clients: int = 2000
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


class Sidecar:
    """Serves the executions of a source to clients; made and used inside one event loop.

    Args:
        source: A journal, or a replay.
        settings: How to listen.

    Raises:
        SettingsError: Others than this machine could reach it, and there is no TLS.
    """

    def __init__(self, source: Source, settings: SidecarSettings):
        if settings.certificate is None and not is_loopback(settings.host):
            raise SettingsError(
                f"Other machines can reach {settings.host}, so state would cross the network in "
                "the clear. Give --tls-cert and --tls-key, or listen on 127.0.0.1 and forward "
                "the port over ssh."
            )
        self._settings = settings
        self._tls = _tls(settings)
        margin = Margin()
        pace = Pace(settings.rate, margin)
        self._metrics = Metrics(margin)
        # After a restart, all clients there may be come back at once.
        self._door = Door(settings.clients)
        self._readers = ThreadPoolExecutor(_READERS, "read")
        self._streams = Streams(
            source, pace=pace, encode=encode, metrics=self._metrics, readers=self._readers
        )
        gate = Gate(
            settings.token, _names(settings), settings.origins, secure=self._tls is not None
        )
        self._service = Service(gate, self._streams, source, pace, self._metrics, settings.clients)
        self._requests = Requests(
            gate,
            self._streams,
            source,
            page_files(),
            encode,
            metrics=self._metrics_text,
            unready=self._unready,
        )
        self._figures = FiguresReader(source, self._streams.read)
        self._server: Server | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads the list of executions and listens.

        Raises:
            JournalError: The journal cannot be read.
            OSError: The address cannot be listened on.
        """
        await self._streams.start()
        self._server = await serve(
            self._service.converse,
            self._settings.host,
            self._settings.port,
            process_request=self._requests.process,
            select_subprotocol=self._requests.select,
            create_connection=connections_of(self._door),
            ssl=self._tls,
            compression=None,
            server_header=None,
            open_timeout=_OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PONG_SECONDS,
            max_size=_MESSAGE_BYTES,
            max_queue=4,
            # Anything left in a buffer holds back the next frame, which will be newer. With a
            # limit of 0, a transport of TLS would take an empty buffer for a full one.
            write_limit=1,
            backlog=1024,
            logger=_silent,
        )
        self._housekeeping = asyncio.ensure_future(self._look_after())

    @property
    def url(self) -> str:
        """The page's URL, without the token."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        host = self._settings.hosts[0] if self._settings.hosts else self._settings.host
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    async def arrival(self) -> None:
        """Waits for the first client."""
        await self._service.arrived.wait()

    async def finished(self, pipeline_id: str, patience: float) -> None:
        """Waits until every client has what there is of an execution which ended.

        Args:
            pipeline_id: The execution.
            patience: Seconds to wait at most.

        Raises:
            UnknownExecution: There is none of that id.
            JournalError: The journal cannot be read.
        """
        await self._service.finished(pipeline_id, patience)

    async def stop(self, close: Close = GOING_AWAY) -> None:
        """Says goodbye to every client and stops listening."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        if self._server is not None:
            self._server.close(code=close.code, reason=close.reason)
            await self._server.wait_closed()
        await self._streams.stop()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._service.look_after()
            self._streams.look_after()

    async def _metrics_text(self) -> str:
        figures = await self._figures.recent()
        return self._metrics.text(
            clients=len(self._service),
            half_open=len(self._door),
            turned_away=self._door.turned_away,
            streams=len(self._streams),
            ready=self._unready() is None,
            nodes=self._streams.running_nodes(),
            figures=figures,
            now=time.time(),
        )

    def _unready(self) -> str | None:
        silence = self._streams.silence
        if silence < _SILENCE_SECONDS:
            return None
        return f"The journal could not be read for {silence:.0f} s."


def _names(settings: SidecarSettings) -> frozenset[str]:
    names = {settings.host, *settings.hosts}
    if is_loopback(settings.host):
        names |= LOOPBACK_NAMES
    return frozenset(name.lower() for name in names)


def _tls(settings: SidecarSettings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The TLS certificate {settings.certificate} or its key cannot be used: {error}."
        ) from None
    return context
