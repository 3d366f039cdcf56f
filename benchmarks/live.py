"""How late a change reaches a client, from its commit; and what many clients cost.

    python benchmarks/live.py                      every scenario, 10,000 changes each, on SQLite
    python benchmarks/live.py --changes 1000 --postgres URL

Writer, sidecar, crowd and the client which measures are processes of their own. A change counts
from its `committed_at`, which is taken under the journal's lock before the transaction ends, to the
moment at which the frame which holds it, or a later value of the same place, was received.

The sidecar has the first core to itself, unless all are kept busy; everything else shares the
others, and the crowd yields to who measures. `benchmarks/watched.py` has Dagster's own live view
beside it.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast

from aether_dagster.journal import Journal
from aether_dagster.sidecar import Sidecar, SidecarSettings
from aether_dagster.sidecar.client import send_all
from aether_dagster.state import Authority, Delta, NodeDelta
from tests.sidecar.running import read_and_answer, upgraded

CORES = os.sched_getaffinity(0)
NODES = 50
HASH = "e3b0c44298fc1cd"


def begin(journal: Journal, run: str) -> str:
    """An execution of 50 nodes."""
    record = journal.reserve(run, "benchmark", config_hash=HASH, document={})
    names = [f"node_{number}" for number in range(NODES)]
    pipeline = {"id": record.pipeline_id, "version": "1.0.0", "config_hash": HASH}
    delta = Delta(
        "init",
        Authority.RUN,
        pipeline={**pipeline, "start_timestamp": time.time()},
        context={"environment_vars": {}, "secret_store": None, "active_plugins": []},
        nodes={name: NodeDelta(f"{name}_0000000A", index) for index, name in enumerate(names)},
    )
    journal.append(record.pipeline_id, [delta])
    return record.pipeline_id


def write(url: str, names: Sequence[str], changes: int, every: float) -> None:
    """Commits changes, one execution after the other; prints how many a second it could."""
    with Journal.open(url) as journal:
        began = time.monotonic()
        for number in range(changes):
            delta = Delta(f"c{number}", Authority.STEP, artifacts={"n": str(number)})
            journal.append(names[number % len(names)], [delta])
            rest = began + (number + 1) * every - time.monotonic()
            if rest > 0:
                time.sleep(rest)


def crowd(port: int, token: str, name: str, clients: int, deaf: int) -> None:
    """Clients which read, and some which never do."""
    os.nice(10)

    async def gather() -> None:
        path = f"/executions/{name}"
        silent: list[socket.socket] = []
        reading: list[asyncio.Task[None]] = []
        for number in range(clients):
            connection = await asyncio.to_thread(upgraded, (port, token), path)
            if number < deaf:
                silent.append(connection)
            else:
                reading.append(asyncio.create_task(read_and_answer(connection)))
        print("ready", flush=True)
        await asyncio.gather(*reading, return_exceptions=True)

    asyncio.run(gather())


def spin() -> None:
    while True:
        pass


def give_way() -> None:
    """Leaves the first core to the sidecar, where there is another one."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)


@contextmanager
def sidecar(url: str, *, alone: bool) -> Iterator[tuple[psutil.Process, int, str]]:
    """A sidecar on a journal, alone on the first core or not: its process, port and token."""
    cores = sorted(CORES)
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        words = ["-m", "aether_dagster.cli", "sidecar", "--port", "0", "--token", str(token)]
        environ = {**os.environ, "AETHERSCRIPT_JOURNAL": url, "PYTHONPATH": sys.path[0]}
        with subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environ
        ) as process:
            try:
                if alone:
                    os.sched_setaffinity(process.pid, cores[:1])
                assert process.stdout is not None
                port = int(process.stdout.readline().split()[2].rstrip("/").rpartition(":")[2])
                yield psutil.Process(process.pid), port, token.read_text().strip()
            finally:
                process.terminate()


async def measure(
    port: int, token: str, names: Sequence[str], url: str, changes: int, every: float
) -> list[float]:
    """The latencies of all changes, in seconds."""
    arrived: dict[int, float] = {}

    async def follow(name: str, offset: int) -> None:
        next_one = offset
        async with connect(
            f"ws://127.0.0.1:{port}/executions/{name}?mask=context.artifacts",
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
        ) as connection:
            async for text in connection:
                now = time.time()
                value = json.loads(text)["payload"]["context"]["artifacts"].get("n")
                while value is not None and next_one <= int(value):
                    arrived[next_one] = now
                    next_one += len(names)

    following = [asyncio.create_task(follow(name, index)) for index, name in enumerate(names)]
    await asyncio.sleep(1)
    words = [__file__, "--role", "write", url, str(changes), str(every), *names]
    writer = await asyncio.create_subprocess_exec(sys.executable, *words)
    await writer.wait()
    await asyncio.sleep(1)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    with Journal.open(url, read_only=True) as journal:
        committed = {
            int(str(delta.artifacts["n"])): version.committed_at
            for name in names
            for version in journal.versions(name, after=1)
            for delta in version.deltas
        }
    assert len(arrived) == changes, f"{changes - len(arrived)} changes never arrived"
    return [arrived[number] - committed[number] for number in range(changes)]


def report(title: str, latencies: list[float], share: float) -> None:
    ordered = sorted(latencies)

    def at(share: float) -> str:
        return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000:.0f}"

    late = sum(latency > 0.2 for latency in ordered)
    cells = [title, str(len(ordered)), at(0.5), at(0.99), at(0.999), f"{ordered[-1] * 1000:.0f}"]
    print(f"| {' | '.join(cells)} | {late / len(ordered):.2%} | {share:.1%} |", flush=True)


def scenario(
    title: str,
    url: str,
    changes: int,
    *,
    quiet: bool = False,
    clients: int = 0,
    deaf: int = 0,
    busy: int = 0,
) -> None:
    with Journal.open(url) as journal:
        names = [begin(journal, f"{title}-{number}") for number in range(40 if quiet else 1)]
    with ExitStack() as stack:
        os.sched_setaffinity(0, CORES)
        process, port, token = stack.enter_context(sidecar(url, alone=not busy))
        if not busy:
            give_way()
        if clients:
            words = [__file__, "--role", "crowd", "--", str(port), token, names[0]]
            words += [str(clients), str(deaf)]
            gathered = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE)
            stack.callback(gathered.kill)
            assert gathered.stdout is not None
            gathered.stdout.readline()
            time.sleep(2)
        for _ in range(busy):
            worker = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
            worker.start()
            stack.callback(worker.kill)
        before = sum(process.cpu_times()[:2])
        began = time.monotonic()
        # Each of 40 executions is quiet for 400 ms before it changes.
        every = 0.01 if quiet else 0.005
        latencies = asyncio.run(measure(port, token, names, url, changes, every))
        share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
        report(title, latencies, share)


async def beside_broadcast(clients: int) -> tuple[float, float]:
    """CPU seconds of a frame to one client, by the sidecar and by `websockets.broadcast`.

    In one process and to the same connections, in turns; medians.
    """
    ours: list[float] = []
    theirs: list[float] = []
    token = "x" * 43
    with tempfile.TemporaryDirectory() as folder, Journal.open(f"{folder}/state.db") as journal:
        name = begin(journal, "broadcast")
        served = Sidecar(journal, SidecarSettings(token=token, port=0))
        await served.start()
        port = served.url.rstrip("/").rpartition(":")[2]
        words = [__file__, "--role", "crowd", "--", port, token, name, str(clients), "0"]
        gathered = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=subprocess.PIPE
        )
        stream = await served._streams.execution(name)  # noqa: SLF001 - who listens is not told to others
        while len(stream.clients) < clients:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for number in range(40):
            await asyncio.sleep(0.1)
            document = {"context": {"artifacts": {"n": str(number)}}}
            stream.hub.commit(
                lambda document=document: document,
                [("context", "artifacts", "n")],
                version=number + 2,
                committed_at=time.time(),
                now=0,
            )
            stream.hub.flush(0)
            began = time.process_time()
            assert send_all(stream.clients, time.monotonic()) == clients
            ours.append((time.process_time() - began) / clients)
            (frame,) = stream.hub.texts.values()
            await asyncio.sleep(0.1)
            began = time.process_time()
            broadcast([client.connection for client in stream.clients], frame)
            theirs.append((time.process_time() - began) / clients)
        gathered.kill()
        await gathered.wait()
        await served.stop()
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--postgres", metavar="URL", help="an empty database")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    words: list[str] = given.words
    if given.role == "write":
        write(words[0], words[3:], int(words[1]), float(words[2]))
        return
    if given.role == "crowd":
        crowd(int(words[0]), words[1], words[2], int(words[3]), int(words[4]))
        return
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load before {load}; milliseconds\n")
    print("| scenario | changes | p50 | p99 | p99.9 | worst | over 200 ms | sidecar's CPU |")
    print("|---|---|---|---|---|---|---|---|")
    clients, deaf = given.clients, given.clients // 10
    with tempfile.TemporaryDirectory() as folder:
        engines = {"SQLite": f"sqlite:///{folder}/state.db"}
        if given.postgres:
            engines["PostgreSQL"] = given.postgres
        for engine, url in engines.items():
            changes: int = given.changes
            scenario(f"{engine}: a change after quiet", url, changes, quiet=True)
            scenario(f"{engine}: continuous change", url, changes)
            crowded = f"{engine}: continuous, {clients} clients, {deaf} do not read"
            scenario(crowded, url, changes, clients=clients, deaf=deaf)
            cores = os.cpu_count() or 1
            scenario(f"{engine}: continuous, all {cores} cores busy", url, changes, busy=cores)
    os.sched_setaffinity(0, CORES)
    ours, theirs = asyncio.run(beside_broadcast(clients))
    print(
        f"\nCPU of a frame to one client: sidecar {ours * 1e6:.1f} µs, `websockets.broadcast` of "
        f"the same bytes {theirs * 1e6:.1f} µs, ratio {ours / theirs:.2f}"
    )


if __name__ == "__main__":
    main()
