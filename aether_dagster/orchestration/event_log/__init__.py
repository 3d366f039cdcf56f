"""Dagster's SQLite storage with its connections kept.

The stock storage opens and closes an engine for every event, which takes longer than the event
itself. Tables, files and behaviour are the stock ones, so any Dagster tool reads what these write;
a team may name `KeptSqliteStorage` in its own `dagster.yaml`.
"""

from aether_dagster.orchestration.event_log.engines import KeptEngines
from aether_dagster.orchestration.event_log.events import KeptSqliteEventLogStorage
from aether_dagster.orchestration.event_log.storage import KeptSqliteRunStorage, KeptSqliteStorage

__all__ = [
    "KeptEngines",
    "KeptSqliteEventLogStorage",
    "KeptSqliteRunStorage",
    "KeptSqliteStorage",
]
