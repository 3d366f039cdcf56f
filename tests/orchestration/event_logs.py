"""Event log entries, and what the files hold in which a storage has put them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry

KEY = dg.AssetKey(["a", "b"])
RUN, OTHER = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"


def entry(number: int, kind: DagsterEventType, data: Any = None, run: str = RUN) -> EventLogEntry:
    event = DagsterEvent(kind.value, "job", step_key="step", event_specific_data=data)
    return EventLogEntry(
        error_info=None,
        level=20,
        user_message=f"m{number}",
        run_id=run,
        timestamp=1_700_000_000.25 + number,
        step_key="step",
        job_name="job",
        dagster_event=event,
    )


def planned(number: int, key: dg.AssetKey = KEY) -> EventLogEntry:
    data = AssetMaterializationPlannedData(key, partition=None)
    return entry(number, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, data)


def made(number: int, key: dg.AssetKey = KEY, **more: Any) -> EventLogEntry:
    data = StepMaterializationData(dg.AssetMaterialization(key, **more))
    return entry(number, DagsterEventType.ASSET_MATERIALIZATION, data)


def plain(number: int, run: str = RUN) -> EventLogEntry:
    return entry(number, DagsterEventType.STEP_START, run=run)


def rows(folder: Path) -> dict[str, list[Any]]:
    """All that stands in the tables of a folder's databases, but for when it was put there."""
    found: dict[str, list[Any]] = {}
    for file in sorted(folder.glob("*.db")):
        with closing(sqlite3.connect(file)) as connection:
            names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            for (table,) in connection.execute(names).fetchall():
                cursor = connection.execute(f"SELECT * FROM {table}")
                kept = [
                    number
                    for number, column in enumerate(cursor.description)
                    if column[0] not in ("create_timestamp", "migration_completed")
                ]
                content = [tuple(row[number] for number in kept) for row in cursor.fetchall()]
                found[f"{file.name} {table}"] = sorted(content, key=repr)
    return found


def schema(file: Path) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        mode = connection.execute("PRAGMA journal_mode").fetchone()
    return [*sorted(found, key=repr), mode]
