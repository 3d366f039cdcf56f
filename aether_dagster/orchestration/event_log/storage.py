"""Dagster's SQLite storage of runs and of a whole instance, with its connections kept."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

# Private: Dagster publishes the storages, and not the classes which one must subclass.
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection

from aether_dagster.orchestration.event_log.engines import KeptEngines
from aether_dagster.orchestration.event_log.events import KeptSqliteEventLogStorage
from aether_dagster.orchestration.event_log.files import is_stamped


class KeptSqliteRunStorage(SqliteRunStorage):
    """Dagster's SQLite run storage, which keeps its connection."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None):
        self._kept = KeptEngines()
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """Opens the storage in a folder; makes it where it is not there, or is of old."""
        # An old database gets its newer tables by the stock way.
        if is_stamped(Path(base_dir) / "runs.db", "instance_info"):
            return cls(create_db_conn_string(base_dir, "runs"), inst_data)
        return super().from_local(base_dir, inst_data)

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """Gives the kept connection in a transaction."""
        with self._kept.get(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Closes the connection."""
        self._kept.close()
        super().dispose()


class KeptSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage of a whole instance, which keeps its connections.

    In `dagster.yaml`:

    ```yaml
    storage:
      custom:
        module: aether_dagster.orchestration.event_log
        class: KeptSqliteStorage
        config: {base_dir: /path/to/folder}
    ```
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        history = Path(base_dir) / "history"
        self.base_dir = base_dir
        self._run_storage = KeptSqliteRunStorage.from_local(str(history))
        self._event_log_storage = KeptSqliteEventLogStorage(str(history / "runs"))
        self._schedule_storage = _schedules(Path(base_dir) / "schedules")
        self._inst_data = inst_data
        # The stock constructor would open the stock storages first.
        super(DagsterSqliteStorage, self).__init__()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Called by Dagster with the `config` of `dagster.yaml`."""
        return cls.from_local(inst_data=inst_data, **config_value)


def _schedules(folder: Path) -> SqliteScheduleStorage:
    if is_stamped(folder / "schedules.db"):
        return SqliteScheduleStorage(create_db_conn_string(str(folder), "schedules"))
    return SqliteScheduleStorage.from_local(str(folder))
