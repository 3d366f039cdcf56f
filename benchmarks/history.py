"""The state history: on against off, sealed against plain, and how long verifying takes.

    python benchmarks/history.py [--nodes N] [--rounds R] [--run]

First the writing alone: the versions of one execution are committed to a journal while a follower
writes the files, as in a run, but with steps which take no time. Then, with `--run`, whole runs of
N nodes, each in a process of its own. Each round takes the variants in turn, beginning with another
one; ratios are of medians. Beside the seconds on the clock stand those of the processor, which a
machine with other work changes less.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from aether_dagster.crypto import Key, KeyRing, seal, unseal
from aether_dagster.journal import Journal
from aether_dagster.manager.follower import Follower
from aether_dagster.manager.history import HistoryFiles, HistoryWriter
from aether_dagster.snapshot import HistoryStore, Recorded, folder_name, verify_execution
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome
from aether_dagster.state.ids import node_id

RING = KeyRing([Key.generate()])
START = 1689859992.0
VARIANTS = {"off": (False, None), "plain": (True, None), "sealed": (True, RING)}


def versions(execution: str, nodes: int) -> list[Delta]:
    names = [f"step_{number}" for number in range(nodes)]
    first = Delta(
        "init",
        Authority.RUN,
        pipeline={
            "id": execution,
            "version": "1.0.0",
            "start_timestamp": START,
            "config_hash": "e3b0c44298fc1cd",
        },
        context={"environment_vars": {}, "secret_store": None, "active_plugins": []},
        nodes={
            name: NodeDelta(node_id(execution, name, index), index)
            for index, name in enumerate(names)
        },
    )
    found = [first]
    for name in names:
        for status, settled in (("executing", 0), ("succeeded", 1)):
            outcome = Outcome(1, status, {"rows": 5} if settled else None)
            node = NodeDelta(outcome=outcome, settled=settled)
            found.append(Delta(f"{name}-{status}", Authority.STEP, nodes={name: node}))
    report = {"status": "succeeded", "nodes": {"succeeded": nodes}, "version": 0}
    found.append(Delta("end", Authority.RUN, report=report))
    return found


def commit_and_write(
    folder: Path, nodes: int, history: bool, keys: KeyRing | None
) -> tuple[float, float, HistoryStore, str, str]:
    with Journal.open(folder / "state.db", keys=keys) as journal:
        record = journal.reserve(
            f"run-{time.monotonic_ns()}", "p", config_hash="h", document={"a": 1}
        )
        store, name = (
            HistoryStore(str(folder / "executions")),
            folder_name(START, record.pipeline_id),
        )
        observers = []
        if history:
            store.create(name)
            files = HistoryFiles(journal, record.pipeline_id, store, name, keys)
            observers.append(HistoryWriter(files, lambda error: sys.exit(str(error))))
        follower = Follower(journal, record.pipeline_id, observers, tick=lambda: None)
        deltas = versions(record.pipeline_id, nodes)
        began = time.perf_counter()
        follower.start()
        for delta in deltas:
            version = journal.append(record.pipeline_id, [delta])
        committed = time.perf_counter() - began
        follower.drain(version, 600)
        whole = time.perf_counter() - began
        follower.stop()
        return committed, whole, store, name, record.pipeline_id


def writing(nodes: int, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    checks: dict[str, list[float]] = {"plain": [], "sealed": []}
    for _ in range(rounds):
        for name, (history, keys) in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                _, whole, store, place, execution = commit_and_write(
                    Path(folder), nodes, history, keys
                )
                times[name].append(whole)
                if history:
                    with Journal.open(Path(folder) / "state.db", keys=keys) as journal:
                        links = journal.history_files(execution)
                    began = time.perf_counter()
                    result = verify_execution(store, place, keys, Recorded(links, finalized=True))
                    checks[name].append((time.perf_counter() - began) / result.files * 1000)
                    assert result.verdict == "whole", result.findings[:3]
    print(f"\n{nodes} nodes, commits and files alone, {rounds} rounds")
    _table(times, "off")
    print("verify, seconds per 1,000 files")
    _table(checks, "plain")


def sealing() -> None:
    print("\none seal, microseconds")
    place = b'{"seq":0}'
    for size in (500, 2_000, 16_000, 1_000_000):
        content = bytes(size)
        data = seal(content, RING.first, place).render()
        sealed = _time(lambda content=content: seal(content, RING.first, place).render())
        opened = _time(lambda data=data: unseal(data, RING))
        print(f"  {size:>9} bytes  seal {sealed * 1e6:8.0f}  open {opened * 1e6:8.0f}")


def running(nodes: int, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    used: dict[str, list[float]] = {name: [] for name in VARIANTS}
    width = 20
    lines = ["version: '2.1'", "metadata: {name: wide}", "pipeline:", "  steps:"]
    for number in range(nodes):
        needs = f", dependsOn: [n{number - width}]" if number >= width else ""
        lines.append(f"    - {{id: n{number}, type: core/echo, args: {{message: m}}{needs}}}")
    for round_ in range(rounds):
        order = list(VARIANTS.items())
        for name, (history, keys) in order[round_ % 3 :] + order[: round_ % 3]:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "p.aether.yaml").write_text("\n".join(lines))
                words = [sys.executable, "-m", "aether_dagster.cli", "run", "--quiet"]
                words += ["--state-history", "executions"] if history else []
                environ = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin"}
                if keys is not None:
                    environ["AETHERSCRIPT_STATE_KEY"] = keys.text()
                began, before = time.perf_counter(), _processor()
                subprocess.run(words, cwd=folder, env=environ, check=True, capture_output=True)
                times[name].append(time.perf_counter() - began)
                used[name].append(_processor() - before)
    for what, found in (("on the clock", times), ("of the processor", used)):
        print(f"\n{nodes} nodes, whole runs, {rounds} rounds, seconds {what}")
        _table(found, "off")
        sealed, plain = statistics.median(found["sealed"]), statistics.median(found["plain"])
        print(f"  sealed against plain {sealed / plain:.3f}x", flush=True)


def _processor() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _table(times: dict[str, list[float]], yardstick: str) -> None:
    against = statistics.median(times[yardstick])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"  {name:8} {median:8.3f} s  {median / against:6.3f}x  ({min(found):.3f} best)")


def _time(work: Callable[[], object], seconds: float = 0.3) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        count += 1
    return (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", action="store_true")
    given = parser.parse_args()
    sealing()
    writing(given.nodes, given.rounds)
    if given.run:
        running(given.nodes, given.rounds)


if __name__ == "__main__":
    main()
