"""A sidecar as a process of its own, and what its tests connect to it with."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from aether_dagster.state import apply

ROOT = Path(__file__).parents[2]
STATE = "aetherscript.state.v1"
_ANNOUNCED = re.compile(r"Live at (https?://[^ #]+)")
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Running:
    """A sidecar which listens."""

    url: str
    token: str
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def host(self) -> str:
        return self.url.split("/")[2]

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def websocket(self, path: str) -> str:
        return "ws" + self.url.removeprefix("http").rstrip("/") + path

    @asynccontextmanager
    async def connected(self, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
        options.setdefault("additional_headers", {"Authorization": f"Bearer {self.token}"})
        options.setdefault("compression", None)
        options.setdefault("max_size", None)
        async with connect(self.websocket(path), **options) as connection:
            yield connection


@contextmanager
def sidecar(
    journal: str,
    folder: Path,
    *options: str,
    command: tuple[str, ...] = ("sidecar",),
    port: int = 0,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Starts a sidecar, and ends it as Ctrl-C does unless it was ended."""
    token_file = folder / "sidecar.token"
    words = [sys.executable, "-m", "aether_dagster.cli", *command, *options]
    words += ["--port", str(port), "--token", str(token_file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AETHERSCRIPT_JOURNAL": journal}
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment, **(environ or {})},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            announced = _ANNOUNCED.match(line)
            assert announced is not None, f"the sidecar said {line!r}"
            yield Running(announced[1], token_file.read_text().strip(), process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(30)


class Follower:
    """A plain client: it folds what it is sent, and keeps the frames."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.frames: list[dict[str, Any]] = []

    def take(self, text: str | bytes) -> dict[str, Any]:
        frame = json.loads(text)
        self.frames.append(frame)
        self.state = apply(self.state, frame["update_mask"], frame["payload"])
        return frame

    async def follow(self, connection: ClientConnection) -> None:
        async for text in connection:
            self.take(text)

    async def until(self, connection: ClientConnection, condition: Any) -> None:
        async with asyncio.timeout(30):
            while not (self.state and condition(self.state)):
                self.take(await connection.recv())


def upgraded(running: Running | tuple[int, str], path: str) -> socket.socket:
    """A connection which has said that it is a client: a thousand of them cost little."""
    port, token = (running.port, running.token) if isinstance(running, Running) else running
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return connection


async def read_and_answer(connection: socket.socket) -> None:
    """Reads until the server closes, and answers its pings as a client must."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        buffer += await _more(loop, connection)
    buffer = buffer.partition(b"\r\n\r\n")[2]
    while True:
        while len(buffer) < 2 or len(buffer) < (start := {126: 4, 127: 10}.get(buffer[1], 2)):
            buffer += await _more(loop, connection)
        size = buffer[1] if start == 2 else int.from_bytes(buffer[2:start], "big")
        while len(buffer) < start + size:
            buffer += await _more(loop, connection)
        opcode, body = buffer[0] & 15, buffer[start : start + size]
        buffer = buffer[start + size :]
        if opcode == 8:
            return
        if opcode == 9:
            # Masked with zeros, which changes nothing.
            await loop.sock_sendall(connection, bytes([0x8A, 0x80 | size]) + bytes(4) + body)


async def _more(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    data = await loop.sock_recv(connection, 1 << 16)
    if not data:
        raise ConnectionError("the server ended the connection without a close frame")
    return data
