"""Rows of Dagster's tables as plain SQL: the same statements, without building them each time."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects.sqlite import dialect

_DIALECT = dialect()
_EVENT = (
    "run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition",
)  # fmt: skip


def insert_event(connection: Connection, row: Mapping[str, Any]) -> int:
    """Inserts a row of `event_logs`, as `_event_to_row` gave it; returns its id."""
    values = [row[name] for name in _EVENT]
    values[3] = _timestamp(row["timestamp"])
    return _execute(connection, _INSERT_EVENT, values)


def write_asset(connection: Connection, asset_key: str, values: Mapping[str, Any]) -> None:
    """Writes columns of an asset's row, which is made if it is not there."""
    columns = tuple(values)
    statement = _UPSERTS.get(columns)
    if statement is None:
        statement = _UPSERTS[columns] = _upsert(columns)
    shown = [_timestamp(v) if isinstance(v, datetime) else v for v in values.values()]
    _execute(connection, statement, [asset_key, *shown])


def _execute(connection: Connection, statement: str, values: Sequence[Any]) -> int:
    return connection.exec_driver_sql(statement, tuple(values)).lastrowid


def _insert(table: Table, columns: Sequence[str]) -> str:
    places = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608


def _upsert(columns: Sequence[str]) -> str:
    new = ", ".join(f"{name} = excluded.{name}" for name in columns)
    insert = _insert(AssetKeyTable, ("asset_key", *columns))
    return f"{insert} ON CONFLICT (asset_key) DO UPDATE SET {new}"


def _written_by(column: Column[Any]) -> Callable[[datetime], str]:
    """How SQLAlchemy writes a column's values into SQLite."""
    processor: Any = column.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return processor


_INSERT_EVENT = _insert(SqlEventLogStorageTable, _EVENT)
_UPSERTS: dict[tuple[str, ...], str] = {}
_timestamp = _written_by(SqlEventLogStorageTable.c.timestamp)
