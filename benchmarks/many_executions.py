"""What is done often, in a journal of 100,000 executions against one of 1,000.

    python benchmarks/many_executions.py [--executions N] [--postgres URL]

Commands are processes of their own, by turns with the same command on an empty history or journal:
what that takes is the start of Python and imports, and is subtracted. Of them the least of several
is shown, of calls and ticks the median; ticks are those after a process' first, as a daemon makes
them. A history has a folder for each execution; the newest hundred hold files, for no more are
opened.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import dagster as dg

from aether_dagster import AetherSettings, build_state_hook_sensors
from aether_dagster.journal import Journal
from aether_dagster.orchestration import sensors
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.sensors import aether_reconcile_sensor, watch_over
from aether_dagster.snapshot import folder_name
from aethersdk import StateHook
from benchmarks.journal import given
from tests.journal.many import HOOKS, add_ended
from tests.sidecar.running import sidecar
from tests.snapshot.folders import write_folder

FEW = 1000
TURNS = 5
SECOND = 1_689_859_992
FILES = 100


class Told(StateHook):
    def post_node_execute(self, node_id: str) -> None:
        """Is delivered to; nothing of the journal is left to be."""


def journal_of(place: str, count: int) -> str:
    with Journal.open(place) as journal:
        add_ended(journal, count)
        return journal.url


def history_of(folder: Path, journal: str) -> Path:
    with Journal.open(journal) as opened:
        records = opened.executions()[::-1]
    place = folder / "executions"
    place.mkdir(parents=True)
    written = write_folder(folder / "one", None).path
    for number, record in enumerate(records):
        made = place / folder_name(SECOND + number, record.pipeline_id)
        made.mkdir()
        if number >= len(records) - FILES:
            for name in ("state_init.json", "state_final.json"):
                (made / name).write_bytes((written / name).read_bytes())
    return place


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command(folder: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "aether_dagster.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
        capture_output=True,
    )


def beyond_start(
    what: str, work: Callable[[], object], start: Callable[[], object]
) -> dict[str, float]:
    """The least which work takes beyond its start, by turns: by the clock, and of processors."""
    clock: list[tuple[float, float]] = []
    processors: list[tuple[float, float]] = []
    for _ in range(TURNS):
        before, began = _children(), time.perf_counter()
        work()
        between, ended = _children(), time.perf_counter()
        start()
        clock.append((ended - began, time.perf_counter() - ended))
        processors.append((between - before, _children() - between))
    return {
        name: min(whole for whole, _ in pairs) - min(alone for _, alone in pairs)
        for name, pairs in ((what, clock), (f"{what}, CPU", processors))
    }


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def list_history(folder: Path, empty: Path) -> dict[str, float]:
    return beyond_start(
        "history list",
        lambda: command(folder, "history", "list", "executions"),
        lambda: command(empty, "history", "list", "executions"),
    )


def start_sidecar(folder: Path, journal: str, empty: str) -> dict[str, float]:
    def start(url: str) -> None:
        with sidecar(url, folder):
            pass

    return beyond_start("sidecar", lambda: start(journal), lambda: start(empty))


def ticks(folder: Path, url: str) -> tuple[float, float]:
    """What a tick of the sensor which reconciles takes, and one of a hook's."""
    settings = AetherSettings(journal=url)
    sensors._known.clear()  # noqa: SLF001 - as a code location of these settings alone
    watch_over(settings)
    (told,) = build_state_hook_sensors(Told, settings=settings)

    def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> None:
        sensor.evaluate_tick(dg.build_sensor_context(instance=instance))

    found: list[float] = []
    with embedded_instance(folder) as instance:
        for sensor in (aether_reconcile_sensor, told):
            tick(sensor, instance)
            turns = [seconds(lambda: tick(sensor, instance)) for _ in range(TURNS)]  # noqa: B023
            found.append(statistics.median(turns))
    return found[0], found[1]


def calls(url: str) -> dict[str, float]:
    with Journal.open(url) as journal:
        work: dict[str, Callable[[], object]] = {
            "journal.executions(50)": lambda: journal.executions(50),
            "journal.unfinished()": journal.unfinished,
            "journal.outbox.behind()": journal.outbox.behind,
            "journal.outbox.triggered(hook)": lambda: journal.outbox.triggered(HOOKS[0], 0),
            "journal.tail, nothing new": lambda: journal.tail(journal.cursor(), timeout=0),
            "journal.executions(), all of them": journal.executions,
        }
        for each in work.values():
            each()
        return {
            name: statistics.median(seconds(each) for _ in range(TURNS))
            for name, each in work.items()
        }


def measure(folder: Path, url: str, *, commands: bool) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    found: dict[str, float] = {}
    if commands:
        history_of(folder, url)
        empty = folder / "empty"
        (empty / "executions").mkdir(parents=True)
        Journal.open(empty / "state.db").close()
        found |= list_history(folder, empty)
        found |= start_sidecar(folder, url, f"sqlite:///{empty / 'state.db'}")
    reconciling, telling = ticks(folder, url)
    found |= {"tick of aether_reconcile_sensor": reconciling, "tick of a hook's sensor": telling}
    return found | calls(url)


def show(engine: str, count: int, few: dict[str, float], many: dict[str, float]) -> None:
    print(f"\n{engine}, milliseconds{f'{FEW:,}':>25}{f'{count:,}':>10}{'ratio':>8}")
    for name, among_few in few.items():
        ratio = many[name] / max(among_few, 1e-6)
        print(f"{name:42}{among_few * 1e3:10.2f}{many[name] * 1e3:10.2f}{ratio:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--postgres", help="URL of an empty database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = []
        for count in (FEW, options.executions):
            place = folder / str(count)
            found.append(measure(place, journal_of(str(place / "state.db"), count), commands=True))
        show("SQLite", options.executions, *found)
        with contextmanager(given)(options.postgres) as url:
            if url is None:
                return
            found = []
            for count in (FEW, options.executions):
                schema = in_schema(url, f"many_{count}")
                place = folder / f"postgres-{count}"
                found.append(measure(place, journal_of(schema, count), commands=False))
            show("PostgreSQL", options.executions, *found)


def in_schema(url: str, schema: str) -> str:
    """Returns the URL of a schema of its own in a database."""
    import psycopg

    conninfo = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


if __name__ == "__main__":
    main()
