"""A thousand clients, of which a hundred never read."""

import asyncio
import resource
import socket
import time
from pathlib import Path

import psutil
import pytest

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, outcome, report, reserve
from tests.sidecar.running import Running, sidecar

NODES = [f"node_{number}" for number in range(50)]
MEGABYTE = 1 << 20


def upgrade(running: Running, path: str) -> socket.socket:
    """A connection which has said that it is a client, and reads only if it is asked to."""
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {running.token}\r\n\r\n".encode()
    )
    return connection


def kernel_bytes() -> int:
    """What all TCP sockets of this machine hold, both ends."""
    lines = Path("/proc/net/sockstat").read_text().splitlines()
    (tcp,) = (line.split() for line in lines if line.startswith("TCP:"))
    return int(tcp[tcp.index("mem") + 1]) * resource.getpagesize()


async def read_all(connections: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()

    async def read(connection: socket.socket) -> None:
        connection.setblocking(False)
        while await loop.sock_recv(connection, 1 << 16):
            pass

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(read(connection))


@pytest.mark.parametrize(
    ("clients", "deaf", "seconds"),
    [
        pytest.param(300, 30, 8, id="short"),
        pytest.param(1000, 100, 120, id="two-minutes", marks=[pytest.mark.soak]),
        pytest.param(
            1000, 100, 600, id="ten-minutes", marks=[pytest.mark.soak, pytest.mark.timeout(900)]
        ),
    ],
)
def test_clients_which_do_not_read_cost_nothing(
    own_journal: Journal, tmp_path: Path, clients: int, deaf: int, seconds: int
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    pipeline_id = reserve(own_journal).pipeline_id
    own_journal.append(pipeline_id, [initialization(pipeline_id, *NODES)])
    number = 0

    def change(until: float) -> None:
        nonlocal number
        while time.monotonic() < until:
            node, attempt = NODES[number % len(NODES)], number // len(NODES) + 1
            delta = outcome(f"{number}", node, attempt, "succeeded", {"rows": "x" * 2000})
            own_journal.append(pipeline_id, [delta])
            number += 1
            time.sleep(0.02)

    async def scenario(running: Running) -> tuple[int, int]:
        path = f"/executions/{pipeline_id}"
        connections = [upgrade(running, path) for _ in range(clients)]
        try:
            for connection in connections[deaf:]:
                connection.settimeout(20)
                connection.recv(100)
            reading = asyncio.create_task(read_all(connections[deaf:]))
            # What a first round of changes allocates once is no growth.
            await asyncio.to_thread(change, time.monotonic() + min(3, seconds / 2))
            process = psutil.Process(running.pid)
            own, kernel = process.memory_info().rss, kernel_bytes()
            await asyncio.to_thread(change, time.monotonic() + seconds)
            grown = process.memory_info().rss - own, kernel_bytes() - kernel
            own_journal.append(pipeline_id, [report()])
            await asyncio.wait_for(reading, 60)
            return grown
        finally:
            for connection in connections:
                connection.close()

    with sidecar(own_journal.url, tmp_path) as running:
        own, kernel = asyncio.run(scenario(running))
    print(f"{number} changes: sidecar {own / MEGABYTE:+.1f} MB, kernel {kernel / MEGABYTE:+.1f} MB")  # noqa: T201
    assert own < 20 * MEGABYTE
    assert kernel < 10 * MEGABYTE
