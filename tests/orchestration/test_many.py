"""Ticks of sensors in a journal of very many executions."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster import AetherSettings, build_state_hook_sensors
from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import HookCursor
from aether_dagster.journal.sqlite import SqliteDatabase
from aether_dagster.orchestration import active, hook_sensors, sensors
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.sensors import aether_reconcile_sensor, watch_over
from aethersdk import StateHook
from tests.journal.builders import initialization, reserve
from tests.journal.many import add_ended

FEW, MANY = 20, 3000


class Told(StateHook):
    def post_node_execute(self, node_id: str) -> None:
        pass


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sensors, "_known", set[AetherSettings]())
    yield
    active._of_sensors.clear()
    hook_sensors._sensors.clear()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the steps of SQLite's machine, by the journal's file."""
    counted: dict[str, int] = {}
    connect = SqliteDatabase._sqlite

    def connected(self: SqliteDatabase, uri: str) -> sqlite3.Connection:
        connection = connect(self, uri)

        def count() -> None:
            counted[self._path.name] = counted.get(self._path.name, 0) + 10

        connection.set_progress_handler(count, 10)
        return connection

    monkeypatch.setattr(SqliteDatabase, "_sqlite", connected)
    return counted


def test_a_tick_costs_the_same_among_many_executions(tmp_path: Path, steps: dict[str, int]) -> None:
    taken: dict[str, list[int]] = {"reconcile": [], "hook": []}
    with embedded_instance(tmp_path) as instance:
        for count in (FEW, MANY):
            url = f"sqlite:///{tmp_path}/{count}.db"
            with Journal.open(url) as journal:
                add_ended(journal, count)
                runs = reserve(journal).pipeline_id
                journal.append(runs, [initialization(runs, "load")])
                hook = HookCursor(runs, "another.Hook", "p@1.0.0", "file:/p.py")
                journal.outbox.register([hook])
            settings = AetherSettings(journal=url)
            sensors._known.clear()
            watch_over(settings)
            (told,) = build_state_hook_sensors(Told, settings=settings)
            for name, sensor in (("reconcile", aether_reconcile_sensor), ("hook", told)):
                message = tick(sensor, instance)
                before = steps[f"{count}.db"]
                assert tick(sensor, instance) == message
                taken[name].append(steps[f"{count}.db"] - before)
    for few, many in taken.values():
        assert many <= 1.5 * few + 50


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> Any:
    return sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message
