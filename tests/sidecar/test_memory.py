"""A thousand clients, of which a hundred never read."""

import asyncio
import resource
import time
from pathlib import Path

import psutil
import pytest

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, outcome, report, reserve
from tests.sidecar.running import Running, read_and_answer, sidecar, upgraded

NODES = [f"node_{number}" for number in range(50)]
MEGABYTE = 1 << 20


def kernel_bytes() -> int:
    """What all TCP sockets of this machine hold, both ends."""
    lines = Path("/proc/net/sockstat").read_text().splitlines()
    (tcp,) = (line.split() for line in lines if line.startswith("TCP:"))
    return int(tcp[tcp.index("mem") + 1]) * resource.getpagesize()


@pytest.mark.parametrize(
    ("clients", "deaf", "seconds"),
    [
        pytest.param(200, 20, 5, id="short"),
        pytest.param(
            1000, 100, 120, id="two-minutes", marks=[pytest.mark.soak, pytest.mark.timeout(300)]
        ),
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
        connections = [await asyncio.to_thread(upgraded, running, path) for _ in range(clients)]
        try:
            reading = asyncio.gather(*map(read_and_answer, connections[deaf:]))
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
